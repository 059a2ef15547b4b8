//! One connection: bytes between a socket and hyper, and deadlines.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tracing::trace;

use super::seats::{Doing, Seat};
use super::site::Site;

/// How long the head of a request may take; also how long a connection may lie idle.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection is kept, however it is used: who reads or writes slowly does not stay for ever. Browsers
/// open another one without anybody noticing.
const LIFE: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes: the least that hyper takes.
const HEAD_BYTES: usize = 8 * 1024;
/// Fields in a head: several times what browsers send.
const MAX_HEADERS: usize = 64;

/// Answers requests until the connection ends, is old, or somebody else has its seat.
pub(super) async fn serve(stream: TcpStream, seat: Seat, site: Arc<Site>) {
    let seat = Arc::new(seat);
    let service = service_fn(|request: Request<Incoming>| {
        seat.set(Doing::Answering);
        let (seat, site) = (Arc::clone(&seat), Arc::clone(&site));
        // A body is not waited for.
        let (head, _) = request.into_parts();
        async move {
            let answer = site.answer(&head).await;
            seat.set(Doing::Writing);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let io = Io {
        stream,
        seat: Arc::clone(&seat),
    };
    let connection = http1::Builder::new()
        .timer(Tokio)
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            trace!(%error, "a connection of the status page ended");
        },
        () = seat.lost() => {}
        () = tokio::time::sleep(LIFE) => {}
    }
}

/// The socket as hyper wants it.
struct Io {
    stream: TcpStream,
    seat: Arc<Seat>,
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 2048];
        let room = into.remaining().min(bytes.len());
        let mut read = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// hyper does so when all that there is to write is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
}

/// Time as hyper wants it.
#[derive(Clone, Copy, Debug)]
struct Tokio;

impl Timer for Tokio {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }
}

struct Asleep(Pin<Box<tokio::time::Sleep>>);

impl Sleep for Asleep {}

impl Future for Asleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}
