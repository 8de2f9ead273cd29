//! When an upgraded connection has to go: with its replica, with the gateway, or to a successor. Does not live here: how it
//! is told, and what it does then (`tunnel`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::replica::Replica;
use crate::worker::Phase;

pub(crate) struct Notice {
    pub(crate) replica: Arc<Replica>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Over how long a successor's clients are told.
    pub(crate) spread: Duration,
}

impl Notice {
    /// Resolves when it is time.
    pub(crate) async fn given(self) {
        let stops = reached(self.phase.clone(), Phase::Draining);
        let moves = async {
            reached(self.phase, Phase::Yielding).await;
            tokio::time::sleep(self.spread.mul_f64(fastrand::f64())).await;
        };
        tokio::select! {
            () = self.replica.dismissed() => {}
            () = stops => {}
            () = moves => {}
        }
    }
}

async fn reached(mut phase: watch::Receiver<Phase>, wanted: Phase) {
    // A channel without a sender is a gateway that is gone.
    _ = phase.wait_for(|phase| *phase >= wanted).await;
}
