//! `publisher contracts`: the contracts as files, and what differs from an earlier export.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use acequia_contracts::{Breaking, ChangeKind, Topology, asyncapi, breaking, catalog, schema};
use acequia_net::topology::{ALERTS, EXCHANGE, REJECTED, queue_of};
use anyhow::{Context as _, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::entity_named;

/// Exit status when a change breaks publishers.
const BREAKS: u8 = 1;
/// The file of all contracts together.
const ALL: &str = "asyncapi.json";

/// The command.
pub(crate) fn command() -> Command {
    let json = Arg::new("json")
        .long("json")
        .help("Print the result as a JSON object on stdout")
        .action(ArgAction::SetTrue);
    let folder = |arg: Arg| arg.value_name("DIR").value_parser(value_parser!(PathBuf));
    let export = Command::new("export")
        .about("Write the JSON Schema of each entity, and an AsyncAPI document of all, into a folder")
        .after_help("The same contracts make the same bytes. Files of entities that are not there any more are removed.")
        .arg(folder(Arg::new("dir").required(true).help("The folder; made when it is not there")))
        .arg(json.clone());
    let check = Command::new("check")
        .about("Name the changes that break publishers, since an earlier export")
        .after_help("Exit status: 0 nothing breaks, 1 something does, 2 the export cannot be read, or wrong usage.")
        .arg(folder(
            Arg::new("against").long("against").required(true).help("Folder of the earlier export"),
        ))
        .arg(json);
    Command::new("contracts")
        .about("Write the contracts into files, or compare them with an earlier export")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(export)
        .subcommand(check)
}

/// Runs the command and tells the exit status.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<u8> {
    let (name, matches) = matches.subcommand().context("no command")?;
    let json = matches.get_flag("json");
    let dir = if name == "export" { "dir" } else { "against" };
    let dir = matches.get_one::<PathBuf>(dir).context("no folder")?;
    if name == "export" {
        export(dir, json)?;
        return Ok(0);
    }
    let found = check(dir)?;
    let breaks = !found.breaking.is_empty();
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_value(&found)?)?;
    } else {
        for Change { entity, change } in &found.breaking {
            let place = [entity.as_str(), change.field.as_str()].join(" ");
            let (kind, message) = (change.change.as_str(), &change.message);
            writeln!(io::stdout(), "{}: {kind}: {message}", place.trim_end())?;
        }
        if !breaks {
            writeln!(
                io::stdout(),
                "{} contracts, nothing breaks",
                found.contracts
            )?;
        }
    }
    Ok(if breaks { BREAKS } else { 0 })
}

/// The files with their contents.
fn files() -> BTreeMap<String, String> {
    let broker = Topology {
        exchange: EXCHANGE,
        alerts: ALERTS,
        rejected: REJECTED,
        queue_of,
    };
    let entities = catalog().iter().flat_map(|domain| &domain.entities);
    let schemas = entities.map(|entity| {
        let file = format!("{}.{}.json", entity.domain, entity.name);
        (file, schema(entity))
    });
    schemas
        .chain([(ALL.to_owned(), asyncapi(catalog(), &broker))])
        .map(|(file, content)| (file, format!("{content:#}\n")))
        .collect()
}

fn export(dir: &Path, json: bool) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let files = files();
    let mut written = Vec::new();
    for (file, content) in &files {
        let path = dir.join(file);
        if fs::read(&path).is_ok_and(|found| found == content.as_bytes()) {
            continue;
        }
        // Whoever reads it meanwhile sees the old file or the new one.
        let new = dir.join(format!(".{file}.new"));
        fs::write(&new, content)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        written.push(file);
    }
    let mut removed = Vec::new();
    for (name, _) in exported(dir)? {
        let file = format!("{name}.json");
        if !files.contains_key(&file) {
            let path = dir.join(&file);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            removed.push(file);
        }
    }
    if json {
        let result = json!({"files": files.len(), "written": written, "removed": removed});
        writeln!(io::stdout(), "{result}")?;
    } else {
        let (all, new, gone) = (files.len(), written.len(), removed.len());
        writeln!(
            io::stdout(),
            "{}: {all} files, {new} written, {gone} removed",
            dir.display()
        )?;
    }
    Ok(())
}

/// The exported schemas of a folder, by `<domain>.<entity>`. Other files are left out.
fn exported(dir: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut schemas = BTreeMap::new();
    let cannot = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(name) = stem.filter(|_| path.extension().is_some_and(|end| end == "json")) else {
            continue;
        };
        if !name.contains('.') || name.starts_with('.') {
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let schema: Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no JSON", path.display()))?;
        // An export names its entity as the file does.
        if schema["title"] == name && schema["properties"].is_object() {
            schemas.insert(name.to_owned(), schema);
        }
    }
    Ok(schemas)
}

/// Breaking changes.
#[derive(Serialize)]
struct Found {
    /// Contracts of the earlier export.
    contracts: usize,
    breaking: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    /// `<domain>.<entity>`
    entity: String,
    #[serde(flatten)]
    change: Breaking,
}

fn check(dir: &Path) -> anyhow::Result<Found> {
    let earlier = exported(dir)?;
    ensure!(
        !earlier.is_empty(),
        "{} has no exported contracts: write them with `publisher contracts export` of the earlier version",
        dir.display()
    );
    let mut breaks = Vec::new();
    for (name, was) in &earlier {
        let changes = match entity_named(name) {
            Some(entity) => breaking(was, &schema(entity)),
            None => vec![Breaking {
                field: String::new(),
                change: ChangeKind::EntityRemoved,
                message: "is not there any more: its messages go to quarantine".to_owned(),
            }],
        };
        breaks.extend(changes.into_iter().map(|change| Change {
            entity: name.clone(),
            change,
        }));
    }
    Ok(Found {
        contracts: earlier.len(),
        breaking: breaks,
    })
}
