//! The listener and its connections: HTTP/1.1, bounded in number, in the time for a request's head, in the
//! time that a caller takes nothing of its answer, and in the time that they may go on once the server stops.
//! Knows nothing of what is served.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MOST: usize = 64;
/// A request's head has to come within this, and so does the next request of a kept connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A caller that takes nothing of its answer for so long is left.
const TAKE_TIME: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server stops.
const GRACE: Duration = Duration::from_secs(1);
/// Before the next connection is taken when one could not be.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Serves until `stop`.
pub(super) async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MOST));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let seat = Arc::clone(&seats).acquire_owned().await;
            (seat, listener.accept().await)
        };
        // A stop is heard while all seats are taken, too.
        let (seat, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        // Reaped here, so that the set does not grow; a connection's failure is its caller's affair.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                // Small answers go out at once; if that cannot be had, they still go out.
                let _ = stream.set_nodelay(true);
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

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    stop: CancellationToken,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(
            TokioIo::new(Taken::new(stream)),
            TowerToHyperService::new(router),
        );
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

/// A stream that fails once nothing of what is written is taken for [`TAKE_TIME`].
struct Taken<S> {
    stream: S,
    /// Counts while something waits to be taken.
    late: Pin<Box<Sleep>>,
    waits: bool,
}

impl<S: Unpin> Taken<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            late: Box::pin(sleep(TAKE_TIME)),
            waits: false,
        }
    }

    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.stream), context) {
            self.waits = false;
            return Poll::Ready(done);
        }
        if !self.waits {
            self.waits = true;
            self.late.as_mut().reset(Instant::now() + TAKE_TIME);
        }
        ready!(self.late.as_mut().poll(context));
        let why = "the caller does not take its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context, |stream, context| {
            stream.poll_write_vectored(context, bytes)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    const LENGTH: usize = 16 * 1024;
    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    /// A caller of a long answer, of which little is under way at a time.
    async fn caller() -> (DuplexStream, impl Future<Output = ()>) {
        let (mut caller, server) = duplex(1024);
        caller.write_all(ASKED).await.unwrap();
        let router = Router::new().route("/", get(async || vec![7; LENGTH]));
        (caller, connection(server, router, CancellationToken::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_left() {
        let (caller, served) = caller().await;
        let begun = Instant::now();
        let ended = timeout(TAKE_TIME * 20, served).await;
        assert!(ended.is_ok(), "it is waited for");
        assert!(begun.elapsed() >= TAKE_TIME, "{:?}", begun.elapsed());
        drop(caller);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_caller_gets_its_answer() {
        let (mut caller, served) = caller().await;
        let (begun, mut taken) = (Instant::now(), Vec::new());
        let take = async {
            while caller.read_buf(&mut taken).await.unwrap() > 0 {
                sleep(TAKE_TIME / 2).await;
            }
        };
        tokio::join!(served, take);
        assert!(begun.elapsed() > TAKE_TIME * 2, "{:?}", begun.elapsed());
        assert!(taken.ends_with(&[7; LENGTH]), "{}", taken.len());
    }

    #[tokio::test]
    async fn it_stops_while_all_seats_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::channel(CONNECTIONS_MOST);
        let hold = move || async move {
            tell.send(()).await.unwrap();
            std::future::pending::<()>().await;
        };
        let router = Router::new().route("/", get(hold));
        let stop = CancellationToken::new();
        let server = tokio::spawn(run(listener, router, stop.clone()));
        let mut callers = Vec::new();
        for _ in 0..CONNECTIONS_MOST {
            let mut caller = TcpStream::connect(address).await.unwrap();
            caller.write_all(ASKED).await.unwrap();
            told.recv().await.unwrap();
            callers.push(caller);
        }
        stop.cancel();
        let ended = timeout(GRACE * 10, server).await;
        ended.expect("it stops").unwrap();
    }
}
