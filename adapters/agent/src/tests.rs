//! The executor with real replicas and a gateway that only keeps its table and its counts.

#[path = "../tests/fixtures/mod.rs"]
mod fixtures;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::{Epoch, Generation, ReleaseNumber};
use ports::fleet::{
    Error as Refusal, Group, GroupSecrets, ReplicaPhase, ReplicaSeen, SecretValues, Seen, Tally, Wanted,
};
use ports::{Fleet as _, Secret};
use process::{Pace, ReplicaId, ShimCommand};
use routes::Table;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

pub(crate) use self::fixtures::split;
use self::fixtures::{Home, place, wanted};
use crate::gateway::Gateway;
use crate::life::Prepared;
use crate::{Client, Error};

/// The helper program of this package; cargo builds it with the integration tests, next to this one.
fn double() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("agent-double")
}

pub(crate) fn group(service: &str, release: u64) -> Group {
    fixtures::group(&double(), service, release)
}

#[derive(Clone, Default)]
struct Fake(Arc<(Mutex<FakeState>, Notify)>);

#[derive(Default)]
struct FakeState {
    table: Table,
    swaps: Vec<Vec<(u64, u32)>>,
    in_flight: BTreeMap<ReplicaId, u32>,
    tallies: Vec<Tally>,
    ejected: BTreeMap<ReplicaId, proxy::Ejected>,
    dismissed: BTreeSet<ReplicaId>,
    also: Option<proxy::Page>,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.0.0.lock().unwrap()
    }

    fn set_in_flight(&self, id: &ReplicaId, count: u32) {
        self.state().in_flight.insert(id.clone(), count);
        self.0.1.notify_waiters();
    }

    /// The replicas that take requests.
    fn routed(&self) -> Vec<(u64, u32)> {
        routed(&self.state().table)
    }
}

fn routed(table: &Table) -> Vec<(u64, u32)> {
    let shares = table.entries().iter().flat_map(|entry| &entry.shares);
    let pairs =
        shares.flat_map(|share| share.replicas.iter().map(|replica| (share.release.0, replica.ordinal)));
    pairs.collect()
}

impl Gateway for Fake {
    fn inherit(&self, ejected: Vec<proxy::Ejected>) {
        assert!(ejected.is_empty(), "nobody was before");
    }

    fn open(&self) -> Result<(), String> {
        Ok(())
    }

    fn all_in_flight(&self) -> BTreeMap<ReplicaId, u32> {
        self.state().in_flight.clone()
    }

    fn follow(&self, _predecessor: crate::succession::Predecessor) {}

    fn listeners(&self) -> Result<proxy::Listeners, String> {
        Ok(proxy::Listeners::default())
    }

    fn yields(&self) {}

    async fn ended(&self, _patience: Duration) -> usize {
        0
    }

    async fn swap(&self, table: &Table) -> Result<(), String> {
        let mut state = self.state();
        state.table = table.clone();
        state.swaps.push(routed(table));
        Ok(())
    }

    fn in_flight(&self, id: &ReplicaId) -> u32 {
        self.state().in_flight.get(id).copied().unwrap_or(0)
    }

    fn ejected(&self) -> Vec<proxy::Ejected> {
        self.state().ejected.values().cloned().collect()
    }

    fn readmit(&self, id: &ReplicaId) {
        self.state().ejected.remove(id);
    }

    fn dismiss(&self, id: &ReplicaId) {
        let mut state = self.state();
        assert!(
            !routed(&state.table).contains(&(id.group.release.0, id.ordinal)),
            "{id} still gets requests"
        );
        state.dismissed.insert(id.clone());
    }

    async fn drained(&self, id: &ReplicaId) {
        loop {
            let changed = self.0.1.notified();
            if self.in_flight(id) == 0 {
                return;
            }
            changed.await;
        }
    }

    fn tallies(&self) -> Vec<Tally> {
        self.state().tallies.clone()
    }

    fn metrics_text(&self) -> String {
        let also = self.state().also.clone();
        format!("up 1\n{}", also.map(|also| also()).unwrap_or_default())
    }

    fn open_metrics(&self) -> String {
        self.metrics_text()
    }

    fn trace(&self, _orders: crate::traces::Orders) {}

    fn also_tell(&self, page: proxy::Page) {
        self.state().also = Some(page);
    }

    fn listen_address(&self) -> Option<String> {
        Some("127.0.0.1:1".to_owned())
    }

    fn admin_address(&self) -> Option<String> {
        None
    }

    async fn shutdown(&self, _patience: Duration) {
        self.state().table = Table::default();
    }
}

struct World {
    home: Option<Home>,
    gateway: Fake,
    client: Client,
    leave: Option<oneshot::Sender<()>>,
    agent: JoinHandle<Result<(), Error>>,
}

impl World {
    async fn new() -> Self {
        Self::at(Home::new()).await
    }

    async fn at(home: Home) -> Self {
        let shim = ShimCommand { program: double(), args: vec!["shim".into()] };
        let prepared = Prepared::new(home.path(), shim, Pace::default()).await.unwrap();
        let (gateway, client) = (Fake::default(), Client::new(home.path()));
        let (leave, left) = oneshot::channel::<()>();
        let serving = gateway.clone();
        let agent = tokio::spawn(async move {
            let left = async { drop(left.await) };
            prepared.serve(serving, Duration::from_secs(1), Duration::from_secs(1), left).await
        });
        let world = Self { home: Some(home), gateway, client, leave: Some(leave), agent };
        while world.client.health().await.is_err() {
            assert!(!world.agent.is_finished(), "the agent ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world
    }

    async fn want(&self, wanted: Wanted) -> Result<(), Refusal> {
        self.client.want(wanted, SecretValues::default()).await
    }

    async fn until(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = Seen::default();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while std::time::Instant::now() < deadline {
            seen = self.client.seen(seen.instance, seen.version, Duration::from_secs(1)).await.unwrap();
            if is(&seen) {
                return seen;
            }
        }
        panic!("waited in vain for: {what}; {seen:#?}");
    }

    async fn until_ready(&self, release: u64, count: usize) -> Vec<ReplicaSeen> {
        let ready =
            |seen: &Seen| replicas(seen, release, |phase| phase == ReplicaPhase::Ready).len() == count;
        replicas(&self.until("ready replicas", ready).await, release, |_| true)
    }

    /// As by SIGTERM.
    async fn leave(mut self) -> Home {
        self.leave.take().unwrap().send(()).unwrap();
        (&mut self.agent).await.unwrap().unwrap();
        self.home.take().unwrap()
    }

    async fn stop(mut self) {
        self.client.stop().await.unwrap();
        (&mut self.agent).await.unwrap().unwrap();
    }
}

fn replicas(seen: &Seen, release: u64, is: impl Fn(ReplicaPhase) -> bool) -> Vec<ReplicaSeen> {
    let groups = seen.groups.iter().filter(|group| group.id.release.0 == release);
    groups.flat_map(|group| group.replicas.clone()).filter(|replica| is(replica.phase)).collect()
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[tokio::test]
async fn a_surplus_replica_leaves_the_table_first_and_stops_when_it_is_drained() {
    let world = World::new().await;
    let (mut first, second) = (group("shop", 1), group("shop", 2));
    first.replicas = 2;
    world.want(wanted(1, vec![first.clone()], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 2).await;
    assert_eq!(world.gateway.routed(), [(1, 1), (1, 2)]);
    let ids = [1, 2].map(|ordinal| ReplicaId { group: first.id.clone(), ordinal });
    ids.iter().for_each(|id| world.gateway.set_in_flight(id, 3));
    world.want(wanted(2, vec![first.clone(), second.clone()], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(2, 1).await;

    world.want(wanted(3, vec![second.clone()], vec![split("shop", 2)])).await.unwrap();
    assert_eq!(world.gateway.routed(), [(2, 1)], "in force when `want` returns");
    let seen = world.client.seen(String::new(), 0, Duration::ZERO).await.unwrap();
    let draining = replicas(&seen, 1, |phase| phase == ReplicaPhase::Draining);
    assert_eq!(draining.iter().map(|replica| replica.in_flight).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(
        world.gateway.state().dismissed,
        BTreeSet::from(ids.clone()),
        "their clients are told at once"
    );
    world.gateway.set_in_flight(&ids[0], 0);
    let seen = world.until("one is gone", |seen| replicas(seen, 1, |_| true).len() == 1).await;
    assert!(alive(replicas(&seen, 1, |_| true)[0].pid.unwrap()), "the other one has requests in flight");
    world.gateway.set_in_flight(&ids[1], 0);
    world.until("both are gone", |seen| replicas(seen, 1, |_| true).is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_group_that_shrinks_routes_only_to_those_that_stay_when_want_returns() {
    let world = World::new().await;
    let mut first = group("shop", 1);
    first.replicas = 3;
    world.want(wanted(1, vec![first.clone()], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 3).await;
    let last = ReplicaId { group: first.id.clone(), ordinal: 3 };
    world.gateway.set_in_flight(&last, 1);
    let before = world.gateway.state().swaps.len();
    first.replicas = 1;
    world.want(wanted(2, vec![first.clone()], vec![split("shop", 1)])).await.unwrap();
    assert_eq!(world.gateway.state().swaps[before], [(1, 1)]);
    world.until("one of two is gone", |seen| replicas(seen, 1, |_| true).len() == 2).await;
    first.replicas = 2;
    world.want(wanted(3, vec![first], vec![split("shop", 1)])).await.unwrap();
    let seen = world.until_ready(1, 2).await;
    assert_eq!(seen.iter().map(|replica| replica.ordinal).collect::<Vec<_>>(), [1, 3, 4], "none comes back");
    assert_eq!(world.gateway.routed(), [(1, 1), (1, 4)]);
    world.gateway.set_in_flight(&last, 0);
    world.stop().await;
}

#[tokio::test]
async fn requests_in_flight_are_given_up_after_the_drain_timeout() {
    let world = World::new().await;
    let mut first = group("shop", 1);
    first.shutdown.drain_timeout = Duration::from_millis(50);
    world.want(wanted(1, vec![first.clone()], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 1).await;
    world.gateway.set_in_flight(&ReplicaId { group: first.id.clone(), ordinal: 1 }, 1);
    world.want(wanted(2, Vec::new(), Vec::new())).await.unwrap();
    world.until("gone", |seen| seen.groups.is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn it_never_moves_to_an_older_generation_across_restarts_either() {
    let world = World::new().await;
    world.want(wanted(5, vec![group("shop", 1)], vec![split("shop", 1)])).await.unwrap();
    world.want(wanted(5, vec![group("shop", 1)], vec![split("shop", 1)])).await.unwrap();
    let stale = world.want(wanted(4, Vec::new(), Vec::new())).await.unwrap_err();
    assert!(matches!(stale, Refusal::Stale { has: Generation(5), offered: Generation(4) }), "{stale}");
    world.until_ready(1, 1).await;
    let world = World::at(world.leave().await).await;
    let stale = world.want(wanted(4, Vec::new(), Vec::new())).await.unwrap_err();
    assert!(matches!(stale, Refusal::Stale { has: Generation(5), .. }), "{stale}");
    world.stop().await;
}

#[tokio::test]
async fn a_replica_that_was_left_out_is_taken_back_when_its_time_is_over_and_its_probe_was_answered_since() {
    let world = World::new().await;
    let mut two = group("shop", 1);
    two.replicas = 2;
    world.want(wanted(1, vec![two.clone()], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 2).await;
    let hour = Duration::from_secs(3600);
    let now = std::time::Instant::now();
    let ids = [1, 2, 3].map(|ordinal| ReplicaId { group: two.id.clone(), ordinal });
    for (id, since, until) in [(&ids[0], now, now), (&ids[1], now + hour, now), (&ids[2], now, now + hour)] {
        let (place, release) = (place("shop"), ReleaseNumber(1));
        let why = "of errors".to_owned();
        let ejected = proxy::Ejected { place, release, ordinal: id.ordinal, since, until, times: 1, why };
        world.gateway.state().ejected.insert(id.clone(), ejected);
    }
    let told = |seen: &Seen| seen.warnings.iter().filter(|warning| warning.contains("left out")).count();
    world.until("all are told", |seen| told(seen) == 3).await;
    let seen = world.until("one is back", |seen| told(seen) == 2).await;
    let left: Vec<ReplicaId> = world.gateway.state().ejected.keys().cloned().collect();
    assert_eq!(left, ids[1..], "one has not answered since, of one the time is not over");
    assert!(seen.warnings[0].contains("/2 is ready, but left out"), "{:?}", seen.warnings);
    world.stop().await;
}

#[tokio::test]
async fn two_places_that_claim_the_same_requests_are_refused_and_nothing_changes() {
    let world = World::new().await;
    world.want(wanted(1, vec![group("shop", 1)], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 1).await;
    let both = wanted(2, vec![group("shop", 1), group("cart", 1)], vec![split("shop", 1), split("cart", 1)]);
    let refused = world.want(both).await.unwrap_err().to_string();
    assert!(refused.contains("shop/test") && refused.contains("cart/test"), "{refused}");
    let seen = world.client.seen(String::new(), 0, Duration::ZERO).await.unwrap();
    assert_eq!((seen.generation, seen.groups.len()), (Generation(1), 1));
    assert_eq!(world.gateway.routed(), [(1, 1)]);
    let home = world.leave().await;
    let stored = std::fs::read_to_string(home.path().join("wanted.json")).unwrap();
    assert!(!stored.contains("cart"));
    World::at(home).await.stop().await;
}

#[tokio::test]
async fn an_agent_that_leaves_hands_its_replicas_to_the_next_which_routes_to_them_at_once() {
    let world = World::new().await;
    world.want(wanted(1, vec![group("shop", 1)], vec![split("shop", 1)])).await.unwrap();
    let before = world.until_ready(1, 1).await.remove(0);
    let home = world.leave().await;
    assert!(alive(before.pid.unwrap()));
    assert!(!home.path().join("agent.sock").exists());
    let world = World::at(home).await;
    assert_eq!(world.gateway.state().swaps[0], [(1, 1)], "the gateway never had a table without it");
    let after = world.until_ready(1, 1).await.remove(0);
    assert_eq!((after.pid, after.port, after.restarts), (before.pid, before.port, 0));
    world.stop().await;
    assert!(!alive(before.pid.unwrap()));
}

#[tokio::test]
async fn without_a_wanted_state_adopted_replicas_are_left_alone() {
    let world = World::new().await;
    world.want(wanted(1, vec![group("shop", 1)], vec![split("shop", 1)])).await.unwrap();
    let before = world.until_ready(1, 1).await.remove(0);
    let home = world.leave().await;
    std::fs::write(home.path().join("wanted.json"), "half a sta").unwrap();
    let world = World::at(home).await;
    assert_eq!(world.until_ready(1, 1).await[0].pid, before.pid);
    world.want(wanted(1, Vec::new(), Vec::new())).await.unwrap();
    world.until("gone", |seen| seen.groups.is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn an_agent_without_secrets_keeps_what_runs_and_waits_for_control_before_it_starts_more() {
    let world = World::new().await;
    let mut secret = group("shop", 1);
    secret.secrets = vec!["TOKEN".to_owned()];
    let values = SecretValues(vec![GroupSecrets {
        group: secret.id.clone(),
        values: [("TOKEN".to_owned(), Secret::new("hunter2".to_owned()))].into(),
        trace_headers: Default::default(),
    }]);
    world.client.want(wanted(1, vec![secret.clone()], vec![split("shop", 1)]), values.clone()).await.unwrap();
    let before = world.until_ready(1, 1).await.remove(0);
    let world = World::at(world.leave().await).await;
    secret.replicas = 2;
    world.want(wanted(2, vec![secret.clone()], vec![split("shop", 1)])).await.unwrap();
    let two = |seen: &Seen| replicas(seen, 1, |phase| phase == ReplicaPhase::Backoff).len() == 1;
    let seen = world.until("a second replica that waits", two).await;
    assert_eq!(replicas(&seen, 1, |phase| phase == ReplicaPhase::Ready)[0].pid, before.pid);
    assert!(seen.warnings[0].contains("until control sends the values of its secrets: TOKEN"), "{seen:#?}");
    world.client.want(wanted(2, vec![secret], vec![split("shop", 1)]), values).await.unwrap();
    world.until_ready(1, 2).await;
    let seen = world.until("no warning", |seen| seen.warnings.is_empty()).await;
    assert!(!serde_json::to_string(&seen).unwrap().contains("hunter2"));
    world.stop().await;
}

#[tokio::test]
async fn counts_wake_who_waits() {
    let world = World::new().await;
    let seen = world.until("the first", |_| true).await;
    let tally = Tally {
        place: place("shop"),
        epoch: Epoch(1),
        release: ReleaseNumber(1),
        requests: 7,
        errors: 1,
        latency: model::latency::Histogram::default(),
        aimed: ports::fleet::Aimed::default(),
        users: ports::fleet::UserTally::default(),
    };
    world.gateway.state().tallies.push(tally.clone());
    let later = world.client.seen(seen.instance, seen.version, Duration::from_secs(20)).await.unwrap();
    assert_eq!(later.tallies, [tally]);
    world.stop().await;
}

#[tokio::test]
async fn metrics_tell_of_the_gateway_each_replica_and_the_machine() {
    let world = World::new().await;
    let mut first = group("shop", 1);
    first.replicas = 2;
    world.want(wanted(1, vec![first], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 2).await;
    let text = world.client.metrics().await.unwrap();
    assert!(text.starts_with("up 1\n"), "{text}");
    for replica in [1, 2] {
        let labels = format!("app=\"shop\",environment=\"test\",version=\"1\",replica=\"{replica}\"");
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
            assert!(text.contains(&format!("\n{name}{{{labels}}} ")), "{name}: {text}");
        }
        assert!(text.contains(&format!("\nshipshape_replica_ready{{{labels}}} 1\n")), "{text}");
    }
    assert!(text.contains("\nnode_load1 "), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_said_to_be_not_running() {
    let home = Home::new();
    let client = Client::new(home.path());
    let absent = "the agent is not running: `shipshape up` starts it";
    assert_eq!(client.health().await.unwrap_err().to_string(), absent);
    drop(std::os::unix::net::UnixListener::bind(home.path().join("agent.sock")).unwrap());
    assert_eq!(client.health().await.unwrap_err().to_string(), absent, "a socket that an agent left behind");
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::at(home).await;
    let socket = crate::socket(world.home.as_ref().unwrap().path());
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    world.stop().await;
}

#[tokio::test]
async fn a_wanted_state_that_finds_no_room_on_the_disk_is_refused_and_the_one_before_stays() {
    let world = World::new().await;
    world.want(wanted(1, vec![group("shop", 1)], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(1, 1).await;
    let home = world.home.as_ref().unwrap().path().to_owned();
    // Every write to this file fails for want of room, whoever writes.
    std::os::unix::fs::symlink("/dev/full", home.join("wanted.json.new")).unwrap();
    let refused =
        world.want(wanted(2, vec![group("shop", 2)], vec![split("shop", 2)])).await.unwrap_err().to_string();
    assert!(
        refused.contains("No space left on device") && refused.contains(home.to_str().unwrap()),
        "{refused}"
    );
    let seen = world.client.seen(String::new(), 0, Duration::ZERO).await.unwrap();
    assert_eq!((seen.generation, seen.groups.len()), (Generation(1), 1));
    assert_eq!(world.gateway.routed(), [(1, 1)]);
    std::fs::remove_file(home.join("wanted.json.new")).unwrap();
    world.want(wanted(2, vec![group("shop", 2)], vec![split("shop", 1)])).await.unwrap();
    world.until_ready(2, 1).await;
    world.stop().await;
}
