//! Calls over HTTP/1.1 on connections that stay open, as many side by side as wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A call, written out.
#[must_use]
pub fn call(method: &str, path: &str, token: &str, body: &str) -> Arc<[u8]> {
    call_for("*/*", method, path, token, body)
}

/// A call for an answer of a media type.
#[must_use]
pub fn call_for(media: &str, method: &str, path: &str, token: &str, body: &str) -> Arc<[u8]> {
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nAccept: {media}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    text.into_bytes().into()
}

/// A connection.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(64 * 1024, stream)))
    }

    /// Makes a call and reads the head of its answer: status and length of the body, when it is said.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn begin(&mut self, call: &[u8]) -> anyhow::Result<(u16, Option<usize>)> {
        self.0.get_mut().write_all(call).await?;
        let (mut line, mut status, mut length) = (String::new(), 0, None);
        loop {
            line.clear();
            ensure!(
                self.0.read_line(&mut line).await? > 0,
                "the connection was closed"
            );
            let text = line.trim_end();
            if text.is_empty() {
                return Ok((status, length));
            }
            if status == 0 {
                let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
                status = code.with_context(|| format!("not an answer: {text}"))?;
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
    }

    /// Makes a call and reads its answer.
    ///
    /// # Errors
    /// When the connection is lost, or the answer has no length.
    pub async fn call(&mut self, call: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let (status, length) = self.begin(call).await?;
        let mut body = vec![0; length.context("an answer without a length")?];
        self.0.read_exact(&mut body).await?;
        Ok((status, body))
    }
}

/// Result of a load.
#[derive(Debug)]
pub struct Load {
    /// Duration of each call, sorted.
    pub took: Vec<Duration>,
    /// Duration of the whole load.
    pub elapsed: Duration,
}

impl Load {
    /// The time that a share of the calls stayed below, in milliseconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let place = ((self.took.len() as f64 * share) as usize).min(self.took.len() - 1);
        self.took[place].as_secs_f64() * 1e3
    }
}

/// Makes the same call on `connections` for as long as is said, on each as soon as the one before is answered.
///
/// # Errors
/// When an answer is not of class 2xx.
pub async fn load(
    address: &str,
    connections: usize,
    lasts: Duration,
    call: &Arc<[u8]>,
) -> anyhow::Result<Load> {
    side_by_side(connections, lasts, async |stop| {
        let mut connection = Connection::open(address).await?;
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let (status, body) = connection.call(call).await?;
            took.push(begun.elapsed());
            if !(200..300).contains(&status) {
                bail!("status {status}: {}", String::from_utf8_lossy(&body));
            }
        }
        Ok(took)
    })
    .await
}

/// Does something `count` times side by side, until the time is over.
///
/// # Errors
/// The first of those that did it.
pub async fn side_by_side(
    count: usize,
    lasts: Duration,
    work: impl AsyncFn(&AtomicBool) -> anyhow::Result<Vec<Duration>>,
) -> anyhow::Result<Load> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let all = futures_util::future::try_join_all((0..count).map(|_| work(&stop)));
    let end = async {
        tokio::time::sleep(lasts).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (all, ()) = tokio::join!(all, end);
    let elapsed = begun.elapsed();
    let mut took: Vec<Duration> = all?.into_iter().flatten().collect();
    took.sort_unstable();
    ensure!(!took.is_empty(), "nothing was done");
    Ok(Load { took, elapsed })
}
