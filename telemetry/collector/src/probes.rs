//! Which probes are in force: those of the release that serves in each place, until another takes all requests. Does not
//! live here: the looking.

use lifecycle::World;
use model::Place;
use model::probe::Probe;
use promql::Labels;
use scrape::Target;

/// What the address of every probe begins with.
pub(crate) const PROBE: &str = "probe:";
/// Samples of one look at most: far more than there are.
const MOST_SAMPLES: usize = 200;

/// A probe that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probing {
    /// How it is asked for.
    pub key: String,
    /// Who declares it.
    pub place: Place,
    /// What it says.
    pub probe: Probe,
}

/// The probes of each place.
pub fn probes(world: &World) -> Vec<Probing> {
    let of = |place: &Place| {
        let probes = lifecycle::spec_at(world, place).map(|spec| spec.probes.clone()).unwrap_or_default();
        let one = |probe: Probe| Probing {
            key: format!("{PROBE}{}/{}/{}", place.service, place.environment, probe.name),
            place: place.clone(),
            probe,
        };
        probes.into_iter().map(one).collect::<Vec<_>>()
    };
    world.lanes.keys().flat_map(of).collect()
}

/// A probe is asked for as any target is: its page is what one look found.
pub(crate) fn target(probing: &Probing) -> Target {
    let Probing { key, place, probe } = probing;
    Target {
        address: key.clone(),
        labels: Labels::new([
            ("job", "probe"),
            ("instance", probe.instance()),
            ("app", place.service.as_str()),
            ("environment", place.environment.as_str()),
            ("probe", probe.name.as_str()),
        ]),
        interval: probe.interval,
        // Whoever looks sees to the probe's own timeout, and has to say how that went.
        timeout: probe.interval,
        samples: MOST_SAMPLES,
    }
}
