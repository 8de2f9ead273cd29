//! Serving the routes on the socket until somebody says that it is over. Does not live here: what the routes do.

use std::future::{Future, IntoFuture as _};
use std::sync::Arc;
use std::time::Duration;

use runtime::Handle;
use tokio::sync::watch;

use crate::logs::Logs;
use crate::routes::{self, Faces};
use crate::socket::Socket;

/// How long answers under way may take once it is over.
const GRACE: Duration = Duration::from_secs(2);

/// What the routes need.
#[derive(Clone)]
pub struct Config {
    /// Who decides.
    pub control: Handle,
    /// Where the output of replicas is.
    pub logs: Arc<dyn Logs>,
    /// The version of control.
    pub version: String,
}

/// Serves until `over` is done and the answers under way are given, but not for more than two seconds longer.
pub async fn serve(socket: Socket, config: Config, over: impl Future<Output = ()>) {
    let (close, closing) = watch::channel(false);
    let Config { control, logs, version } = config;
    let mut closed = closing.clone();
    let router = routes::router(Faces { control, logs, version, closing });
    let serving = axum::serve(socket, router).with_graceful_shutdown(async move {
        let _ = closed.wait_for(|closing| *closing).await;
    });
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        () = over => {}
        ended = &mut serving => {
            tracing::error!(?ended, "control's socket is closed");
            return;
        }
    }
    close.send_replace(true);
    if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
        serving.abort();
    }
}
