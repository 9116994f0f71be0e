//! The real program, as an operator starts it.

use std::process::{ExitStatus, Stdio};

use acequia_testkit::free_port;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::Platform;

/// Exit status and output of a finished program.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A `worker run` in a process of its own.
pub struct Program {
    pub http: String,
    child: Child,
    stderr: JoinHandle<String>,
}

/// The program with some arguments and nothing of our own settings.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn finish(mut command: Command) -> Finished {
    let output = command.output().await.unwrap();
    Finished {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Platform {
    /// Starts `worker run` with the worker's addresses in its environment.
    pub fn program(&self, arguments: &[&str]) -> Program {
        self.program_with(arguments, &[])
    }

    /// The same with more variables in its environment.
    pub fn program_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Program {
        let http = format!("127.0.0.1:{}", free_port().unwrap());
        let mut child = program(&["run"])
            .args(arguments)
            .env("DATABASE_URL", &self.database.worker)
            .env("ARCHIVE_DATABASE_URL", &self.database.archive)
            .env("AMQP_URL", &self.broker.url)
            .env("HTTP_ADDR", &http)
            .envs(variables.iter().copied())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.unwrap();
            text
        });
        Program {
            http,
            child,
            stderr,
        }
    }
}

impl Program {
    /// The most memory that it ever held, in bytes (proc(5), `VmHWM`).
    pub fn peak_memory(&self) -> u64 {
        let pid = self.child.id().expect("a running program");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Ends it as a crash does, without a chance to say good-bye.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running program")
    }

    /// Sends a signal, by its name without SIG.
    pub async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.await.unwrap().success());
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(mut self) -> Finished {
        let pid = self.child.id().expect("a running program");
        let kill = format!("kill -TERM {pid}");
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.await.unwrap().success());
        Finished {
            status: self.child.wait().await.unwrap(),
            stdout: String::new(),
            stderr: self.stderr.await.unwrap(),
        }
    }
}
