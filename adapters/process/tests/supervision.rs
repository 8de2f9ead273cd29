//! Replicas are started, probed, started again and let go, with real processes.

mod world;

use std::time::Duration;

use model::spec::{Check, Resources};
use ports::Secret;
use ports::fleet::{ReplicaPhase, ReplicaSeen};
use world::{DOUBLE, World, alive, eventually, get, group, probe, server, shell};

#[tokio::test]
async fn a_replica_starts_becomes_ready_and_stops() {
    let world = World::new().await;
    let id = world.start(&server());
    assert_eq!(world.see(&id).unwrap().phase, ReplicaPhase::Starting);
    let seen = world.ready(&id).await;
    assert_eq!((seen.ordinal, seen.restarts, &seen.reason), (1, 0, &None));
    for (name, value) in [
        ("SHIPSHAPE_SERVICE", "shop"),
        ("SHIPSHAPE_ENVIRONMENT", "test"),
        ("SHIPSHAPE_RELEASE", "1"),
        ("SHIPSHAPE_REPLICA", "1"),
        ("GREETING", "hello"),
        ("CARGO", "(absent)"),
    ] {
        assert_eq!(get(seen.port, &format!("/env/{name}")).unwrap(), value, "{name}");
    }
    let pid = seen.pid.unwrap();
    assert_eq!(get(seen.port, "/").unwrap(), pid.to_string());
    let logs = world.logs(&id);
    world.supervisor.stop(&id);
    world.gone(&id).await;
    assert!(!alive(pid));
    assert_eq!(
        std::fs::read_dir(world.home.path().join("run")).unwrap().count(),
        1,
        "only ordinals.json is left"
    );
    let last = process::logs::tail(&logs, 1).unwrap();
    assert_eq!(last, [format!("listening on {}", seen.port).into_bytes()]);
}

#[tokio::test]
async fn a_replica_that_ignores_sigterm_is_killed_after_its_grace_period() {
    let world = World::new().await;
    let mut group = shell("trap 'echo not me' TERM; trap '' HUP; while true; do sleep 0.05; done");
    group.health.ready = None;
    group.shutdown.grace_period = Duration::from_millis(300);
    let id = world.start(&group);
    let pid = world.ready(&id).await.pid.unwrap();
    let logs = world.logs(&id);
    eventually("the trap is set", || {
        let ignored = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        ignored.lines().find_map(|l| l.strip_prefix("SigCgt:\t").filter(|m| !m.ends_with("0000"))).map(drop)
    })
    .await;
    world.supervisor.stop(&id);
    assert_eq!(
        world.until_replica(&id, "stopping", |r| r.phase == ReplicaPhase::Stopping).await.pid,
        Some(pid)
    );
    world.gone(&id).await;
    assert!(!alive(pid));
    let said = process::logs::tail(&logs, 9).unwrap();
    assert!(said.contains(&b"not me".to_vec()), "it was asked before it was killed");
}

#[tokio::test]
async fn exits_are_told_in_words_with_the_last_output_and_lead_to_a_verdict() {
    let world = World::new().await;
    let mut group = shell("echo starting; echo no database at $DATABASE >&2; exit 3");
    group.secrets = vec!["DATABASE".to_owned()];
    world
        .supervisor
        .supply(&group.id, [("DATABASE".to_owned(), Secret::new("pg://x:hunter2".to_owned()))].into());
    let id = world.start(&group);
    let verdict = world.until("a verdict", || world.supervisor.crash_loop(&group.id)).await;
    assert!(
        verdict.starts_with("3 failures in a row, none was ready for 10s; the last: exit status 3;"),
        "{verdict}"
    );
    assert!(verdict.ends_with("starting\nno database at (secret)"), "{verdict}");
    let seen = world.until_replica(&id, "3 deaths", |r| r.restarts >= 3).await;
    assert_eq!(seen.last_exit.as_deref(), Some("exit status 3"));
    world.end(&id).await;

    let world = World::new().await;
    let id = world.start(&shell("kill -9 $$"));
    let seen = world.until_replica(&id, "a death", |r| r.last_exit.is_some()).await;
    assert_eq!(seen.last_exit.as_deref(), Some("killed by signal 9 (SIGKILL)"));
    world.end(&id).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_a_verdict_at_once() {
    let world = World::new().await;
    let none = group("no-such-command", &[]);
    let id = world.start(&none);
    let verdict = world.until("a verdict", || world.supervisor.crash_loop(&none.id)).await;
    assert_eq!(
        verdict,
        "could not be started: the command `no-such-command` is neither in the artifact nor on the PATH: \
         check `run.command`"
    );
    world.end(&id).await;
}

#[tokio::test]
async fn an_executable_that_the_kernel_refuses_is_a_verdict_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new().await;
    let artifact = tempfile::tempdir().unwrap();
    let program = artifact.path().join("broken");
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut broken = group("broken", &[]);
    broken.artifact = artifact.path().to_owned();
    let id = world.start(&broken);
    let verdict = world.until("a verdict", || world.supervisor.crash_loop(&broken.id)).await;
    assert!(verdict.contains("could not be started") && verdict.contains("No such file"), "{verdict}");
    world.end(&id).await;
}

#[tokio::test]
async fn a_service_that_listens_elsewhere_than_it_was_told_hears_where() {
    let world = World::new().await;
    let id = world.start(&shell(&format!("PORT=0 exec {DOUBLE} serve")));
    let tells = |replica: &ReplicaSeen| {
        replica.reason.as_ref().is_some_and(|why| why.contains("; the service listens on port "))
    };
    let seen = world.until_replica(&id, "where it listens", tells).await;
    let should = format!(", and should on $PORT, which is {}", seen.port);
    assert!(seen.reason.as_ref().unwrap().ends_with(&should), "{seen:?}");
    world.end(&id).await;
}

#[tokio::test]
async fn a_start_that_exceeds_its_budget_is_started_again() {
    let world = World::new().await;
    let mut group = shell("sleep 300");
    group.health.startup = Some(probe(Check::Tcp, 100, 2));
    let id = world.start(&group);
    let waiting = world.until_replica(&id, "a reason", |r| r.pid.is_some() && r.reason.is_some()).await;
    let reason = waiting.reason.unwrap();
    assert!(reason.starts_with("has not started yet: cannot connect to port"), "{reason}");
    assert!(reason.ends_with("connection refused; does the service listen on $PORT?"), "{reason}");
    let seen =
        world.until_replica(&id, "a restart", |r| r.restarts == 1 && r.phase == ReplicaPhase::Backoff).await;
    assert!(seen.reason.clone().unwrap().contains("the startup probe failed: cannot connect"), "{seen:?}");
    assert_eq!(seen.last_exit.as_deref(), Some("killed by signal 15 (SIGTERM)"));
    world.end(&id).await;
}

#[tokio::test]
async fn a_failing_liveness_probe_starts_the_replica_again() {
    let world = World::new().await;
    let mut group = server();
    group.health.live = Some(probe(Check::Http("/live".to_owned()), 50, 2));
    let id = world.start(&group);
    let first = world.ready(&id).await;
    get(first.port, "/break/live").unwrap();
    let again = world.until_replica(&id, "another process", |r| r.restarts == 1 && r.pid.is_some()).await;
    assert_ne!(again.pid, first.pid);
    assert_ne!(again.port, first.port, "each start has a port of its own");
    world.ready(&id).await;
    assert_eq!(world.supervisor.crash_loop(&id.group), None);
    world.end(&id).await;
}

#[tokio::test]
async fn a_failing_readiness_probe_takes_the_replica_out_of_service_until_it_passes() {
    let world = World::new().await;
    let id = world.start(&server());
    let first = world.ready(&id).await;
    get(first.port, "/break/ready").unwrap();
    let seen = world.until_replica(&id, "unready", |r| r.phase == ReplicaPhase::Unready).await;
    assert_eq!(seen.reason.as_deref(), Some("the readiness probe failed: GET /ready answered 500"));
    get(first.port, "/mend/ready").unwrap();
    let seen = world.ready(&id).await;
    assert_eq!((seen.pid, seen.restarts), (first.pid, 0));
    world.end(&id).await;
}

#[tokio::test]
async fn a_retired_replica_is_not_started_again() {
    let world = World::new().await;
    let id = world.start(&server());
    let seen = world.ready(&id).await;
    world.supervisor.retire(&id);
    world.until_replica(&id, "draining", |r| r.phase == ReplicaPhase::Draining).await;
    assert!(get(seen.port, "/").is_ok(), "it still answers");
    let _ = get(seen.port, "/exit/0");
    world.gone(&id).await;
}

#[tokio::test]
async fn replicas_wait_for_the_secrets_they_need_and_no_file_ever_holds_one() {
    let world = World::new().await;
    let mut group = server();
    group.secrets = vec!["TOKEN".to_owned()];
    let id = world.start(&group);
    let seen = world.until_replica(&id, "waiting", |r| r.phase == ReplicaPhase::Backoff).await;
    assert_eq!(seen.reason.as_deref(), Some("waits for control, which has the values of its secrets: TOKEN"));
    assert_eq!(world.supervisor.missing_secrets(&group), ["TOKEN"]);
    world
        .supervisor
        .supply(&group.id, [("TOKEN".to_owned(), Secret::new("hunter2-hunter2".to_owned()))].into());
    let seen = world.ready(&id).await;
    assert_eq!(get(seen.port, "/env/TOKEN").unwrap(), "hunter2-hunter2");
    let mut directories = vec![world.home.path().to_owned()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files += 1;
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains("hunter2"), "{}", path.display());
            }
        }
    }
    assert!(files >= 4, "{files}");
    for process in [seen.pid.unwrap(), world::parent(seen.pid.unwrap())] {
        let arguments = std::fs::read(format!("/proc/{process}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains("hunter2"));
    }
    world.end(&id).await;
}

#[tokio::test]
async fn limits_that_cannot_be_enforced_are_a_warning_once() {
    let world = World::new().await;
    let mut group = server();
    group.resources = Resources { memory_bytes: Some(512 << 20), cpu_millis: Some(2000) };
    let (one, two) = (world.start(&group), world.start(&group));
    let seen = world.ready(&one).await;
    world.ready(&two).await;
    let member = std::fs::read_to_string(format!("/proc/{}/cgroup", seen.pid.unwrap())).unwrap();
    if member.contains("shop.test.1.1") {
        assert!(world.supervisor.warnings().is_empty());
    } else {
        let warnings = world.supervisor.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("memory and CPU limits are not enforced: "), "{warnings:?}");
    }
    world.supervisor.stop(&one);
    world.gone(&one).await;
    world.end(&two).await;
}

#[tokio::test]
async fn output_is_captured_within_its_limits_and_never_holds_the_replica_up() {
    let world = World::new().await;
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf the-end; sleep 300";
    let mut group = shell(script);
    group.health.ready = None;
    group.logs.file_bytes = 10_000;
    let id = world.start(&group);
    let logs = world.logs(&id);
    let tail = eventually("the unfinished last line", || {
        process::logs::tail(&logs, 2).ok().filter(|lines| lines.last().is_some_and(|line| line == b"the-end"))
    })
    .await;
    assert_eq!(tail[0], b"line 19999");
    let sizes: Vec<u64> =
        std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 3);
    assert!(sizes.iter().all(|size| *size <= 10_000), "{sizes:?}");
    world.end(&id).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_output_does_not_hold_the_replica_up() {
    let world = World::new().await;
    let mut group = shell("head -c 3000000 /dev/zero; exit 7");
    group.health.ready = None;
    let logs = world.logs(&process::ReplicaId { group: group.id.clone(), ordinal: 1 });
    std::fs::create_dir_all(&logs).unwrap();
    std::os::unix::fs::symlink("/dev/full", logs.join("current.log")).unwrap();
    let id = world.start(&group);
    let seen = world.until_replica(&id, "a death", |r| r.last_exit.is_some()).await;
    assert_eq!(seen.last_exit.as_deref(), Some("exit status 7"));
    world.end(&id).await;
}

#[tokio::test]
async fn a_process_that_left_its_group_does_not_keep_the_shim() {
    let world = World::new().await;
    let mark = world.home.path().join("mark");
    let mark = mark.display();
    let script = format!(
        "rm -f {mark}; setsid sh -c 'echo $$ > {mark}; exec sleep 300' & while [ ! -s {mark} ]; do sleep 0.01; done; \
         cat {mark}; exit 5"
    );
    let mut group = shell(&script);
    group.health.ready = None;
    let id = world.start(&group);
    let seen = world.until_replica(&id, "a second start", |r| r.restarts >= 1 && r.pid.is_some()).await;
    assert_eq!(seen.last_exit.as_deref(), Some("exit status 5"));
    let logs = world.logs(&id);
    world.supervisor.stop(&id);
    world.gone(&id).await;
    for line in process::logs::tail(&logs, 100).unwrap() {
        let pid: u32 = String::from_utf8(line).unwrap().parse().unwrap();
        if alive(pid) {
            world::kill(pid);
        }
    }
}
