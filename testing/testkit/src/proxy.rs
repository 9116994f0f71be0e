//! A way to a server that breaks when a test says so.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use url::Url;

/// Data lost when a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The request: the server never sees it.
    Request,
    /// The answer: the server did the work, but the client never learns it.
    Answer,
    /// The answer and everything after it, both ways; the connection stays open.
    Everything,
}

#[derive(Debug, Default)]
struct Fault {
    lost: Option<Lost>,
    /// Bytes in the greeting of the clients that the fault applies to.
    of: Vec<u8>,
    pattern: Vec<u8>,
    times: u32,
}

/// Current state of the path to the server.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    cut: bool,
    latency: Duration,
    /// Connections with a smaller number carry nothing more.
    silent_below: u64,
}

/// A port that leads to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    weather: watch::Sender<Weather>,
    broken: Arc<AtomicU64>,
    delayed: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
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
        let (weather, forecast) = watch::channel(Weather::default());
        let (broken, delayed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (breaks, delays) = (broken.clone(), delayed.clone());
        let connections = Arc::<AtomicU64>::default();
        let numbers = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if forecast.borrow().cut {
                    breaks.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                if let Ok(server) = TcpStream::connect((host.as_str(), port)).await {
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let (fault, forecast) = (shared.clone(), forecast.clone());
                    let (breaks, delays) = (breaks.clone(), delays.clone());
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        if carry(client, server, fault, forecast, delays, number).await {
                            breaks.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            }
        });
        Ok(Self {
            address,
            fault,
            weather,
            broken,
            delayed,
            connections,
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
        self.lose_of(b"", lost, pattern, times);
    }

    /// The same for clients that have `of` in the first thing that they say, as the name of a
    /// session of PostgreSQL is.
    pub fn lose_of(&self, of: &[u8], lost: Lost, pattern: &[u8], times: u32) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Fault {
            lost: Some(lost),
            of: of.to_owned(),
            pattern: pattern.to_owned(),
            times,
        };
    }

    /// With `true`, breaks all connections and every new one at once, until a call with `false`.
    pub fn cut(&self, cut: bool) {
        self.weather.send_modify(|weather| weather.cut = cut);
    }

    /// From now on the existing connections carry nothing, either way, and stay open: no
    /// side notices that they are dead. New ones work.
    pub fn silence(&self) {
        let number = self.connections.load(Ordering::Relaxed);
        self.weather
            .send_modify(|weather| weather.silent_below = number);
    }

    /// From now on what the server says arrives so much later.
    pub fn delay(&self, latency: Duration) {
        self.weather
            .send_modify(|weather| weather.latency = latency);
    }

    /// Connections that [`Proxy::cut`] has broken or refused.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Answers that [`Proxy::delay`] has delayed.
    #[must_use]
    pub fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    /// Number of connections still to be broken.
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

/// Whether bytes hold a pattern; an empty one is everywhere.
fn holds(bytes: &[u8], pattern: &[u8]) -> bool {
    pattern.is_empty() || bytes.windows(pattern.len()).any(|window| window == pattern)
}

/// The part of a request that has to be lost, if the fault strikes it.
fn strike(fault: &Mutex<Fault>, greeting: &[u8], request: &[u8]) -> Option<Lost> {
    let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
    if fault.times == 0 || !holds(greeting, &fault.of) || !holds(request, &fault.pattern) {
        return None;
    }
    fault.times -= 1;
    fault.lost
}

/// Keeps both sides open and carries nothing, until the way is cut. Not even the end of one side
/// reaches the other.
async fn hold(
    client: TcpStream,
    server: TcpStream,
    mut forecast: watch::Receiver<Weather>,
) -> bool {
    let cut = forecast.wait_for(|weather| weather.cut).await.is_ok();
    drop((client, server));
    cut
}

/// Carries bytes both ways until one side ends or the connection is to break; dropping both
/// sockets is the break. `true` when the way was cut.
async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    fault: Arc<Mutex<Fault>>,
    mut forecast: watch::Receiver<Weather>,
    delays: Arc<AtomicU64>,
    number: u64,
) -> bool {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut greeting = Vec::new();
    // Bytes from the server that the client receives later.
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let due = late.front().map(|(due, _)| *due);
        let done = tokio::select! {
            changed = forecast.changed() => {
                let weather = *forecast.borrow();
                if changed.is_err() || weather.cut {
                    return true;
                }
                if number < weather.silent_below {
                    return hold(client, server, forecast).await;
                }
                Ok(())
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let (_, bytes) = late.pop_front().unwrap_or((Instant::now(), Vec::new()));
                client.write_all(&bytes).await
            }
            read = client.read(&mut up) => match read {
                Ok(0) | Err(_) => return false,
                Ok(length) => {
                  if greeting.len() < 1024 {
                      greeting.extend_from_slice(&up[..length]);
                  }
                  match strike(&fault, &greeting, &up[..length]) {
                    None => server.write_all(&up[..length]).await,
                    Some(Lost::Request) => return false,
                    Some(Lost::Answer) => {
                        let _ = server.write_all(&up[..length]).await;
                        let _ = server.read(&mut down).await;
                        return false;
                    }
                    Some(Lost::Everything) => {
                        let _ = server.write_all(&up[..length]).await;
                        return hold(client, server, forecast).await;
                    }
                  }
                }
            },
            read = server.read(&mut down), if late.len() < 1000 => match read {
                Ok(0) | Err(_) => return false,
                Ok(length) => {
                    let latency = forecast.borrow().latency;
                    if latency.is_zero() && late.is_empty() {
                        client.write_all(&down[..length]).await
                    } else {
                        delays.fetch_add(1, Ordering::Relaxed);
                        late.push_back((Instant::now() + latency, down[..length].to_vec()));
                        Ok(())
                    }
                }
            },
        };
        if done.is_err() {
            return false;
        }
    }
}
