//! `api serve` as a process of its own, which a test may kill.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use acequia_testkit::wait_for;

use crate::support::Platform;

/// The process, killed with the value.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    /// Starts it on the address of the platform's API and waits until it is ready.
    pub async fn start(platform: &Platform, failpoint: &str) -> Self {
        // Read only where the process says that it holds; a pipe that nobody reads fills up.
        let stderr = if failpoint.contains('.') {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_api"))
            .arg("serve")
            .env("API_HTTP_ADDR", &platform.api)
            .env("API_RATE", "10000")
            .env("API_DATABASE_URL", &platform.database.api)
            .env("OPERATOR_DATABASE_URL", &platform.database.operator)
            .env("ARCHIVE_DATABASE_URL", &platform.database.archive)
            .env("ARCHIVE_URL", platform.store_url())
            .env("AMQP_URL", &platform.broker.url)
            .env("ACEQUIA_FAILPOINT", failpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let process = Self(child);
        wait_for("a ready API", async || {
            Ok(platform.call("GET", "/readyz", &[], "").await.status == 200)
        })
        .await
        .unwrap();
        process
    }

    /// Kills it, as SIGKILL does, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) {
        wait_for("the end of the process", async || {
            Ok(self.0.try_wait()?.is_some())
        })
        .await
        .unwrap();
    }

    /// Waits until it holds at a place of the life cycle of data, and kills it there.
    pub async fn killed_at(mut self, place: &str) {
        let lines = BufReader::new(self.0.stderr.take().unwrap()).lines();
        let held = format!("held at {place}");
        let reached = tokio::task::spawn_blocking(move || {
            lines.map_while(Result::ok).any(|line| line == held)
        });
        let within = Duration::from_secs(60);
        let reached = tokio::time::timeout(within, reached).await;
        // Its end is also the end of the thread that reads.
        self.kill();
        assert!(matches!(reached, Ok(Ok(true))), "{place} was not reached");
    }
}
