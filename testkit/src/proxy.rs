//! A way to a server that breaks when a test says so.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// What gets lost when a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The request: the server never sees it.
    Request,
    /// The answer: the server has done what the client never hears of.
    Answer,
}

#[derive(Debug, Default)]
struct Fault {
    lost: Option<Lost>,
    pattern: Vec<u8>,
    times: u32,
}

/// A port that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A way to the server of a URL.
    ///
    /// # Errors
    /// When there is no free port, or the URL has no host and port.
    pub async fn to(url: &str) -> anyhow::Result<Self> {
        let url: Url = url.parse()?;
        let host = url.host_str().context("a URL without host")?.to_owned();
        let port = url.port().context("a URL without port")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let fault = Arc::<Mutex<Fault>>::default();
        let shared = fault.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect((host.as_str(), port)).await {
                    tokio::spawn(carry(client, server, shared.clone()));
                }
            }
        });
        Ok(Self {
            address,
            fault,
            task,
        })
    }

    /// The same URL by this way.
    ///
    /// # Errors
    /// When it is no URL.
    pub fn url(&self, url: &str) -> anyhow::Result<String> {
        let mut url: Url = url.parse()?;
        url.set_port(Some(self.address.port()))
            .map_err(|()| anyhow::anyhow!("a URL without host"))?;
        Ok(url.into())
    }

    /// Breaks the connection the next `times` times that a client sends something with
    /// `pattern` in it.
    pub fn lose(&self, lost: Lost, pattern: &[u8], times: u32) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Fault {
            lost: Some(lost),
            pattern: pattern.to_owned(),
            times,
        };
    }

    /// How often a connection is still to be broken.
    #[must_use]
    pub fn faults_left(&self) -> u32 {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .times
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is to be lost of a request, if it is one of those.
fn strike(fault: &Mutex<Fault>, request: &[u8]) -> Option<Lost> {
    let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
    let length = fault.pattern.len().max(1);
    if fault.times == 0
        || !request
            .windows(length)
            .any(|window| window == fault.pattern)
    {
        return None;
    }
    fault.times -= 1;
    fault.lost
}

/// Carries bytes both ways until one side ends or the connection is to break; dropping both
/// sockets is the break.
async fn carry(mut client: TcpStream, mut server: TcpStream, fault: Arc<Mutex<Fault>>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let done = tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(0) | Err(_) => break,
                Ok(length) => match strike(&fault, &up[..length]) {
                    None => server.write_all(&up[..length]).await,
                    Some(Lost::Request) => break,
                    Some(Lost::Answer) => {
                        let _ = server.write_all(&up[..length]).await;
                        let _ = server.read(&mut down).await;
                        break;
                    }
                },
            },
            read = server.read(&mut down) => match read {
                Ok(0) | Err(_) => break,
                Ok(length) => client.write_all(&down[..length]).await,
            },
        };
        if done.is_err() {
            break;
        }
    }
}
