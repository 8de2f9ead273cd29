//! Probes that need somebody's attention, in words. Does not live here: their table, which faces make of the reports.

use model::Place;
use ports::probes::{Found, Reports};

/// How many are told one by one.
const MOST_TOLD: usize = 10;

/// A warning for each probe of these places whose last look was not good.
pub fn probe_warnings(reports: &Reports, holds: impl Fn(&Place) -> bool) -> Vec<String> {
    let bad = reports.probes.iter().filter(|report| holds(&report.place)).filter_map(|report| {
        let look = report.last.as_ref()?;
        let says = match look.result {
            Found::Good => return None,
            Found::Bad => "fails",
            Found::Unknown => "could not look",
        };
        Some(format!("probe {} of {} {says}: {}", report.probe, report.place, look.detail))
    });
    let mut warnings: Vec<String> = bad.collect();
    let untold = warnings.len().saturating_sub(MOST_TOLD);
    if untold > 0 {
        warnings.truncate(MOST_TOLD);
        warnings.push(format!("probes that are not good besides these: {untold}; see `shipshape probes`"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use ports::probes::{Look, Report};

    use super::*;

    fn report(name: &str, result: Option<Found>) -> Report {
        let look = |result| Look {
            at: Timestamp::default(),
            result,
            since: Timestamp::default(),
            seconds: 0.1,
            reason: None,
            detail: "answered 500, expected 2xx".to_owned(),
            status: None,
            certificate_expires: None,
        };
        let (service, environment) = ("shop".parse().unwrap(), "staging".parse().unwrap());
        Report {
            place: Place { service, environment },
            probe: name.to_owned(),
            kind: "http".to_owned(),
            instance: "/".to_owned(),
            attempts: 1,
            failures: 1,
            last: result.map(look),
        }
    }

    #[test]
    fn only_probes_that_are_not_good_are_told_and_not_endlessly_many() {
        let mut probes = vec![
            report("new", None),
            report("good", Some(Found::Good)),
            report("bad", Some(Found::Bad)),
            report("blind", Some(Found::Unknown)),
        ];
        let told = |probes: &[Report]| {
            let reports = Reports { at: Timestamp::default(), probes: probes.to_vec() };
            probe_warnings(&reports, |place| place.environment.as_str() == "staging")
        };
        assert_eq!(
            told(&probes),
            [
                "probe bad of shop/staging fails: answered 500, expected 2xx",
                "probe blind of shop/staging could not look: answered 500, expected 2xx"
            ]
        );
        probes.extend((0..20).map(|_| report("bad", Some(Found::Bad))));
        let many = told(&probes);
        assert!(many.len() == 11 && many[10].contains("besides these: 12"), "{many:?}");
        let reports = Reports { at: Timestamp::default(), probes };
        assert!(probe_warnings(&reports, |_| false).is_empty());
    }
}
