//! `worker doctor`.

use std::process::ExitCode;

use acequia_args::{ArchiveLogin, ArchiveUrl, BrokerArgs, DatabaseArgs, ManagementArgs};
use acequia_net::SecretUrl;
use acequia_ops::doctor::{self, Finding, Places, Verdict};
use acequia_store::db;
use clap::Args;

use super::output::{code, print_json};
use crate::run;

/// Options of `worker doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    management: ManagementArgs,
    #[command(flatten)]
    archive: ArchiveUrl,
    #[command(flatten)]
    archive_login: ArchiveLogin,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Runs `worker doctor`; exit 1 when something does not let the worker run.
///
/// # Errors
/// When it is used wrongly.
pub async fn execute(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let domains = run::domains_of(&[])?;
    let management = args.management.url()?;
    let database = args.database.url()?;
    let places = Places {
        database: &database,
        broker: &args.broker.url()?,
        management: management.as_ref(),
        archive: args.archive.given(),
    };
    let mut findings = doctor::examine(places, &domains, schema(&database)).await;
    let login = archive_login(&args.archive_login, &database).await;
    findings.extend(doctor::archive_login(login));
    if args.json {
        print_json(&findings)?;
    } else {
        print(&findings);
    }
    let fails = |finding: &Finding| finding.verdict == Verdict::Fail;
    Ok(code(!findings.iter().any(fails)))
}

/// The version of the schema, or why it does not serve this program.
///
/// # Errors
/// The fault in words: the database does not answer, or its schema is another.
pub async fn schema(database: &SecretUrl) -> Result<i32, String> {
    let checked = async {
        let mut connection = db::connect(database, "doctor").await?;
        acequia_schema::check(&mut connection).await
    };
    let checked = checked.await.map(|()| acequia_schema::latest());
    checked.map_err(|error| format!("{error:#}"))
}

/// Logs in as the archive loop would; the URL, where there is a login that may archive.
async fn archive_login(
    login: &ArchiveLogin,
    database: &SecretUrl,
) -> anyhow::Result<Option<String>> {
    let Some(url) = login.url(database)? else {
        return Ok(None);
    };
    let mut connection = db::connect(&url, "doctor").await?;
    acequia_schema::check(&mut connection).await?;
    let may = doctor::may_archive(&mut connection).await?;
    anyhow::ensure!(may, "{url}: this role may not archive");
    Ok(Some(url.to_string()))
}

fn print(findings: &[Finding]) {
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        println!("{mark} {:<24} {}", finding.check, finding.found);
        if let Some(remedy) = &finding.remedy {
            println!("     {:<24} -> {remedy}", "");
        }
    }
}
