//! What changed behind the agent's back: found once a second, put right and counted. Does not live here: replicas that
//! die, which their own tasks start again ([`process`]); how often it is said, which is control's.

use std::collections::BTreeSet;

use model::drift::DriftKind;
use process::ReplicaId;

use crate::executor::Executor;
use crate::gateway::Gateway;
use crate::home::Stored;

impl<G: Gateway> Executor<G> {
    /// Looks at what nobody tells of by itself: the processes of the replicas, and the stored wanted state.
    pub(crate) async fn inspect(&self) {
        let without_shim = self.supervisor.inspect();
        let mut state = self.state.lock().await;
        for id in without_shim {
            if !state.leaving.contains(&id) && state.condemned.insert(id.clone()) {
                let found =
                    format!("the shim of replica {} of release {} ended", id.ordinal, id.group.release);
                let place = Some(id.group.place.clone());
                let done = "the replica serves until another one is ready, and goes then";
                self.supervisor.drifted(place, DriftKind::Shim, found, done);
            }
        }
        let Some(wanted) = state.wanted.clone() else { return };
        let found = match self.home.stored(&wanted) {
            Stored::AsGiven => return,
            Stored::Gone => "the stored wanted state was gone",
            Stored::Another => "the stored wanted state was changed by somebody",
        };
        let done = match self.home.store_wanted(&wanted) {
            Ok(()) => "it is written again",
            Err(error) => {
                state.trouble = Some(format!("{found}, and cannot be written again: {error}"));
                return;
            }
        };
        self.supervisor.drifted(None, DriftKind::Stored, found.to_owned(), done);
    }

    /// Replicas that go although nobody has just wanted fewer.
    pub(crate) fn tell_surplus(&self, unwanted: &BTreeSet<ReplicaId>) {
        for id in unwanted {
            let found =
                format!("replica {} of release {} ran, and nobody wanted it", id.ordinal, id.group.release);
            let place = Some(id.group.place.clone());
            self.supervisor.drifted(place, DriftKind::Surplus, found, "it is drained and stopped");
        }
    }
}
