//! `faults`: runs the scenarios and writes their report.

use std::path::PathBuf;
use std::process::ExitCode;

use acequia_faults::{Outcome, RunOptions, Scenario, all, find, markdown, observe, play};
use acequia_telemetry::LogArgs;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

/// Breaks processes, servers and connections while messages flow, and counts what arrives.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Names the scenarios and says what they do
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Plays scenarios, all of them when none is named. Exit status 0 when nothing was lost,
    /// nothing doubled and every recovery was in time, 1 otherwise
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// Scenarios, in this order
    names: Vec<String>,
    /// As often and as long as in docs/reliability.md; without it as in the tests
    #[arg(long)]
    long: bool,
    /// Seed of messages and chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the outcomes as a JSON list to this file (- for standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the outcomes as a Markdown table to this file (- for standard output)
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Let Prometheus look on, and write which panels and alerts show each fault, and how soon,
    /// as a Markdown table to this file (- for standard output), or to its place in the file if
    /// that has one
    #[arg(long, value_name = "FILE")]
    observe: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    execute(&cli).await.unwrap_or_else(|error| {
        cli.log.failed(&error);
        ExitCode::from(2)
    })
}

async fn execute(cli: &Cli) -> anyhow::Result<ExitCode> {
    // ACEQUIA_LOG=info, or more, shows the log of publisher and clients.
    cli.log.start("error", false, std::io::stderr)?;
    match &cli.command {
        Command::List { json } => list(*json)?,
        Command::Run(run) => return run.run().await,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> anyhow::Result<()> {
    if json {
        let list: Vec<_> = all()
            .iter()
            .map(|scenario| {
                let Scenario {
                    name, fault, slow, ..
                } = scenario;
                serde_json::json!({"name": name, "fault": fault, "only_long": slow})
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        for scenario in all() {
            let slow = if scenario.slow {
                " (only with --long)"
            } else {
                ""
            };
            println!("{:20} {}{slow}", scenario.name, scenario.fault);
        }
    }
    Ok(())
}

impl Run {
    async fn run(&self) -> anyhow::Result<ExitCode> {
        let mut scenarios = Vec::new();
        for name in &self.names {
            let found = find(name).with_context(|| {
                format!("there is no scenario {name}; `faults list` names those there are")
            })?;
            scenarios.push(found);
        }
        if scenarios.is_empty() {
            let some = all().iter().filter(|scenario| self.long || !scenario.slow);
            scenarios = some.collect();
        }
        let run_options = RunOptions {
            long: self.long,
            seed: self.seed,
            observe: self.observe.is_some(),
        };
        let mut outcomes = Vec::new();
        for scenario in scenarios {
            eprintln!("        {} ...", scenario.name);
            let outcome = play(scenario, &run_options).await;
            eprintln!("{}", outcome.text());
            outcomes.push(outcome);
            // After each one: what was played is kept, whatever happens to the rest.
            self.write(&outcomes)?;
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
        eprintln!("{} scenarios, {failed} failed", outcomes.len());
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    fn write(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let write = |file: &PathBuf, text: String| {
            if file.as_os_str() == "-" {
                println!("{text}");
                return Ok(());
            }
            std::fs::write(file, text).with_context(|| file.display().to_string())
        };
        if let Some(file) = &self.json {
            write(file, serde_json::to_string_pretty(outcomes)? + "\n")?;
        }
        if let Some(file) = &self.markdown {
            write(file, markdown(outcomes))?;
        }
        if let Some(file) = &self.observe {
            let table = observe::table(outcomes)?;
            let page = std::fs::read_to_string(file).unwrap_or_default();
            write(file, observe::placed(&page, &table))?;
        }
        Ok(())
    }
}
