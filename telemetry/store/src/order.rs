//! Samples that were written later than others of the same series, at times before theirs. That happens when the machine's
//! clock was ahead and came back: what was written under wrong times is in the way of what is written now.

use promql::Point;

/// How long a sample hides those that were written before it, in milliseconds: as long as a query looks back for one.
pub(crate) const HIDES: i64 = 5 * 60 * 1000;

/// Brings the samples from `from` on, which were written after those before them, to their place. Both parts are in order.
/// Of those written before, none stays that is at the time of a later one or up to [`HIDES`] after it.
pub(crate) fn settle(points: &mut Vec<Point>, from: usize) {
    let before = from.checked_sub(1).and_then(|last| points.get(last));
    let Some((last, first)) = before.zip(points.get(from)) else { return };
    if last.at < first.at {
        return;
    }
    let later = points.split_off(from);
    let mut later = later.into_iter().peekable();
    let mut hidden_until = i64::MIN;
    for point in std::mem::take(points) {
        while let Some(next) = later.next_if(|next| next.at <= point.at) {
            hidden_until = next.at.saturating_add(HIDES);
            points.push(next);
        }
        if point.at >= hidden_until {
            points.push(point);
        }
    }
    points.extend(later);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn settled(earlier: &[i64], later: &[i64]) -> Vec<(i64, f64)> {
        let of = |minutes: &[i64], value: f64| {
            minutes.iter().map(move |minute| Point { at: minute * MINUTE, value }).collect::<Vec<_>>()
        };
        let mut points = of(earlier, 1.0);
        points.extend(of(later, 2.0));
        settle(&mut points, earlier.len());
        points.iter().map(|point| (point.at / MINUTE, point.value)).collect()
    }

    #[test]
    fn what_follows_stays_as_it_is() {
        assert_eq!(settled(&[1, 2], &[3, 4]), [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]);
        assert_eq!(settled(&[], &[3]), [(3, 2.0)]);
        assert_eq!(settled(&[3], &[]), [(3, 1.0)]);
    }

    #[test]
    fn the_later_word_hides_the_earlier_one_until_it_is_five_minutes_old() {
        assert_eq!(
            settled(&[1, 60, 61, 62, 66, 70], &[58, 60, 61]),
            [(1, 1.0), (58, 2.0), (60, 2.0), (61, 2.0), (66, 1.0), (70, 1.0)]
        );
        // A clock that showed a time of long ago for a moment hides nothing of today.
        assert_eq!(settled(&[60, 61], &[1, 2]), [(1, 2.0), (2, 2.0), (60, 1.0), (61, 1.0)]);
        assert_eq!(settled(&[1, 2, 3], &[1, 2, 3]), [(1, 2.0), (2, 2.0), (3, 2.0)]);
    }
}
