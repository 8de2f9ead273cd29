//! A look at one replica's processes from outside: whether somebody stopped them with a signal, and whether the shim is
//! still there. Does not live here: what becomes of the replica then.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::files::{self, Started};
use crate::identity::Identity;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Which process was stopped, and goes on now.
    pub(crate) woken: Option<&'static str>,
    /// Whether the replica lives on without its shim.
    pub(crate) lacks_shim: bool,
}

/// Looks at the processes of a run directory, and lets those go on that were stopped.
pub(crate) fn look(directory: &Path) -> Look {
    let Some(started): Option<Started> = files::read_if_sound(directory, files::STARTED) else {
        return Look::default();
    };
    let ended = directory.join(files::EXIT).exists();
    let lacks_shim = !ended && !files::has_shim(directory) && started.replica.is_alive();
    let mut woken = None;
    if !ended
        && started.replica.is_stopped()
        && let Some(pid) = Pid::from_raw(started.replica.pid)
    {
        let _ = kill_process_group(pid, Signal::CONT);
        woken = Some("process");
    }
    // While the lock is held, this number is still the shim's.
    let shim = Identity::of(started.shim_pid).ok().filter(|_| !lacks_shim && !ended);
    if shim.is_some_and(|shim| shim.is_stopped())
        && files::has_shim(directory)
        && let Some(pid) = Pid::from_raw(started.shim_pid)
    {
        let _ = kill_process(pid, Signal::CONT);
        woken = Some("shim");
    }
    Look { woken, lacks_shim }
}
