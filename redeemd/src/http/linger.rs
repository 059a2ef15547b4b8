//! A connection that is heard out for a moment when it ends.
//!
//! Whoever is refused may still be sending. If the socket were closed with bytes in it that nobody has read, the
//! kernel would reset the connection, and the other end lose the answer that says why (RFC 9112 §9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::server::Place;

/// How long, and how many bytes: an answer arrives within that, or not at all.
const TIME: Duration = Duration::from_secs(2);
const BYTES: u64 = 8 << 20;

/// A stream that is read on after it was dropped, and keeps its place until that is over.
pub(super) struct Lingering(Option<(TcpStream, Place)>);

impl Lingering {
    pub(super) fn new(stream: TcpStream, place: Place) -> Self {
        Self(Some((stream, place)))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.0.as_mut().map(|(stream, _)| Pin::new(stream));
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some((stream, place)) = self.0.take() {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(TIME, hear_out(stream)).await;
                drop(place);
            });
        }
    }
}

async fn hear_out(stream: TcpStream) {
    let (read, mut write) = stream.into_split();
    let _ = write.shutdown().await;
    let _ = tokio::io::copy(&mut read.take(BYTES), &mut tokio::io::sink()).await;
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
