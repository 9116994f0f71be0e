//! Read coalescing: reads from the broker in few large pieces.
//!
//! A broker under load writes thousands of small pieces a second. Waking threads for each of them costs
//! more than its contents: first tokio's, which learns of it, then the AMQP library's, which reads
//! it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream as Watched;
use tokio::runtime::Handle;

/// How long reads from the broker are coalesced while many come: on the line here, and where its
/// messages and confirms are taken from the AMQP library. Batches wait longer for company anyway.
pub const COALESCE_FOR: Duration = Duration::from_millis(1);

/// The runtime of connections to the broker: tokio with coalescing streams.
pub(crate) fn runtime() -> async_rs::Runtime<RuntimeParts<Tokio, CoalescingReactor>> {
    let tokio = Tokio::current();
    async_rs::Runtime::new(RuntimeParts::new(tokio.clone(), CoalescingReactor(tokio)))
}

/// tokio's reactor with streams that coalesce reads.
#[derive(Clone, Debug)]
pub(crate) struct CoalescingReactor(Tokio);

impl CoalescingReactor {
    pub(crate) const fn new(tokio: Tokio) -> Self {
        Self(tokio)
    }
}

impl Reactor for CoalescingReactor {
    type TcpStream = CoalescedStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + std::os::fd::AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<CoalescedStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { CoalescedStream::new(connecting.await?.into_inner().into_std()?) }
    }
}

/// A stream that tokio watches while few bytes arrive. While many arrive, it does not: the task that reads it
/// takes what there is, sleeps for a millisecond, and takes what has come meanwhile.
///
/// To be read by a thread that does nothing else, as the AMQP library's is.
pub(crate) struct CoalescedStream {
    line: Line,
    tokio: Handle,
    /// Something came since the last look that found nothing.
    fruitful: bool,
    /// When that was.
    empty: Instant,
    /// Looks that found something since the last write. In a conversation one answer follows one
    /// question, and who writes must not wait for a sleeping reader.
    unasked: u32,
    /// Sleep before the next look.
    pause: bool,
    /// A write waits for room, which only tokio can tell.
    stuck: bool,
}

enum Line {
    Watched(Watched),
    Alone(TcpStream),
    /// Between the two; stays so only when tokio has ended.
    Gone,
}

impl fmt::Debug for CoalescedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalescedStream").finish_non_exhaustive()
    }
}

impl CoalescedStream {
    fn new(line: TcpStream) -> io::Result<Self> {
        let mut stream = Self {
            line: Line::Alone(line),
            tokio: Handle::current(),
            fruitful: false,
            empty: Instant::now(),
            unasked: 0,
            pause: false,
            stuck: false,
        };
        stream.watch()?;
        Ok(stream)
    }

    /// The socket, to cut it.
    pub(crate) fn as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.line {
            Line::Watched(line) => Ok(line.as_fd()),
            Line::Alone(line) => Ok(line.as_fd()),
            Line::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Hands the socket back to tokio, which reports earlier data at once.
    fn watch(&mut self) -> io::Result<()> {
        let _tokio = self.tokio.enter();
        self.line = match std::mem::replace(&mut self.line, Line::Gone) {
            Line::Alone(line) => Line::Watched(Watched::from_std(line)?),
            other => other,
        };
        Ok(())
    }

    /// Takes it from tokio.
    fn leave(&mut self) -> io::Result<()> {
        self.line = match std::mem::replace(&mut self.line, Line::Gone) {
            Line::Watched(line) => Line::Alone(line.into_std()?),
            other => other,
        };
        Ok(())
    }
}

impl AsyncRead for CoalescedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let read = match &mut this.line {
                Line::Watched(line) => {
                    ready!(line.poll_read_ready(context))?;
                    line.try_read(buffer)
                }
                Line::Alone(line) => {
                    if std::mem::take(&mut this.pause) {
                        std::thread::sleep(COALESCE_FOR);
                    }
                    line.read(buffer)
                }
                Line::Gone => Err(ErrorKind::NotConnected.into()),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    this.unasked = this.unasked.saturating_add(this.fruitful.into());
                    let flows = std::mem::take(&mut this.fruitful)
                        && this.unasked > 1
                        && !this.stuck
                        && now.duration_since(this.empty) < COALESCE_FOR * 2;
                    this.empty = now;
                    if flows {
                        this.leave()?;
                        this.pause = true;
                        // It sleeps when it looks again, not now: what was read comes first.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    this.watch()?;
                }
                done => {
                    this.fruitful = true;
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncWrite for CoalescedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            let written = match &mut this.line {
                Line::Watched(line) => {
                    this.stuck = true;
                    ready!(line.poll_write_ready(context))?;
                    line.try_write(buffer)
                }
                Line::Alone(line) => line.write(buffer),
                Line::Gone => Err(ErrorKind::NotConnected.into()),
            };
            match written {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => this.watch()?,
                done => {
                    this.stuck = false;
                    this.unasked = 0;
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Watched(line) => Pin::new(line).poll_shutdown(context),
            Line::Alone(line) => Poll::Ready(line.shutdown(Shutdown::Write)),
            Line::Gone => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
