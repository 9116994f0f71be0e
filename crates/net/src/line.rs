//! The runtime of a connection: tokio, with streams that coalesce reads, speak TLS and are guarded.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use lapin::tcp::AsyncTcpStream;

use crate::guard::{Guarded, Notes};
use crate::read_coalescing::{CoalescedStream, CoalescingReactor};

/// The stream that the AMQP library reads and writes.
type Line = Guarded<AsyncTcpStream<CoalescedStream>>;

/// The runtime that the AMQP library is given.
pub(crate) fn runtime() -> async_rs::Runtime<RuntimeParts<Tokio, Guarding>> {
    let lines = CoalescingReactor::new(Tokio::current());
    async_rs::Runtime::new(RuntimeParts::new(Tokio::current(), Guarding(lines)))
}

/// A reactor whose streams are guarded.
#[derive(Clone, Debug)]
pub(crate) struct Guarding(CoalescingReactor);

impl Reactor for Guarding {
    type TcpStream = Line;
    type Sleep = <CoalescingReactor as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
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
    ) -> impl Future<Output = io::Result<Line>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move {
            let plain = AsyncTcpStream::Plain(connecting.await?);
            Ok(Guarded::new(plain, Notes::default()))
        }
    }
}
