//! Polls `/readyz` all the time and remembers the answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Time between two questions.
const EVERY: Duration = Duration::from_millis(150);
/// How long an answer may take. A machine whose cores are all busy may need a while.
const WITHIN: Duration = Duration::from_secs(3);

/// An answer.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was asked for.
    pub at: Instant,
    /// Which worker.
    pub worker: usize,
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// Loops that make no progress, with their reasons.
    pub reasons: Vec<(String, String)>,
}

/// Watches some workers.
#[derive(Debug)]
pub struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: Vec<JoinHandle<()>>,
    workers: usize,
}

impl Watch {
    /// Begins to ask.
    #[must_use]
    pub fn over(addresses: Vec<String>) -> Self {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let workers = addresses.len();
        let tasks = addresses
            .into_iter()
            .enumerate()
            .map(|(worker, address)| {
                let samples = samples.clone();
                tokio::spawn(async move {
                    loop {
                        let at = Instant::now();
                        let (status, reasons) = tokio::time::timeout(WITHIN, ask(&address))
                            .await
                            .ok()
                            .and_then(Result::ok)
                            .unwrap_or_default();
                        lock(&samples).push(Sample {
                            at,
                            worker,
                            status,
                            reasons,
                        });
                        tokio::time::sleep(EVERY).await;
                    }
                })
            })
            .collect();
        Self {
            samples,
            tasks,
            workers,
        }
    }

    /// The answers to questions asked since an instant.
    #[must_use]
    pub fn since(&self, begin: Instant) -> Vec<Sample> {
        let samples = lock(&self.samples);
        let some = samples.iter().filter(|sample| sample.at >= begin);
        some.cloned().collect()
    }

    /// The last answer of each worker, once each has given one since `begin`.
    #[must_use]
    pub fn last(&self, begin: Instant) -> Option<Vec<Sample>> {
        let samples = self.since(begin);
        (0..self.workers)
            .map(|worker| {
                let mut own = samples.iter().rev();
                own.find(|sample| sample.worker == worker).cloned()
            })
            .collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn ask(address: &str) -> anyhow::Result<(u16, Vec<(String, String)>)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default().parse()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let report: Value = serde_json::from_str(body)?;
    let loops = report["loops"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reasons = loops
        .iter()
        .filter(|entry| entry["ready"] == false)
        .map(|entry| (text(&entry["loop"]), text(&entry["reason"])))
        .collect();
    Ok((status, reasons))
}

fn lock(samples: &Mutex<Vec<Sample>>) -> std::sync::MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
