//! The life cycle of data: archived, restored and purged by the real program, killed at every step.

mod decisions;
mod doctor;
mod failures;
mod late;
mod purge;
mod schedule;
mod space;
mod steps;
mod values;

use std::path::{Path, PathBuf};

use acequia_testkit::wait_for;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::consumo::{Feed, generated};
use crate::support::Platform;
use crate::support::program::{Finished, finish, program};

const TABLE: &str = "consumo.lecturas";

/// A folder for archives, gone with the test.
struct Depot(PathBuf);

impl Drop for Depot {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Depot {
    fn new() -> Self {
        let name = format!("acequia-archive-{}", uuid::Uuid::now_v7().simple());
        Self(std::env::temp_dir().join(name))
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }

    /// Every file, relative to the folder.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.0, &self.0, &mut found);
        found.sort();
        found
    }
}

/// A platform with readings of some months that are over, and where they are archived.
struct Archive {
    platform: Platform,
    depot: Depot,
}

impl Archive {
    async fn of(readings: &str) -> Self {
        let platform = Platform::new().await;
        let mut feed = Feed::new(&platform).await;
        feed.send(&generated(readings)).await;
        Self {
            platform,
            depot: Depot::new(),
        }
    }

    fn command(&self, words: &str) -> tokio::process::Command {
        let words: Vec<_> = words.split_whitespace().collect();
        let mut command = program(&words);
        command
            .env("DATABASE_URL", &self.platform.database.worker)
            .env("ARCHIVE_DATABASE_URL", &self.platform.database.archive)
            .env("OPERATOR_DATABASE_URL", &self.platform.database.operator)
            .env("ARCHIVE_URL", self.depot.url());
        command
    }

    /// Runs the program to its end.
    async fn run(&self, words: &str) -> Finished {
        finish(self.command(words)).await
    }

    /// Runs the program, which must succeed; returns its output.
    async fn done(&self, words: &str) -> String {
        let finished = self.run(words).await;
        assert!(finished.status.success(), "{words}: {finished:?}");
        finished.stdout
    }

    async fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{words} --json")).await).unwrap()
    }

    /// Runs the program until it holds at a place, and kills it there.
    async fn killed_at(&self, place: &str, words: &str) {
        let mut child = self
            .command(words)
            .env("ACEQUIA_FAILPOINT", place)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let held = format!("held at {place}");
        let mut said = Vec::new();
        let reached = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line == held {
                    return true;
                }
                said.push(line);
            }
            false
        };
        let within = std::time::Duration::from_secs(60);
        let reached = tokio::time::timeout(within, reached).await;
        assert!(reached == Ok(true), "{place} was not reached: {said:#?}");
        // SIGKILL.
        child.kill().await.unwrap();
        // Its session is over, and with it the lock of the archive.
        wait_for("the end of the killed session", async || {
            let sessions = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'acequia archive'";
            Ok(self.platform.number(sessions).await == 0)
        })
        .await
        .unwrap();
    }

    /// Every reading of the table, as one text; what archiving must bring back.
    async fn readings(&self) -> String {
        let all = "select count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by propietario_id, instante)), '')
            from consumo.lecturas t";
        self.platform.texts(all).await.remove(0)
    }

    /// Every row of every mart of the domain, but for the time of asking.
    async fn marts(&self) -> Vec<String> {
        let marts = "select mart from core.marts where domain = 'consumo' order by 1";
        let mut all = Vec::new();
        for mart in self.platform.texts(marts).await {
            let rows = format!(
                "select '{mart} ' || count(*) || ' ' || coalesce(md5(string_agg(r, E'\\n' order by r)), '')
                 from (select (to_jsonb(m) - 'timestamp')::text as r from {mart} m) x"
            );
            all.extend(self.platform.texts(&rows).await);
        }
        assert!(all.len() > 10);
        all
    }

    async fn partitions(&self) -> Vec<String> {
        let partitions =
            "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'consumo.lecturas'::regclass order by 1";
        self.platform.texts(partitions).await
    }
}
