//! What a program beside an artifact is started with: where it is, its directory and its environment. Does not live
//! here: the starting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ports::Secret;
use ports::fleet::Group;

use crate::shim::{Membership, Order};
use crate::{Error, ReplicaId, logs};

/// The variables of our own environment that replicas and checks get too. Everything else stays away from them:
/// control's secrets may stand in it.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE"];
/// Where programs are looked for when no `PATH` is set.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The order for a replica's shim.
///
/// # Errors
/// When the command or the working directory is not there.
pub(crate) fn order(
    home: &Path,
    id: &ReplicaId,
    group: &Group,
    port: u16,
    secrets: &BTreeMap<String, Secret>,
    cgroup: Option<Membership>,
) -> Result<Order, Error> {
    let environment = environment(id, group, port, secrets);
    let directory = match &group.run.working_directory {
        Some(directory) => group.artifact.join(directory),
        None => group.artifact.clone(),
    };
    if !directory.is_dir() {
        let what = format!("the working directory {} is not there", directory.display());
        return Err(Error::Command(what));
    }
    let path = environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    Ok(Order {
        program: find(&group.run.command, &group.artifact, path)
            .map_err(|what| Error::Command(format!("{what}: check `run.command`")))?,
        args: group.run.args.clone(),
        directory,
        log_directory: logs::directory(home, id),
        file_bytes: group.logs.file_bytes,
        files: group.logs.files,
        cgroup,
        environment,
    })
}

fn environment(
    id: &ReplicaId,
    group: &Group,
    port: u16,
    secrets: &BTreeMap<String, Secret>,
) -> BTreeMap<String, String> {
    let mut all = inherited();
    let place = &id.group.place;
    let told = [
        ("SHIPSHAPE_SERVICE", place.service.to_string()),
        ("SHIPSHAPE_ENVIRONMENT", place.environment.to_string()),
        ("SHIPSHAPE_RELEASE", id.group.release.to_string()),
        ("SHIPSHAPE_REPLICA", id.ordinal.to_string()),
    ];
    all.extend(told.map(|(name, value)| (name.to_owned(), value)));
    all.extend(group.config.clone());
    let wanted = |name: &String| group.secrets.contains(name);
    all.extend(
        secrets
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (name.clone(), value.reveal().to_owned())),
    );
    // Last: whatever else says so, this is the port that the gateway and the probes use.
    all.insert(group.run.port_variable.clone(), port.to_string());
    all
}

/// The variables that any program gets from us, whoever it is.
pub fn inherited() -> BTreeMap<String, String> {
    let kept = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    kept.collect()
}

/// The program that a command names: in the artifact first, then on `path`.
///
/// # Errors
/// Where it was looked for, in words.
pub fn find(command: &str, artifact: &Path, path: &str) -> Result<PathBuf, String> {
    let given = Path::new(command);
    if given.is_absolute() {
        return match is_program(given) {
            true => Ok(given.to_owned()),
            false => Err(format!("{command} is not there, or may not be executed")),
        };
    }
    let inside = artifact.join(given);
    if inside.is_file() {
        return match is_program(&inside) {
            true => Ok(inside),
            false => {
                let why = format!(
                    "`{command}` is in the artifact but not executable: run `chmod +x` on it before deploying"
                );
                Err(why)
            }
        };
    }
    let found = if command.contains('/') {
        None
    } else {
        path.split(':').filter(|d| !d.is_empty()).map(|d| Path::new(d).join(given)).find(|p| is_program(p))
    };
    found.ok_or_else(|| {
        let where_else = if command.contains('/') { "" } else { " nor on the PATH" };
        let neither = if where_else.is_empty() { "not" } else { "neither" };
        format!("the command `{command}` is {neither} in the artifact{where_else}")
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_command_is_looked_for_in_the_artifact_first() {
        let artifact = tempfile::tempdir().unwrap();
        let own = artifact.path().join("sh");
        assert!(find("sh", artifact.path(), DEFAULT_PATH).unwrap().ends_with("bin/sh"));
        std::fs::write(&own, "#!/bin/sh\n").unwrap();
        let why = find("sh", artifact.path(), DEFAULT_PATH).unwrap_err();
        assert!(why.contains("not executable"), "{why}");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("sh", artifact.path(), DEFAULT_PATH).unwrap(), own);
        assert_eq!(find("./sh", artifact.path(), DEFAULT_PATH).unwrap(), artifact.path().join("./sh"));
    }

    #[test]
    fn a_missing_command_says_where_it_was_looked_for() {
        let artifact = tempfile::tempdir().unwrap();
        let why = |command| find(command, artifact.path(), DEFAULT_PATH).unwrap_err();
        assert_eq!(why("no-such"), "the command `no-such` is neither in the artifact nor on the PATH");
        assert_eq!(why("bin/no"), "the command `bin/no` is not in the artifact");
        assert_eq!(why("/no/such"), "/no/such is not there, or may not be executed");
    }
}
