//! Asking a running program whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Time limit of an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Asks `/readyz` by a minimal request, since container images have no curl. Nothing when the program is ready, else why it
/// is not.
pub async fn not_ready(addr: SocketAddr) -> Option<String> {
    match tokio::time::timeout(ANSWER_WITHIN, ask(addr)).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => None,
        Ok(Ok(answer)) => {
            let body = answer.split("\r\n\r\n").nth(1);
            Some(body.unwrap_or("no answer").to_owned())
        }
        Ok(Err(error)) => Some(format!("{addr}: {error}")),
        Err(_) => Some(format!(
            "{addr}: no answer within {} s",
            ANSWER_WITHIN.as_secs()
        )),
    }
}

async fn ask(addr: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
