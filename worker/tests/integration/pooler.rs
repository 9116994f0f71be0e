//! A pooler between worker and database: a real pgbouncer.

use std::path::PathBuf;
use std::process::Stdio;

use acequia_net::SecretUrl;
use acequia_store::pooler::{Way, look};
use acequia_testkit::{free_port, wait_for};
use tokio::process::{Child, Command};

use crate::support::Platform;
use crate::support::program::{finish, program};

/// pgbouncer with a folder of its own; it ends with the value.
struct Pooler {
    dir: PathBuf,
    port: u16,
    _child: Child,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Pooler {
    /// `settings` are lines of its file.
    async fn start(platform: &Platform, mode: &str, settings: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("acequia-pooler-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&dir).unwrap();
        let port = free_port().unwrap();
        let server: url::Url = platform.database.worker.parse().unwrap();
        let users = [&platform.database.worker, &platform.database.owner].map(|url| {
            let url: url::Url = url.parse().unwrap();
            format!("\"{}\" \"{}\"\n", url.username(), url.password().unwrap())
        });
        std::fs::write(dir.join("users"), users.concat()).unwrap();
        let file = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {mode}\n{settings}\n",
            server.port().unwrap(),
            dir.join("users").display(),
        );
        std::fs::write(dir.join("ini"), file).unwrap();
        // It refuses to run as root.
        let root = std::env::var("USER").is_ok_and(|user| user == "root")
            || std::fs::read_to_string("/proc/self/status")
                .unwrap()
                .contains("\nUid:\t0\t");
        let mut command = Command::new("pgbouncer");
        if root {
            use std::os::unix::fs::PermissionsExt as _;
            for file in [dir.clone(), dir.join("users"), dir.join("ini")] {
                let mut rights = std::fs::metadata(&file).unwrap().permissions();
                rights.set_mode(0o755);
                std::fs::set_permissions(&file, rights).unwrap();
            }
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg(dir.join("ini"))
            .env(
                "PATH",
                format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer; get it with: apt-get install pgbouncer");
        wait_for("pgbouncer", async || {
            Ok(tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok())
        })
        .await
        .unwrap();
        Self {
            dir,
            port,
            _child: child,
        }
    }

    fn url(&self, of: &str) -> String {
        let mut url: url::Url = of.parse().unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_mixes_sessions_is_refused_in_words() {
    let platform = Platform::new().await;
    let ignoring = "ignore_startup_parameters = options,extra_float_digits";
    for (mode, settings, said) in [
        ("transaction", ignoring, "transaction or statement mode"),
        ("statement", ignoring, "transaction or statement mode"),
        (
            "transaction",
            "",
            "a pooler refuses what the connection asks for",
        ),
    ] {
        let pooler = Pooler::start(&platform, mode, settings).await;
        let (worker, owner) = (
            pooler.url(&platform.database.worker),
            pooler.url(&platform.database.owner),
        );
        for (command, database) in [("migrate", &owner), ("run", &worker)] {
            let mut refused = program(&[command]);
            refused
                .env("DATABASE_URL", database)
                .env("AMQP_URL", &platform.broker.url)
                .env("HTTP_ADDR", "127.0.0.1:0");
            let refused = finish(refused).await;
            assert_eq!(
                refused.status.code(),
                Some(2),
                "{mode} {command}: {refused:?}"
            );
            assert!(
                refused.stderr.contains(said) && refused.stderr.contains("pool_mode = session"),
                "{mode} {command}: {refused:?}"
            );
            assert!(
                !refused.stderr.contains("the schema is not there"),
                "{refused:?}"
            );
        }
        let mut doctor = program(&["doctor"]);
        doctor
            .env("DATABASE_URL", &worker)
            .env("AMQP_URL", &platform.broker.url);
        let doctor = finish(doctor).await;
        assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
        let words = doctor.stdout + &doctor.stderr;
        assert!(
            words.contains("pooler") || words.contains("startup parameter"),
            "{words}"
        );
        assert!(!words.contains("FAIL schema"), "{words}");
    }
    // Nobody is left behind with the lock of migrations.
    let locks = "select count(*) from pg_locks l join pg_database d on d.oid = l.database where l.locktype = 'advisory' and d.datname = current_database()";
    assert_eq!(platform.number(locks).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_keeps_sessions_apart_works() {
    let platform = Platform::new().await;
    let pooler = Pooler::start(
        &platform,
        "session",
        "ignore_startup_parameters = options,extra_float_digits",
    )
    .await;
    let url = |of: &str| SecretUrl::parse(of, &["postgres"]).unwrap();
    assert_eq!(
        look(&url(&platform.database.worker)).await.unwrap(),
        Way::Session
    );
    let way = look(&url(&pooler.url(&platform.database.worker)))
        .await
        .unwrap();
    assert_eq!(way, Way::WithoutLimits);
    let worker = platform.worker_by(
        &pooler.url(&platform.database.worker),
        &platform.broker.url,
        &[],
    );
    worker.ready().await;
    platform
        .publish_all(&crate::support::school::alumnos(1..50))
        .await;
    platform.settled(49).await;
    worker.stop().await;
    assert_eq!(platform.total().await.unaccounted, 0);
}
