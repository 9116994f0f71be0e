//! The scripts: what they refuse, what they keep, and how they read what somebody checked out.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod new_domain;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use acequia_testkit::root;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("acequia-scripts-{}", uuid::Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The scripts of a bootstrap, in the folder `checkout`.
    fn copy_bootstrap(&self) {
        for name in [
            "bootstrap.sh",
            "bootstrap/native.sh",
            "bootstrap/compose.sh",
            "lib.sh",
        ] {
            let text = std::fs::read(root().join("scripts").join(name)).unwrap();
            self.write(&format!("checkout/scripts/{name}"), text);
        }
    }

    /// `bootstrap.sh` of the folder `checkout`, with the programs of the folder `bin`; what it says.
    fn bootstrap(&self, arguments: &[&str]) -> String {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.0.join("bin").display());
        let mut command = Command::new("bash");
        command.arg(self.0.join("checkout/scripts/bootstrap.sh"));
        error_of(&command.args(arguments).env("PATH", &path).output().unwrap())
    }

    /// A shell script in the place of a program.
    fn program(&self, file: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(file, format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn script(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(root().join("scripts").join(name));
    command.args(arguments).envs(variables.iter().copied());
    command.output().unwrap()
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Servers and shells read a carriage return as part of the line: RabbitMQ does not start with one in
/// its configuration.
#[test]
fn a_checkout_with_autocrlf_has_the_same_bytes() {
    let folder = Folder::new();
    let mut files = Vec::new();
    for part in ["config", "prometheus", "scripts", "sql/rules", "."] {
        for entry in std::fs::read_dir(root().join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && (part != "." || path.ends_with(".gitattributes")) {
                let name = format!("{part}/{}", path.file_name().unwrap().to_str().unwrap());
                let bytes = std::fs::read(&path).unwrap();
                folder.write(&name, &bytes);
                files.push((name, bytes));
            }
        }
    }
    assert!(files.len() > 20);
    git(&folder.0, &["init", "-q"]);
    git(&folder.0, &["add", "."]);
    for (name, _) in &files {
        std::fs::remove_file(folder.0.join(name)).unwrap();
    }
    git(
        &folder.0,
        &["-c", "core.autocrlf=true", "checkout", "-q", "--", "."],
    );
    for (name, bytes) in files {
        assert_eq!(
            std::fs::read(folder.0.join(&name)).unwrap(),
            bytes,
            "{name}"
        );
    }
}

/// A newer server would not read the data, or worse, would.
#[test]
fn data_of_another_server_are_refused_with_what_to_do() {
    let folder = Folder::new();
    folder.write("postgresql/data/PG_VERSION", "99\n");
    let dir = folder.0.to_str().unwrap();
    let error = error_of(&script("services.sh", &["start", dir, "--any-port"], &[]));
    assert!(
        error.contains("PostgreSQL 99") && error.contains("apt-get install postgresql-99"),
        "{error}"
    );

    for version in ["3.7.28", "9.1.0"] {
        let folder = Folder::new();
        let old = format!("/nowhere/rabbitmq_server-{version}/sbin");
        std::fs::create_dir_all(folder.0.join("rabbitmq/server")).unwrap();
        std::os::unix::fs::symlink(old, folder.0.join("rabbitmq/server/sbin")).unwrap();
        let dir = folder.0.to_str().unwrap();
        let error = error_of(&script("services.sh", &["start", dir, "--any-port"], &[]));
        let minor = version.rsplit_once('.').unwrap().0;
        assert!(
            error.contains(&format!("RabbitMQ {minor}")) && error.contains("empty the queues"),
            "{error}"
        );
    }
}

/// They become parts of addresses; found at once, not by a server minutes later.
#[test]
fn passwords_that_no_address_can_hold_are_refused_at_once() {
    for name in [
        "POSTGRES_PASSWORD",
        "POSTGRES_USER",
        "ACEQUIA_WORKER_PASSWORD",
        "ACEQUIA_ANALYST_PASSWORD",
        "RABBITMQ_PASSWORD",
        "POSTGRES_SUPERUSER_PASSWORD",
    ] {
        for value in [
            "p@ss", "a/b", "a b", "100%", "x#y", "q?", "a:b", "ñ", "$HOME",
        ] {
            for mode in ["--compose", "--native"] {
                let error = error_of(&script("bootstrap.sh", &[mode], &[(name, value)]));
                assert!(error.contains(name) && error.contains("digits"), "{error}");
                assert!(!error.contains(value), "{error}");
            }
        }
    }
}

/// However much is written, a log takes a bounded room, and the newest lines are there.
#[test]
fn logs_are_set_aside_and_three_are_kept() {
    let folder = Folder::new();
    let log = folder.write("worker.log", "");
    let lib = root().join("scripts/lib.sh");
    let bound = format!("source {}; bound_log 1000 \"$1\"", lib.display());
    for round in 0..6 {
        let text = format!("round {round}\n").repeat(200);
        // As a program writes that holds its file open to append.
        let write =
            format!("exec 3>>\"$1\"; printf '%s' '{text}' >&3; {bound}; echo after {round} >&3");
        let output = Command::new("bash")
            .args(["-c", &write, "_"])
            .arg(&log)
            .output();
        assert!(output.unwrap().status.success());
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "after 5\n");
    let aside = |number: u32| std::fs::read_to_string(format!("{}.{number}", log.display()));
    for (number, round) in [(1, 5), (2, 4), (3, 3)] {
        assert!(
            aside(number)
                .unwrap()
                .ends_with(&format!("round {round}\n"))
        );
    }
    assert!(aside(4).is_err());
}

/// Programs that are started under DIR/env ask that installation, also after another start.
#[test]
fn the_environment_of_an_installation_names_its_own_worker_and_its_archive() {
    let folder = Folder::new();
    let dir = folder.0.join("servers");
    let dir = dir.to_str().unwrap();
    let start = ["start", dir, "--any-port"];
    let read = || {
        let text = std::fs::read_to_string(Path::new(dir).join("env")).unwrap();
        // The form that every client takes: SQLAlchemy knows no postgres://.
        let databases = text.lines().filter(|line| line.contains("DATABASE_URL="));
        let forms: Vec<_> = databases
            .map(|line| line.contains("=postgresql://"))
            .collect();
        assert!(forms.len() > 4 && !forms.contains(&false), "{text}");
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.split_once('=').filter(|one| one.0 == name));
            line.unwrap_or_else(|| panic!("no {name}")).1.to_owned()
        };
        (
            value("HTTP_ADDR"),
            value("WORKER_URL"),
            value("ARCHIVE_URL"),
        )
    };
    let first = script(
        "services.sh",
        &start,
        &[("ARCHIVE_URL", "s3://bucket/prefix")],
    );
    let before = first.status.success().then(read);
    let second = script("services.sh", &start, &[]);
    let after = second.status.success().then(read);
    script("services.sh", &["stop", dir, "--wipe"], &[]);
    let (http, worker, archive) = before.expect("a first start");
    assert_eq!(worker, format!("http://{http}"));
    assert_eq!(archive, "s3://bucket/prefix");
    assert_eq!(after.expect("a second start"), (http, worker, archive));
}

/// One line a step; what a step says stays in the log until the step fails.
#[test]
fn bootstrap_shows_a_line_for_each_step_and_why_one_failed() {
    let folder = Folder::new();
    let program = |file: &str, text: &str| folder.program(file, text);
    folder.copy_bootstrap();
    program(
        "checkout/scripts/services.sh",
        "[ \"$1\" = install ] && echo 'many packages' && exit; echo 'no room on the disk' >&2; exit 1",
    );
    for name in ["cargo", "cc"] {
        program(&format!("bin/{name}"), "exit 0");
    }
    let run = |arguments: &[&str]| folder.bootstrap(arguments);

    let said = run(&["--native"]);
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].starts_with("packages ") && lines[0].contains("ok ("),
        "{said}"
    );
    assert!(
        lines[1].starts_with("servers ") && lines[1].ends_with("FAILED"),
        "{said}"
    );
    assert!(said.contains("no room on the disk"), "{said}");
    assert!(
        said.contains("servers failed. All that was said: .acequia/bootstrap.log"),
        "{said}"
    );
    let log = std::fs::read_to_string(folder.0.join("checkout/.acequia/bootstrap.log")).unwrap();
    assert!(
        log.contains("many packages") && log.contains("no room on the disk"),
        "{log}"
    );

    let said = run(&["--native", "--verbose"]);
    assert!(said.contains("no room on the disk"), "{said}");
    assert!(said.contains("--- packages: ok ("), "{said}");
}

/// Containers whose images have not changed are kept by a second bootstrap: the build writes nothing into an image that
/// depends on the time. When the containers do not start, the log of the migration is shown.
#[test]
fn bootstrap_with_compose_keeps_containers_and_shows_what_failed() {
    let folder = Folder::new();
    folder.copy_bootstrap();
    let attestations = folder.0.join("attestations");
    folder.program(
        "bin/docker",
        &format!(
            "case \"$*\" in\n\
             *' up '*) echo \"$BUILDX_NO_DEFAULT_ATTESTATIONS\" >{}; echo 'dependency failed' >&2; exit 1 ;;\n\
             *' logs '*) echo \"logs of $*: no such role\" ;;\n\
             'volume inspect'*) exit 1 ;;\n\
             esac",
            attestations.display()
        ),
    );
    let said = folder.bootstrap(&["--compose"]);
    assert!(
        said.contains("no such role") && said.contains("migrate"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(attestations).expect(&said), "1\n");
}
