//! Replicas outlive their supervisor, and the next one takes them over.

mod world;

use std::process::{Command, Stdio};

use ports::fleet::ReplicaPhase;
use world::{DOUBLE, World, alive, eventually, get, kill, server, settings, shell};

#[tokio::test]
async fn a_killed_supervisor_leaves_its_replicas_to_the_next() {
    let home = world::Home::new();
    let group = server();
    let file = home.path().join("group");
    std::fs::write(&file, serde_json::to_vec(&group).unwrap()).unwrap();
    let mut first = Command::new(DOUBLE)
        .args(["supervise".as_ref(), home.path().as_os_str(), file.as_os_str()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let run = home.path().join("run/shop.test.1.1");
    let read = |name: &str| -> Option<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(run.join(name)).ok()?).ok()
    };
    let started = eventually("a start", || read("started.json")).await;
    let port = u16::try_from(read("replica.json").unwrap()["port"].as_u64().unwrap()).unwrap();
    let pid = u32::try_from(started["replica"]["pid"].as_u64().unwrap()).unwrap();
    eventually("an answer", || get(port, "/").ok()).await;
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(get(port, "/").unwrap(), pid.to_string(), "it serves while nobody supervises it");
    get(port, "/print/orphaned").unwrap();

    let supervisor = process::Supervisor::open(settings(home.path())).await.unwrap();
    let world = World { home, supervisor };
    let id = process::ReplicaId { group: group.id.clone(), ordinal: 1 };
    let seen = world.ready(&id).await;
    assert_eq!((seen.pid, seen.port, seen.restarts), (Some(pid), port, 0));
    get(port, "/print/adopted").unwrap();
    let logs = world.logs(&id);
    let want = [b"orphaned".to_vec(), b"adopted".to_vec()];
    eventually("its output", || (process::logs::tail(&logs, 2).unwrap() == want).then_some(())).await;
    let _ = get(port, "/exit/42");
    let seen = world.until_replica(&id, "its exit", |r| r.last_exit.is_some()).await;
    assert_eq!(seen.last_exit.as_deref(), Some("exit status 42"));
    let again = world.until_replica(&id, "a restart", |r| r.phase == ReplicaPhase::Ready).await;
    assert_eq!(again.restarts, 1);
    world.end(&id).await;
}

#[tokio::test]
async fn an_exit_that_nobody_saw_is_known_to_the_next_supervisor() {
    let world = World::new().await;
    let id = world.start(&server());
    let seen = world.ready(&id).await;
    let home = world.home.path().to_owned();
    let World { home: kept, supervisor } = world;
    drop(supervisor);
    let _ = get(seen.port, "/exit/9");
    eventually("its exit", || std::fs::read(home.join("run/shop.test.1.1/exit.json")).ok()).await;
    let supervisor = process::Supervisor::open(settings(&home)).await.unwrap();
    let world = World { home: kept, supervisor };
    let seen = world.ready(&id).await;
    assert_eq!((seen.ordinal, seen.restarts, seen.last_exit.as_deref()), (1, 1, Some("exit status 9")));
    world.end(&id).await;
}

#[tokio::test]
async fn adopted_replicas_can_be_let_go_and_their_ordinals_are_not_used_again() {
    let world = World::new().await;
    let group = server();
    let id = world.start(&group);
    let pid = world.ready(&id).await.pid.unwrap();
    let world = world.successor().await;
    world.supervisor.stop(&id);
    world.gone(&id).await;
    assert!(!alive(pid));
    let world = world.successor().await;
    assert!(world.supervisor.replicas().is_empty());
    let next = world.start(&group);
    assert_eq!(next.ordinal, 2);
    world.end(&next).await;
}

#[tokio::test]
async fn a_replica_whose_shim_was_killed_is_still_supervised() {
    let world = World::new().await;
    let mut group = shell("trap '' PIPE; while true; do sleep 0.05; done");
    group.health.ready = None;
    let id = world.start(&group);
    let pid = world.ready(&id).await.pid.unwrap();
    let started = std::fs::read(world.home.path().join("run/shop.test.1.1/started.json")).unwrap();
    let started: serde_json::Value = serde_json::from_slice(&started).unwrap();
    kill(u32::try_from(started["shimPid"].as_u64().unwrap()).unwrap());
    let world = world.successor().await;
    let seen = world.ready(&id).await;
    assert_eq!(seen.pid, Some(pid));
    kill(pid);
    let seen = world.until_replica(&id, "its exit", |r| r.last_exit.is_some()).await;
    assert!(seen.last_exit.unwrap().starts_with("exit status unknown"));
    world.end(&id).await;
}

#[tokio::test]
async fn a_directory_of_a_supervisor_that_died_too_early_is_cleared() {
    let home = world::Home::new();
    let stray = home.path().join("run/shop.test.1.7");
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::write(stray.join("replica.json.new"), "{").unwrap();
    let supervisor = process::Supervisor::open(settings(home.path())).await.unwrap();
    assert!(supervisor.replicas().is_empty());
    assert!(!stray.exists());
}

#[tokio::test]
async fn files_that_a_power_cut_emptied_stop_nothing() {
    let world = World::new().await;
    let group = server();
    let (one, two) = (world.start(&group), world.start(&group));
    let pid = world.ready(&one).await.pid.unwrap();
    world.ready(&two).await;
    let World { supervisor, home } = world;
    drop(supervisor);
    kill(pid);
    eventually("its end", || (!alive(pid)).then_some(())).await;
    let run = home.path().join("run");
    eventually("its exit", || std::fs::read(run.join("shop.test.1.1/exit.json")).ok()).await;
    for name in ["ordinals.json", "shop.test.1.1/started.json", "shop.test.1.1/exit.json"] {
        std::fs::write(run.join(name), "").unwrap();
    }
    let supervisor = process::Supervisor::open(settings(home.path())).await.unwrap();
    let world = World { supervisor, home };
    world.ready(&one).await;
    world.ready(&two).await;
    let three = world.start(&group);
    assert_eq!(three.ordinal, 3);
    for id in [&one, &two] {
        world.supervisor.stop(id);
        world.gone(id).await;
    }
    world.end(&three).await;
}
