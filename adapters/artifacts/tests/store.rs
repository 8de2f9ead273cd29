//! The store's contract, on a real directory.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use artifacts::{Limits, Store};
use model::Digest;
use model::release::{Artifact, ArtifactKind};
use ports::Artifacts;
use proptest::prelude::*;
use tempfile::TempDir;

/// A store and a place for builds.
fn room() -> (TempDir, Store, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Limits::default()).unwrap();
    let build = dir.path().join("build");
    std::fs::create_dir(&build).unwrap();
    (dir, store, build)
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn refusal(store: &Store, path: &Path) -> String {
    let error = store.put(path).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) || error.contains("store"), "no path in: {error}");
    error
}

/// Every path below a directory.
fn everything(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(everything(&path));
        }
        found.insert(path);
    }
    found
}

#[test]
fn a_files_digest_is_that_of_its_bytes() {
    let (_dir, store, build) = room();
    let path = build.join("shop");
    write(&path, "abc", 0o755);
    let artifact = store.put(&path).unwrap();
    assert_eq!(artifact.digest, Digest::of(b"abc"));
    assert_eq!((&*artifact.name, artifact.kind, artifact.bytes), ("shop", ArtifactKind::File, 3));
    let stored = store.directory(&artifact).unwrap().join("shop");
    assert_eq!(std::fs::read(&stored).unwrap(), b"abc");
    assert_eq!(mode(&stored), 0o555);
    store.verify(&artifact).unwrap();
}

#[test]
fn the_same_bytes_live_under_two_names_and_one_becomes_executable() {
    let (_dir, store, build) = room();
    write(&build.join("a"), "same", 0o644);
    write(&build.join("b"), "same", 0o644);
    let a = store.put(&build.join("a")).unwrap();
    let b = store.put(&build.join("b")).unwrap();
    assert_eq!(a.digest, b.digest);
    assert_ne!(store.directory(&a).unwrap(), store.directory(&b).unwrap());
    for artifact in [&a, &b] {
        let dir = store.directory(artifact).unwrap();
        assert_eq!(everything(&dir).len(), 1, "a file's directory holds only the file");
        assert_eq!(mode(&dir.join(&artifact.name)), 0o444);
    }
    write(&build.join("a"), "same", 0o700);
    assert_eq!(store.put(&build.join("a")).unwrap(), a);
    assert_eq!(mode(&store.directory(&a).unwrap().join("a")), 0o555);
    write(&build.join("a"), "same", 0o644);
    store.put(&build.join("a")).unwrap();
    assert_eq!(
        mode(&store.directory(&a).unwrap().join("a")),
        0o555,
        "an execute permission is never taken back"
    );
}

#[test]
fn a_directory_is_stored_whole() {
    let (_dir, store, build) = room();
    write(&build.join("bin/run"), "#!/bin/sh\n", 0o775);
    write(&build.join(".gitignore"), "*\n", 0o600);
    write(&build.join("deep/er/data"), "data", 0o644);
    std::fs::create_dir(build.join("empty")).unwrap();
    symlink("bin/run", build.join("run")).unwrap();
    symlink("../deep", build.join("bin/deep")).unwrap();
    symlink("nowhere", build.join("dangling")).unwrap();
    let artifact = store.put(&build).unwrap();
    assert_eq!((&*artifact.name, artifact.kind, artifact.bytes), ("build", ArtifactKind::Directory, 16));
    let stored = store.directory(&artifact).unwrap();
    let names = |root: &Path| -> BTreeSet<_> {
        everything(root).iter().map(|path| path.strip_prefix(root).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&stored), names(&build));
    assert_eq!(mode(&stored.join("bin/run")), 0o555);
    assert_eq!(mode(&stored.join(".gitignore")), 0o444);
    assert_eq!(std::fs::read_link(stored.join("bin/deep")).unwrap(), Path::new("../deep"));
    store.verify(&artifact).unwrap();
    assert_eq!(store.put(&build).unwrap(), artifact);
    assert_eq!(store.put(&build.join(".")).unwrap().digest, artifact.digest);
}

#[test]
fn a_link_to_the_build_is_followed_and_gives_the_name() {
    let (_dir, store, build) = room();
    write(&build.join("shop-1.2"), "x", 0o755);
    symlink("shop-1.2", build.join("shop")).unwrap();
    let artifact = store.put(&build.join("shop")).unwrap();
    assert_eq!((&*artifact.name, artifact.kind), ("shop", ArtifactKind::File));
}

#[test]
fn what_cannot_be_shipped_is_refused_with_its_path() {
    let (dir, store, build) = room();
    assert!(refusal(&store, &build.join("missing")).contains("check the path"));
    assert!(refusal(&store, &build).contains("holds no file"));
    std::fs::create_dir(build.join("still-nothing")).unwrap();
    assert!(refusal(&store, &build).contains("holds no file"));
    write(&build.join("app"), "x", 0o755);
    store.put(&build).unwrap();

    let socket = build.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(refusal(&store, &build).contains("is a socket"));
    assert!(refusal(&store, &socket).contains("is a socket"));
    std::fs::remove_file(&socket).unwrap();
    assert!(refusal(&store, Path::new("/dev/null")).contains("is a device"));

    for (target, says) in
        [("/etc/passwd", "points outside"), ("../build2", "points outside"), ("link", "in a circle")]
    {
        symlink(target, build.join("link")).unwrap();
        assert!(refusal(&store, &build).contains(says), "{target}");
        std::fs::remove_file(build.join("link")).unwrap();
    }
    assert!(refusal(&store, Path::new("/")).contains("cannot be shipped"));
    for inside in [dir.path().join("store"), dir.path().join("store/objects"), dir.path().to_owned()] {
        assert!(refusal(&store, &inside).contains("inside one another"), "{}", inside.display());
    }
    store.put(&build).unwrap();
    assert_eq!(incoming(&dir.path().join("store")), 0, "a refused put leaves nothing behind");
}

/// How many puts have something in a store's incoming directory.
fn incoming(store: &Path) -> usize {
    let dirs = std::fs::read_dir(store.join("incoming")).unwrap().map(|entry| entry.unwrap().path());
    dirs.filter(|path| path.is_dir()).map(|path| std::fs::read_dir(path).unwrap().count()).sum()
}

#[test]
fn an_unreadable_file_is_refused() {
    let (_dir, store, build) = room();
    write(&build.join("app"), "x", 0o755);
    write(&build.join("secret"), "x", 0o000);
    if std::fs::read(build.join("secret")).is_ok() {
        return; // the superuser reads everything
    }
    assert!(refusal(&store, &build).contains("secret"));
}

#[test]
fn limits_are_kept_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let build = dir.path().join("build");
    let store = Store::open(&dir.path().join("store"), Limits { max_bytes: 100, max_files: 5 }).unwrap();
    for n in 0..4 {
        write(&build.join(format!("f{n}")), &"x".repeat(25), 0o644);
    }
    store.put(&build).unwrap();
    write(&build.join("f4"), "y", 0o644);
    assert!(refusal(&store, &build).contains("larger than 100 bytes"));
    write(&build.join("f4"), "", 0o644);
    store.put(&build).unwrap();
    write(&build.join("f5"), "", 0o644);
    assert!(refusal(&store, &build).contains("more than 5 files"));
    write(&build.join("big"), &"x".repeat(101), 0o644);
    assert!(refusal(&store, &build.join("big")).contains("larger than 100 bytes"));
}

#[test]
fn a_source_that_changes_meanwhile_is_refused_or_stored_as_it_was() {
    let (_dir, store, build) = room();
    let path = build.join("growing");
    write(&path, &"0".repeat(1 << 20), 0o644);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut file, b"x").unwrap();
            }
        });
        while results.len() < 1000 && !results.last().is_some_and(Result::is_err) {
            results.push(store.put(&path));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let error = results.pop().unwrap().unwrap_err().to_string();
    assert!(error.contains("changed while it was being copied"), "{error}");
    for artifact in results {
        store.verify(&artifact.unwrap()).unwrap();
    }
}

#[test]
fn concurrent_puts_of_the_same_content_agree() {
    let (dir, store, build) = room();
    for n in 0..20 {
        write(&build.join(format!("d{}/f{n}", n % 3)), &format!("content {n}"), 0o644);
    }
    let other = Store::open(&dir.path().join("store"), Limits::default()).unwrap();
    let found: BTreeSet<Digest> = std::thread::scope(|scope| {
        let puts: Vec<_> = (0..8)
            .map(|n| {
                let (store, build) = (if n % 2 == 0 { &store } else { &other }, &build);
                scope.spawn(move || store.put(build).unwrap().digest)
            })
            .collect();
        puts.into_iter().map(|put| put.join().unwrap()).collect()
    });
    assert_eq!(found.len(), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("store/objects")).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_dir(dir.path().join("store/trash")).unwrap().count(),
        0,
        "none replaced another"
    );
    store.verify(&store.put(&build).unwrap()).unwrap();
}

#[test]
fn leftovers_of_a_killed_process_go_and_those_of_a_living_one_stay() {
    let (dir, living, build) = room();
    let root = dir.path().join("store");
    write(&build.join("app"), "x", 0o755);
    let artifact = living.put(&build).unwrap();
    let mine: Vec<_> = everything(&root.join("incoming")).into_iter().filter(|path| path.is_dir()).collect();
    let [mine] = &mine[..] else { panic!("{mine:?}") };
    write(&mine.join("7/half"), "half", 0o444);
    write(&root.join("incoming/41/0/half"), "half", 0o444);
    write(&root.join("incoming/41.lock"), "", 0o600);
    write(&root.join("incoming/42/0/half"), "half", 0o444);
    write(&root.join("incoming/43.lock"), "", 0o600);
    write(&root.join("trash/3/removed/x"), "x", 0o444);
    std::fs::create_dir_all(root.join("objects").join(Digest::of(b"shell").hex()).join("directory")).unwrap();
    let store = Store::open(&root, Limits::default()).unwrap();
    for gone in ["incoming/41", "incoming/41.lock", "incoming/42", "incoming/43.lock", "trash/3"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    assert!(mine.join("7/half").exists(), "a living store's put was disturbed");
    store.verify(&artifact).unwrap();
    let shell = Artifact { digest: Digest::of(b"shell"), ..artifact };
    assert!(store.directory(&shell).is_err(), "half an object is none");
}

#[test]
fn retain_removes_exactly_the_others() {
    let (dir, store, build) = room();
    let mut all = Vec::new();
    for n in 0..6 {
        let path = build.join(format!("app{n}"));
        write(&path, &format!("content {n}"), 0o755);
        all.push(store.put(&path).unwrap());
    }
    all.push(store.put(&build).unwrap());
    write(&dir.path().join("store/objects/README"), "not ours", 0o644);
    let keep: BTreeSet<_> = [all[1].digest, all[6].digest, Digest::of(b"unknown")].into();
    assert_eq!(store.retain(&keep).unwrap(), 5);
    for (n, artifact) in all.iter().enumerate() {
        let there = store.directory(artifact);
        assert_eq!(there.is_ok(), n == 1 || n == 6);
        if let Err(error) = there {
            assert!(error.to_string().contains("does not hold the artifact"), "{error}");
        }
    }
    assert_eq!(store.retain(&keep).unwrap(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("store/trash")).unwrap().count(), 0);
    assert!(dir.path().join("store/objects/README").exists());
    store.put(&build.join("app0")).unwrap();
}

#[test]
fn retain_never_breaks_a_put() {
    let (_dir, store, build) = room();
    for n in 0..30 {
        write(&build.join(format!("f{n}")), &format!("content {n}"), 0o644);
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                store.retain(&BTreeSet::new()).unwrap();
            }
        });
        let puts: Vec<_> = (0..20).map(|_| store.put(&build)).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for put in puts {
            put.unwrap();
        }
    });
    let artifact = store.put(&build).unwrap();
    store.verify(&artifact).unwrap();
}

#[test]
fn damage_is_found_and_putting_again_repairs_it() {
    let (_dir, store, build) = room();
    write(&build.join("app"), "good", 0o755);
    write(&build.join("lib/a"), "good", 0o644);
    let tree = store.put(&build).unwrap();
    let file = store.put(&build.join("app")).unwrap();
    for (artifact, source, inside) in [(&tree, build.clone(), "lib/a"), (&file, build.join("app"), "app")] {
        let stored = store.directory(artifact).unwrap().join(inside);
        std::fs::remove_file(&stored).unwrap();
        assert!(store.verify(artifact).is_err());
        write(&stored, "evil", 0o555);
        let error = store.verify(artifact).unwrap_err().to_string();
        assert!(error.contains("has changed") && error.contains("ship it again"), "{error}");
        assert_eq!(store.put(&source).unwrap(), *artifact);
        store.verify(artifact).unwrap();
    }
}

#[test]
fn what_a_running_service_adds_to_its_directory_is_no_damage() {
    let (_dir, store, build) = room();
    write(&build.join("app.py"), "import lib", 0o644);
    let artifact = store.put(&build).unwrap();
    let stored = store.directory(&artifact).unwrap();
    write(&stored.join("__pycache__/lib.pyc"), "cache", 0o644);
    store.verify(&artifact).unwrap();
    assert_eq!(store.put(&build).unwrap(), artifact);
    assert!(
        stored.join("__pycache__/lib.pyc").exists(),
        "the directory was replaced under the running service"
    );
}

#[test]
fn a_name_from_elsewhere_cannot_leave_the_store() {
    let (_dir, store, build) = room();
    write(&build.join("app"), "x", 0o755);
    let artifact = store.put(&build.join("app")).unwrap();
    for name in ["..", ".", "", "../../x", "/etc", "a\0b"] {
        assert!(
            store.directory(&Artifact { name: name.to_owned(), ..artifact.clone() }).is_err(),
            "{name:?}"
        );
    }
}

type Files = std::collections::BTreeMap<String, (String, bool)>;

fn files() -> impl Strategy<Value = Files> {
    proptest::collection::btree_map("[a-c]{1,2}(/[d-f]{1,2}){0,2}\\.t", (".{0,12}", any::<bool>()), 1..8)
}

fn build(dir: &Path, files: impl Iterator<Item = (String, (String, bool))>) -> PathBuf {
    let root = dir.join("app");
    for (path, (text, executable)) in files {
        write(&root.join(path), &text, if executable { 0o755 } else { 0o644 });
    }
    root
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_directorys_digest_depends_on_its_content_alone(files in files(), pick in any::<prop::sample::Index>(), what in 0..4) {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| dir.path().join(name));
        let store = Store::open(&dir.path().join("store"), Limits::default()).unwrap();
        let digest = |root: &Path| store.put(root).unwrap().digest;
        let first = digest(&build(&one, files.clone().into_iter()));
        let reversed = digest(&build(&two, files.clone().into_iter().rev()));
        prop_assert_eq!(first, reversed);

        let mut changed = files.clone();
        let path = files.keys().nth(pick.index(files.len())).unwrap().clone();
        let (mut text, mut executable) = changed.remove(&path).unwrap();
        let mut new_path = path.clone();
        match what {
            0 => text.push('!'),
            1 => executable = !executable,
            2 => new_path.push('x'),
            _ => { changed.insert(format!("{path}.new"), (String::new(), false)); }
        }
        changed.insert(new_path, (text, executable));
        prop_assert_ne!(digest(&build(&three, changed.into_iter())), first);
    }
}
