//! The listener and its connections: HTTP/1.1, bounded in number, in the time for a request's head, and
//! in the time that they may go on once the server stops. Knows nothing of what is served.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MOST: usize = 64;
/// A request's head has to come within this, and so does the next request of a kept connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long answers under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(1);
/// Before the next connection is taken when one could not be.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Serves until `stop`.
pub(super) async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MOST));
    let mut connections = JoinSet::new();
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // Reaped here, so that the set does not grow; a connection's failure is its caller's affair.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, router, stop).await;
                    drop(seat);
                });
            }
            Err(error) => {
                warn!("status server: {error}");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    // Nobody new is let in while the last answers go out.
    drop(listener);
    let over = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(GRACE, over).await;
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Small answers go out at once; if that cannot be had, they still go out.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!("status server: {error}");
    }
}
