//! `bench`: runs scenarios and writes their report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acequia_bench::guard::{self, Recorded};
use acequia_bench::machine::Machine;
use acequia_bench::report::replace_block;
use acequia_bench::{BenchEnv, Report, Sample, Scenario, Size, all, find};
use acequia_testkit::Services;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Measures the pipeline against its limits and against others, in one run.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 everything was measured, 1 a run failed or messages are unaccounted for, \
                  2 wrong usage, 130 or 143 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names the scenarios and says what they do
    List,
    /// Plays scenarios
    Run(Run),
    /// Answers every call over HTTP with the bytes of a file: what an API is measured against
    #[command(hide = true)]
    Bare {
        /// Where it listens
        address: std::net::SocketAddr,
        /// What it answers
        file: PathBuf,
    },
    /// Compares the costs of a small drain with recorded ones; exit status 1 when one has grown by
    /// much
    Guard {
        /// File with the recorded figures
        recorded: PathBuf,
        /// Write the figures of now to the file instead
        #[arg(long)]
        record: bool,
    },
}

#[derive(Args)]
struct Run {
    /// Scenarios, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "drain,limits",
        value_name = "NAMES"
    )]
    scenario: Vec<String>,
    /// All scenarios but the very long ones
    #[arg(long, conflicts_with = "scenario")]
    all: bool,
    /// Messages in the queue
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    messages: usize,
    /// How often each scenario is played
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seconds of each load with a fixed rate
    #[arg(long, default_value_t = 60, value_name = "S")]
    seconds: u64,
    /// Rows that are in the core before the drains of the scenario growth
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1000000,5000000,20000000",
        value_name = "N,..."
    )]
    rows: Vec<u64>,
    /// Messages per second of the loads of the scenario latency
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100,1000,5000,20000",
        value_name = "N,..."
    )]
    rates: Vec<u32>,
    /// Seed of the messages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
    /// Also write JSON to this file, after every run
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Put the Markdown between the marks of this document
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Leave the programs' logs behind
    #[arg(long)]
    keep: bool,
    /// Say after each run what PostgreSQL spent its time on; costs a few percent
    #[arg(long)]
    statements: bool,
    /// A setting of the workers, to see what it does
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, as BATCH_MAX=5000")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::List => {
            for scenario in all() {
                let long = if scenario.long {
                    " (only when it is named)"
                } else {
                    ""
                };
                println!("{:10} {}{long}", scenario.name, scenario.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => run.run().await,
        Command::Bare { address, file } => bare(address, &file).await,
        Command::Guard { recorded, record } => guard(&recorded, record).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

impl Run {
    fn scenarios(&self) -> Result<Vec<&'static Scenario>, String> {
        if self.all {
            return Ok(all().iter().filter(|scenario| !scenario.long).collect());
        }
        let find = |name: &String| {
            find(name)
                .ok_or_else(|| format!("there is no scenario {name}; `list` names those there are"))
        };
        self.scenario.iter().map(find).collect()
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        let scenarios = match self.scenarios() {
            Ok(scenarios) => scenarios,
            Err(why) => {
                eprintln!("error: {why}");
                return Ok(ExitCode::from(2));
            }
        };
        if let Some(file) = &self.write {
            // Before an hour of work rather than after.
            document(file, "")?;
        }
        let code = on_servers(self.keep, async |services, folder| {
            let report = self.measure(services, &scenarios, folder).await?;
            self.write(&report, &scenarios)?;
            Ok(ExitCode::SUCCESS)
        });
        code.await
    }

    async fn measure(
        &self,
        services: &Services,
        scenarios: &[&'static Scenario],
        folder: PathBuf,
    ) -> anyhow::Result<Report> {
        let size = Size {
            messages: self.messages,
            seconds: self.seconds,
            seed: self.seed,
            rows: self.rows.clone(),
            rates: self.rates.clone(),
            statements: self.statements,
            settings: self.set.clone(),
        };
        let bench = BenchEnv::new(services, size, folder);
        let mut report = Report {
            begun: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            command: self.command(scenarios),
            machine: Machine::look(services).await?,
            samples: Vec::new(),
        };
        for run in 1..=self.runs {
            eprintln!("run {run} of {}", self.runs);
            report.samples.extend(play(&bench, scenarios, run).await?);
            if let Some(file) = &self.output {
                std::fs::write(file, report.json()? + "\n")
                    .with_context(|| file.display().to_string())?;
            }
        }
        Ok(report)
    }

    fn write(&self, report: &Report, scenarios: &[&Scenario]) -> anyhow::Result<()> {
        let markdown = report.markdown(scenarios);
        if let Some(file) = &self.write {
            std::fs::write(file, document(file, &markdown)?)?;
            eprintln!("written to {}", file.display());
        }
        if self.json {
            println!("{}", report.json()?);
        } else {
            print!("{markdown}");
        }
        Ok(())
    }

    /// The command that repeats this, without what does not matter.
    fn command(&self, scenarios: &[&Scenario]) -> String {
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name).collect();
        let what = if self.all {
            "--all".to_owned()
        } else {
            format!("--scenario {}", names.join(","))
        };
        let set: String = self
            .set
            .iter()
            .map(|(name, value)| format!(" --set {name}={value}"))
            .collect();
        format!(
            "scripts/bench.sh {what} --messages {} --runs {} --seconds {}{set}",
            self.messages, self.runs, self.seconds
        )
    }
}

/// Plays scenarios once.
async fn play(
    bench: &BenchEnv<'_>,
    scenarios: &[&'static Scenario],
    run: u32,
) -> anyhow::Result<Vec<Sample>> {
    let mut all = Vec::new();
    for scenario in scenarios {
        let samples = (scenario.play)(bench)
            .await
            .with_context(|| format!("run {run} of {}", scenario.name))?;
        for mut sample in samples {
            (sample.scenario, sample.run) = (scenario.name, run);
            eprintln!("  {}, {}", scenario.name, sample.line());
            all.push(sample);
        }
    }
    Ok(all)
}

async fn guard(file: &Path, record: bool) -> anyhow::Result<ExitCode> {
    let recorded = Recorded::read(file)?;
    let scenarios: Vec<&Scenario> = guard::SCENARIOS
        .iter()
        .filter_map(|name| find(name))
        .collect();
    let size = Size {
        messages: guard::MESSAGES,
        seconds: 0,
        seed: 1,
        rows: Vec::new(),
        rates: Vec::new(),
        statements: false,
        settings: Vec::new(),
    };
    on_servers(false, async |services, folder| {
        let bench = BenchEnv::new(services, size, folder);
        let mut samples = Vec::new();
        for run in 1..=guard::RUNS {
            samples.extend(play(&bench, &scenarios, run).await?);
        }
        if record {
            recorded.write(file, &samples)?;
            return Ok(ExitCode::SUCCESS);
        }
        let compared = recorded.compare(&samples)?;
        for one in &compared {
            println!("{one}");
        }
        let failed = compared.iter().any(|one| !one.passed);
        if failed {
            println!(
                "If the change is meant, record the new figures: scripts/bench.sh --guard --record"
            );
        }
        Ok(ExitCode::from(u8::from(failed)))
    })
    .await
}

/// Serves until SIGTERM.
async fn bare(address: std::net::SocketAddr, file: &Path) -> anyhow::Result<ExitCode> {
    let body = axum::body::Bytes::from(std::fs::read(file)?);
    let answer = move || {
        let head = [("content-type", "application/json")];
        std::future::ready((head, body.clone()))
    };
    let router = axum::Router::new().fallback(answer);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something on servers of its own, which are gone afterwards, also after a signal.
async fn on_servers(
    keep: bool,
    work: impl AsyncFnOnce(&Services, PathBuf) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("acequia-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let services = Services::start().await?;
    let outcome = tokio::select! {
        outcome = work(&services, folder.clone()) => outcome,
        _ = interrupted.recv() => Ok(ExitCode::from(130)),
        _ = terminated.recv() => Ok(ExitCode::from(143)),
    };
    // A signal from the terminal has reached the script that holds the servers as well.
    let stopped = services.stop().await;
    if keep || outcome.is_err() {
        eprintln!("logs are in {}", folder.display());
    } else {
        std::fs::remove_dir_all(&folder)?;
    }
    let code = outcome?;
    if code == ExitCode::SUCCESS {
        stopped?;
    }
    Ok(code)
}

/// A document with a new block between its marks.
fn document(file: &Path, block: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    replace_block(&text, block).with_context(|| file.display().to_string())
}
