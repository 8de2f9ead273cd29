//! Serving the routes until somebody says that it is over. Does not live here: what the routes do.

use std::future::{Future, IntoFuture as _};
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use runtime::Handle;
use tokio::sync::watch;

use crate::caller::Caller;
use crate::door::{self, Door};
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

/// Serves on the socket, and on the TCP door if there is one, until `over` is done and the answers under way are
/// given, but not for more than two seconds longer.
pub async fn serve(socket: Socket, door: Option<Door>, config: Config, over: impl Future<Output = ()>) {
    let (close, closing) = watch::channel(false);
    let Config { control, logs, version } = config;
    let address = door.as_ref().map(Door::address);
    let closed = |mut closing: watch::Receiver<bool>| async move {
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let router = routes::router(Faces { control, logs, version, address, closing: closing.clone() });
    let behind_door = door.map(|door| {
        let guard = middleware::from_fn_with_state(door.guard.clone(), door::guard);
        let service = router.clone().layer(guard).into_make_service_with_connect_info::<Caller>();
        axum::serve(door, service).with_graceful_shutdown(closed(closing.clone())).into_future()
    });
    let service = router.into_make_service_with_connect_info::<Caller>();
    let on_socket = axum::serve(socket, service).with_graceful_shutdown(closed(closing)).into_future();
    let mut serving = tokio::spawn(async move {
        match behind_door {
            Some(behind_door) => tokio::try_join!(on_socket, behind_door).map(|_| ()),
            None => on_socket.await,
        }
    });
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
