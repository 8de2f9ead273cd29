//! Clocks on walls, and windows of time by them, written out: nothing here asks a database of time zones, so that what is found
//! can be compared with what one says. Does not live here: what a window keeps from happening.

use fastrand::Rng;
use model::Timestamp;

const DAY: i64 = 86_400;
const MINUTE: i64 = 60;

/// A day on which, in most of these places, the clock is set.
#[derive(Debug)]
pub(crate) struct Scene {
    zone: &'static str,
    date: &'static str,
    weekday: &'static str,
    /// The beginning of the day by the clock, as if it were UTC: seconds since 1970.
    midnight: i64,
    /// When the clock is set.
    turn: i64,
    /// By how many seconds the clock is ahead of UTC, before and after.
    ahead: [i64; 2],
}

/// In autumn an hour comes twice, in spring one does not come, and most clocks of the world are never set.
static SCENES: [Scene; 5] = [
    Scene {
        zone: "Europe/Vienna",
        date: "2023-10-29",
        weekday: "Sun",
        midnight: 1_698_537_600,
        turn: 1_698_541_200,
        ahead: [7_200, 3_600],
    },
    Scene {
        zone: "Europe/Vienna",
        date: "2024-03-31",
        weekday: "Sun",
        midnight: 1_711_843_200,
        turn: 1_711_846_800,
        ahead: [3_600, 7_200],
    },
    Scene {
        zone: "America/New_York",
        date: "2023-11-05",
        weekday: "Sun",
        midnight: 1_699_142_400,
        turn: 1_699_164_000,
        ahead: [-14_400, -18_000],
    },
    Scene {
        zone: "America/New_York",
        date: "2024-03-10",
        weekday: "Sun",
        midnight: 1_710_028_800,
        turn: 1_710_054_000,
        ahead: [-18_000, -14_400],
    },
    Scene {
        zone: "Asia/Kathmandu",
        date: "2023-11-15",
        weekday: "Wed",
        midnight: 1_700_006_400,
        turn: 1_700_021_700,
        ahead: [20_700, 20_700],
    },
];

impl Scene {
    pub(crate) fn draw(chance: &mut Rng) -> &'static Self {
        &SCENES[chance.usize(..SCENES.len())]
    }

    /// In seconds since 1970.
    pub(crate) fn turns_at(&self) -> i64 {
        self.turn
    }

    /// The instants at which the clock shows this: the first and the last. Of a time that does not come, those at which it would have come
    /// by the clock of after and of before.
    fn instants(&self, shown: i64) -> (i64, i64) {
        let [before, after] = self.ahead.map(|ahead| shown - ahead);
        match (before < self.turn, after >= self.turn) {
            (true, false) => (before, before),
            (false, true) => (after, after),
            (true, true) | (false, false) => (before.min(after), before.max(after)),
        }
    }
}

/// Time in which no rollout begins, as a team declares it.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    scene: &'static Scene,
    /// What the clock shows, in seconds since the day's midnight.
    from: i64,
    to: i64,
    weekly: bool,
}

impl Window {
    /// About when the clock is set: by what it shows before, after, or in the hour that comes twice or not at all.
    pub(crate) fn draw(chance: &mut Rng, scene: &'static Scene) -> Self {
        let [before, after] = scene.ahead.map(|ahead| scene.turn + ahead - scene.midnight);
        let near = [before, before, after, after, before.min(after) + 30 * MINUTE][chance.usize(..5)];
        let from = near + chance.i64(-5..4) * MINUTE;
        let length = [1, 1, 2, 3, 20, 61][chance.usize(..6)] * MINUTE;
        let weekly = chance.bool();
        // Nearly all of the week: what ends before it begins ends in the next one.
        let length = if weekly && chance.u32(..8) == 0 { -length } else { length };
        Self { scene, from, to: from + length, weekly }
    }

    pub(crate) fn in_yaml(&self) -> String {
        let Scene { zone, date, weekday, .. } = self.scene;
        let [from, to] = [self.from, self.to].map(|at| format!("{:02}:{:02}", at / 3_600, at / MINUTE % 60));
        match self.weekly {
            true => format!("weekly: {{from: {weekday} {from}, to: {weekday} {to}}}, timeZone: {zone}"),
            false => format!("from: {date}T{from}, to: {date}T{to}, timeZone: {zone}"),
        }
    }

    /// Whether it holds: from the first instant at which the clock shows its beginning, until the last that shows its end.
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        let length = if self.to > self.from { self.to - self.from } else { 7 * DAY + self.to - self.from };
        let weeks = if self.weekly { -1..=1 } else { 0..=0 };
        weeks.into_iter().any(|week| {
            let begin = self.scene.midnight + self.from + week * 7 * DAY;
            let (begin, end) = (self.scene.instants(begin).0, self.scene.instants(begin + length).1);
            (begin * 1_000_000..end * 1_000_000).contains(&at.as_micros())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_clock_that_is_set_back_shows_an_hour_twice_and_one_that_is_set_forward_skips_it() {
        let [autumn, spring] = [&SCENES[0], &SCENES[1]];
        let half_past_two = 150 * MINUTE;
        let (first, last) = autumn.instants(autumn.midnight + half_past_two);
        assert_eq!((first, last), (autumn.turn - 1_800, autumn.turn + 1_800));
        let (first, last) = spring.instants(spring.midnight + half_past_two);
        assert_eq!((first, last), (spring.turn - 1_800, spring.turn + 1_800));
        let window = Window { scene: spring, from: half_past_two, to: 200 * MINUTE, weekly: false };
        assert!(window.holds(at(spring.turn - 1_800)) && !window.holds(at(spring.turn - 1_801)));
        assert!(window.holds(at(spring.turn + 19 * MINUTE)) && !window.holds(at(spring.turn + 20 * MINUTE)));
    }
}
