//! The status server: a page for people, JSON, events, health and metrics over HTTP. Reads only, and
//! shows no more than [`view`] holds: no full token, no file but pictures that cells hold.
//!
//! | path | says |
//! | --- | --- |
//! | `/` | the page |
//! | `/api/view` | everything the page shows |
//! | `/api/status` | the part of it that `pixcell status --json` prints |
//! | `/api/events` | server-sent events: the view's version, whenever it changes |
//! | `/api/pictures/{hash}` | a picture that a listed cell holds |
//! | `/metrics` | for Prometheus |
//! | `/healthz`, `/readyz` | whether it runs, whether the folders have been compared |
//!
//! It must not hold up the uploads: the store is read at most a twentieth of the time however many ask,
//! connections are bounded, one whose caller takes nothing of its answer is ended, and no answer waits for a
//! lane, nor longer than some seconds for a folder.

mod guard;
mod metrics;
mod page;
mod picture;
mod routes;
mod server;
mod view;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Status;
use crate::placement::Routes;
use crate::store::Store;
use crate::upload::LaneEvent;

use self::guard::Guard;
pub(super) use self::metrics::keep as keep_metrics;
use self::view::Views;
use super::status::Asking;

/// What the server shows.
pub(super) struct Sources {
    pub store: Store,
    pub routes: Routes,
    pub events: broadcast::Sender<LaneEvent>,
    /// What stands where.
    pub ask: Box<dyn Fn() -> Asking + Send + Sync>,
    /// Whether the folders have been compared.
    pub ready: watch::Receiver<bool>,
}

/// Begins to listen; the future serves until `stop`. `None` when nothing is to be served.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) fn start(
    status: &Status,
    sources: Sources,
    stop: CancellationToken,
) -> io::Result<Option<impl Future<Output = ()> + Send + use<>>> {
    let Some(address) = status.listen else {
        return Ok(None);
    };
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let metrics = metrics::handle();
    let views = Arc::new(Views::new(sources));
    let guard = Guard::new(status.token.clone());
    info!("the status page is served at http://{}/", shown(address));
    Ok(Some(async move {
        let (changes, versions) = tokio::sync::watch::channel(String::new());
        let router = routes::router(Arc::clone(&views), versions, metrics, guard);
        tokio::join!(
            server::run(listener, router, stop.clone()),
            routes::follow(&views, changes, &stop),
        );
    }))
}

/// An address that a browser can open: one that stands for all is shown as this machine's.
fn shown(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        ip if ip.is_ipv4() => ([127, 0, 0, 1], address.port()).into(),
        _ => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
    }
}
