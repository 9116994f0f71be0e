//! A network that fails: a proxy before the broker, whose connections can be cut or silenced.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Proxy {
    /// The broker's URL with the proxy's address.
    pub url: String,
    /// Connections taken so far.
    pub connections: Arc<AtomicU64>,
    /// Goes up with every cut.
    cuts: Arc<watch::Sender<u64>>,
    /// Nothing comes back from the broker.
    silent: Arc<watch::Sender<bool>>,
}

impl Proxy {
    pub async fn start(broker: &str) -> Self {
        let mut url: url::Url = broker.parse().unwrap();
        let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let upstream: SocketAddr = address.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port()))
            .unwrap();
        let proxy = Self {
            url: url.into(),
            connections: Arc::default(),
            cuts: Arc::new(watch::channel(0).0),
            silent: Arc::new(watch::channel(false).0),
        };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                serving.connections.fetch_add(1, SeqCst);
                let proxy = serving.clone();
                tokio::spawn(async move { proxy.serve(client, upstream).await });
            }
        });
        proxy
    }

    /// Cuts all connections: bytes under way in either direction are lost.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets the broker's answers through or not.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    async fn serve(&self, client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
        let mut cuts = self.cuts.subscribe();
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = TcpStream::connect(upstream).await?.into_split();
        let open = watch::channel(false).0.subscribe();
        tokio::select! {
            ended = copy(from_client, to_broker, open) => ended,
            ended = copy(from_broker, to_client, self.silent.subscribe()) => ended,
            _ = cuts.changed() => Ok(()),
        }
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    silent: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        while *silent.borrow() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
