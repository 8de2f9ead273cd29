//! The whole agent as a process, gateway included.

mod fixtures;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::Client;
use fixtures::{Home, group, split, wanted};
use ports::Fleet as _;
use ports::fleet::{Group, ReplicaPhase, ReplicaSeen, SecretValues, Seen, Split};
use rustix::process::{Pid, Signal, kill_process};

const DOUBLE: &str = env!("CARGO_BIN_EXE_agent-double");
const DEADLINE: Duration = Duration::from_secs(20);

struct World {
    home: Home,
    agent: Child,
    client: Client,
    address: String,
}

#[allow(clippy::unwrap_used, reason = "part of tests")]
impl World {
    async fn new() -> Self {
        Self::at(Home::new(), "127.0.0.1:0").await
    }

    async fn at(home: Home, listen: &str) -> Self {
        let agent =
            Command::new(DOUBLE).arg("agent").arg(home.path()).arg(listen).stdin(Stdio::null()).spawn();
        Self::with(home, agent.unwrap()).await
    }

    /// An agent that takes over from this one, and this one as it is then.
    async fn succeeded(self) -> (Self, Child) {
        let agent =
            Command::new(DOUBLE).arg("agent").arg(self.home.path()).arg("127.0.0.1:0").arg("succeed").spawn();
        let before = self.agent;
        let now = Self::with(self.home, agent.unwrap()).await;
        assert_eq!(now.address, self.address);
        (now, before)
    }

    async fn with(home: Home, mut agent: Child) -> Self {
        let client = Client::new(home.path());
        let deadline = Instant::now() + DEADLINE;
        let address = loop {
            match client.health().await {
                Ok(health) if health.pid == agent.id() => break health.gateway.unwrap(),
                Ok(_) | Err(_) => {}
            }
            assert!(
                agent.try_wait().unwrap().is_none() && Instant::now() < deadline,
                "the agent does not come"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self { home, agent, client, address }
    }

    fn signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.agent), signal).unwrap();
        self.agent.wait().unwrap();
    }

    async fn want(&self, generation: u64, groups: Vec<Group>, splits: Vec<Split>) {
        self.client.want(wanted(generation, groups, splits), SecretValues::default()).await.unwrap();
    }

    async fn until(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Seen::default();
        while Instant::now() < deadline {
            seen = self.client.seen(seen.instance, seen.version, Duration::from_secs(1)).await.unwrap();
            if is(&seen) {
                return seen;
            }
        }
        panic!("waited in vain for: {what}; {seen:#?}");
    }

    async fn ready(&self, release: u64, count: usize) -> Vec<ReplicaSeen> {
        let ready = |replica: &ReplicaSeen| replica.phase == ReplicaPhase::Ready;
        let is = |seen: &Seen| of(seen, release).iter().filter(|replica| ready(replica)).count() == count;
        of(&self.until("ready replicas", is).await, release)
    }

    async fn stop(mut self) {
        self.client.stop().await.unwrap();
        assert!(self.agent.wait().unwrap().success());
        assert!(!self.home.path().join("agent.sock").exists());
    }
}

fn of(seen: &Seen, release: u64) -> Vec<ReplicaSeen> {
    let groups = seen.groups.iter().filter(|group| group.id.release.0 == release);
    groups.flat_map(|group| group.replicas.clone()).collect()
}

fn server(release: u64) -> Group {
    group(Path::new(DOUBLE), "shop", release)
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// One connection that is kept alive.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nhost: shop.test\r\n\r\n")?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        while line != "\r\n" {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|text| text.parse().ok()).unwrap_or(0);
            }
            if let Some(rest) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn get(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    Connection::open(address)?.get(path)
}

/// Sends requests one after the other on one connection until it is told to end; keeps each answer's body.
fn load(
    address: &str,
    path: &'static str,
    over: &Arc<AtomicBool>,
) -> JoinHandle<Result<Vec<String>, String>> {
    let (address, over) = (address.to_owned(), Arc::clone(over));
    std::thread::spawn(move || {
        let mut connection = Connection::open(&address).map_err(|error| error.to_string())?;
        let mut bodies = Vec::new();
        while !over.load(Ordering::SeqCst) {
            match connection.get(path) {
                Ok((200, body)) => bodies.push(body),
                other => return Err(format!("after {} answers: {other:?}", bodies.len())),
            }
        }
        Ok(bodies)
    })
}

#[tokio::test]
async fn a_release_is_replaced_under_load_and_no_request_is_lost() {
    let world = World::new().await;
    let mut first = server(1);
    first.replicas = 2;
    let mut second = server(2);
    second.replicas = 2;
    world.want(1, vec![first.clone()], vec![split("shop", 1)]).await;
    world.ready(1, 2).await;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| load(&world.address, "/slow/1", &over)).collect();
    world.want(2, vec![first, second.clone()], vec![split("shop", 1)]).await;
    let new: Vec<String> =
        world.ready(2, 2).await.iter().map(|replica| replica.pid.unwrap().to_string()).collect();
    let mut connection = Connection::open(&world.address).unwrap();
    assert!(!new.contains(&connection.get("/").unwrap().1));
    world.want(3, vec![second], vec![split("shop", 2)]).await;
    for _ in 0..20 {
        assert!(new.contains(&connection.get("/").unwrap().1), "the old table was still in use");
    }
    world.until("the old release is gone", |seen| of(seen, 1).is_empty()).await;
    over.store(true, Ordering::SeqCst);
    for client in clients {
        let bodies = client.join().unwrap().unwrap();
        assert!(!new.contains(bodies.first().unwrap()) && new.contains(bodies.last().unwrap()));
    }
    let seen = world.until("counts", |seen| !seen.tallies.is_empty()).await;
    assert_eq!(seen.tallies.iter().map(|tally| tally.errors).sum::<u64>(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_its_replica_stops() {
    let world = World::new().await;
    world.want(1, vec![server(1)], vec![split("shop", 1)]).await;
    world.ready(1, 1).await;
    let address = world.address.clone();
    let slow = std::thread::spawn(move || get(&address, "/slow/700"));
    world.until("it is in flight", |seen| of(seen, 1).iter().any(|replica| replica.in_flight == 1)).await;
    world.want(2, Vec::new(), Vec::new()).await;
    let seen = world.client.seen(String::new(), 0, Duration::ZERO).await.unwrap();
    assert_eq!(of(&seen, 1)[0].phase, ReplicaPhase::Draining);
    assert_eq!(slow.join().unwrap().unwrap().0, 200);
    world.until("gone", |seen| seen.groups.is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_killed_loses_no_replica_and_the_next_serves_with_them() {
    let mut world = World::new().await;
    world.want(1, vec![server(1)], vec![split("shop", 1)]).await;
    let before = world.ready(1, 1).await.remove(0);
    let pid = before.pid.unwrap();
    assert_eq!(get(&world.address, "/").unwrap(), (200, pid.to_string()));
    world.signal(Signal::KILL);
    assert!(alive(pid));
    let world = World::at(world.home, &world.address).await;
    assert_eq!(get(&world.address, "/").unwrap(), (200, pid.to_string()), "the first request is served");
    let after = world.ready(1, 1).await.remove(0);
    assert_eq!((after.pid, after.restarts, after.ordinal), (Some(pid), 0, 1));
    world.stop().await;
    assert!(!alive(pid));
}

/// Asks again and again, each time on a new connection, until it is told to end; keeps every answer's status. An agent
/// that is not there refuses, or hangs up in the middle; anything else is an error.
fn knock(address: &str, over: &Arc<AtomicBool>) -> JoinHandle<Result<Vec<u16>, std::io::Error>> {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    let (address, over) = (address.to_owned(), Arc::clone(over));
    std::thread::spawn(move || {
        let mut statuses = Vec::new();
        while !over.load(Ordering::SeqCst) {
            match get(&address, "/") {
                Ok((status, _)) => statuses.push(status),
                Err(error)
                    if [BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof]
                        .contains(&error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(statuses)
    })
}

#[tokio::test]
async fn a_restarted_agent_opens_with_its_table_and_knows_every_place_from_the_first_request() {
    let mut world = World::new().await;
    world.want(1, vec![server(1)], vec![split("shop", 1)]).await;
    world.ready(1, 1).await;
    for round in 0..5 {
        let address = world.address.clone();
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4).map(|_| knock(&address, &over)).collect();
        world.signal(Signal::KILL);
        world = World::at(world.home, &address).await;
        assert_eq!(get(&address, "/").unwrap().0, 200);
        over.store(true, Ordering::SeqCst);
        for client in clients {
            let statuses = client.join().unwrap().unwrap();
            let bad: Vec<u16> = statuses.iter().filter(|status| **status != 200).copied().collect();
            assert_eq!(bad, [0; 0], "round {round}: of {} answers", statuses.len());
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_replica_that_fails_its_requests_is_left_out_and_comes_back_when_it_answers() {
    let world = World::new().await;
    let mut two = server(1);
    two.replicas = 2;
    world.want(1, vec![two], vec![split("shop", 1)]).await;
    let ill = world.ready(1, 2).await[0].clone();
    assert_eq!(get(&format!("127.0.0.1:{}", ill.port), "/break/x").unwrap().0, 200);
    let answers: Vec<u16> = (0..100).map(|_| get(&world.address, "/x").unwrap().0).collect();
    assert!(answers[80..].iter().all(|status| *status == 200), "{answers:?}");
    let told = |seen: &Seen| seen.warnings.iter().any(|warning| warning.contains("left out for now"));
    world.until("it is told", told).await;
    get(&format!("127.0.0.1:{}", ill.port), "/mend/x").unwrap();
    world.until("it is taken back", |seen| !told(seen)).await;
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        pids.insert(get(&world.address, "/").unwrap().1);
    }
    assert_eq!(pids.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn sigterm_leaves_the_replicas_and_finishes_what_is_in_flight() {
    let mut world = World::new().await;
    world.want(1, vec![server(1)], vec![split("shop", 1)]).await;
    let pid = world.ready(1, 1).await[0].pid.unwrap();
    let address = world.address.clone();
    let slow = std::thread::spawn(move || get(&address, "/slow/500"));
    world.until("it is in flight", |seen| of(seen, 1).iter().any(|replica| replica.in_flight == 1)).await;
    world.signal(Signal::TERM);
    assert_eq!(slow.join().unwrap().unwrap().0, 200);
    assert!(alive(pid));
    let world = World::at(world.home, &world.address).await;
    world.stop().await;
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_second_agent_is_refused_and_the_first_is_not_disturbed() {
    let world = World::new().await;
    let second = Command::new(DOUBLE).arg("agent").arg(world.home.path()).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("another agent (pid {}) is at work in", world.agent.id())), "{said}");
    assert!(world.client.health().await.is_ok());
    world.stop().await;
}

#[tokio::test]
async fn a_successor_has_the_replicas_at_once_and_the_secrets_too() {
    let world = World::new().await;
    let mut secret = server(1);
    secret.secrets = vec!["TOKEN".to_owned()];
    let values = SecretValues(vec![ports::fleet::GroupSecrets {
        group: secret.id.clone(),
        values: [("TOKEN".to_owned(), ports::Secret::new("hunter2".to_owned()))].into(),
        trace_headers: Default::default(),
    }]);
    world.client.want(wanted(1, vec![secret.clone()], vec![split("shop", 1)]), values).await.unwrap();
    let pid = world.ready(1, 1).await[0].pid;
    let mut kept = Connection::open(&world.address).unwrap();
    assert_eq!(kept.get("/").unwrap().0, 200);
    let (world, mut before) = world.succeeded().await;
    let seen = world.client.seen(String::new(), 0, Duration::ZERO).await.unwrap();
    let (replica, phase) = (&of(&seen, 1)[0], ReplicaPhase::Ready);
    assert_eq!(
        (replica.pid, replica.phase, replica.restarts),
        (pid, phase, 0),
        "known to be ready, not asked again"
    );
    secret.replicas = 2;
    world.want(2, vec![secret], vec![split("shop", 1)]).await;
    world.ready(1, 2).await;
    assert_eq!(kept.get("/").unwrap().0, 200, "answered by the agent before, and told to go");
    assert!(kept.get("/").is_err());
    before.wait().unwrap();
    world.stop().await;
}

#[tokio::test]
async fn an_heir_that_dies_on_its_way_changes_nothing() {
    use std::os::unix::net::UnixStream;
    let world = World::new().await;
    world.want(1, vec![server(1)], vec![split("shop", 1)]).await;
    let pid = world.ready(1, 1).await[0].pid;
    let over = Arc::new(AtomicBool::new(false));
    let client = load(&world.address, "/slow/1", &over);
    // One that goes at once, one that takes what it is offered and then says nothing more.
    drop(UnixStream::connect(world.home.path().join("hand.sock")).unwrap());
    let requests = |seen: &Seen| seen.tallies.iter().map(|tally| tally.requests).sum::<u64>();
    let before = world.until("requests are counted", |seen| requests(seen) > 10).await;
    let child =
        Command::new(DOUBLE).arg("false-heir").arg(world.home.path()).spawn().unwrap().wait().unwrap();
    assert!(child.success());
    // Its counts go on under the same name: under another one they would be added to themselves.
    let after = world.until("requests are counted on", |seen| requests(seen) > requests(&before) + 10).await;
    assert_eq!(after.instance, before.instance);
    assert!(after.version > before.version);
    assert_eq!(world.client.health().await.unwrap().pid, world.agent.id());
    assert_eq!(world.ready(1, 1).await[0].pid, pid);
    let lock = std::fs::read_to_string(world.home.path().join("agent.lock")).unwrap();
    assert_eq!(lock.trim(), world.agent.id().to_string());
    over.store(true, Ordering::SeqCst);
    assert!(!client.join().unwrap().unwrap().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn connections_of_the_agent_before_end_when_their_time_is_over() {
    let world = World::new().await;
    world.want(1, vec![server(1)], vec![split("shop", 1)]).await;
    world.ready(1, 1).await;
    let address = world.address.clone();
    let endless = std::thread::spawn(move || get(&address, "/slow/60000"));
    world.until("it is in flight", |seen| of(seen, 1).iter().any(|replica| replica.in_flight == 1)).await;
    let (world, mut before) = world.succeeded().await;
    world
        .until("the successor counts it", |seen| of(seen, 1).iter().any(|replica| replica.in_flight == 1))
        .await;
    before.wait().unwrap();
    assert!(endless.join().unwrap().is_err());
    world.stop().await;
}

#[tokio::test]
async fn without_an_agent_to_succeed_it_is_a_fresh_start() {
    let home = Home::new();
    let agent = Command::new(DOUBLE).arg("agent").arg(home.path()).arg("127.0.0.1:0").arg("succeed").spawn();
    World::with(home, agent.unwrap()).await.stop().await;
}
