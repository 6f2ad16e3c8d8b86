//! The listener and its connections. Serves HTTP/1.1 on its own, so that one call can cut the very
//! connection it came on. Knows nothing of what is served.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::any;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exchange::{self, Wire};
use super::shared::Shared;
use super::{control, page};

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1_024;
/// How long calls in flight may take to end once the stand-in stops.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after a failed accept, as when descriptors run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves until `stop`, then gives the calls in flight a second to end.
pub async fn run(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let router = Router::new()
        .route("/open-apis/{*path}", any(exchange::serve))
        .with_state(Arc::clone(&shared))
        .merge(page::routes())
        .merge(control::routes(shared, stop.clone()));
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Reaped as they end, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let served = connection(stream, router.clone(), stop.clone());
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Small answers go out at once; if that cannot be had, they still go out.
    let _ = stream.set_nodelay(true);
    let wire = Wire::default();
    let service = TowerToHyperService::new(router.layer(Extension(wire.clone())));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        // A connection that the caller broke is the caller's affair.
        _ = served.as_mut() => return,
        () = wire.0.cancelled() => return,
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = served.as_mut() => {}
        () = wire.0.cancelled() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
}
