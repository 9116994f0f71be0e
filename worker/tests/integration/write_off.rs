//! Staged rows that somebody removed: a command lists them and writes them off.

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::retention::a_day_that_lasts;
use crate::support::program::{Finished, finish, program};
use crate::support::school::{DOMAIN, alumnos, grupo, maestro, message};
use crate::support::{Platform, get};

const LOCK: &str = "begin; select core.take_lock('promote.academico')";

async fn ledger(platform: &Platform, options: &[&str]) -> Finished {
    let arguments = ["ledger", "write-off", "--domain", DOMAIN];
    let mut command = program(&[&arguments[..], options].concat());
    command.env("OPERATOR_DATABASE_URL", &platform.database.operator);
    finish(command).await
}

/// Stages messages that are not promoted as long as the connection that is returned lives.
async fn stage(platform: &Platform, messages: &[crate::support::Message]) -> PgConnection {
    let mut promoting = platform.connect().await;
    sqlx::raw_sql(LOCK).execute(&mut promoting).await.unwrap();
    platform.declare().await;
    let worker = platform.worker(&[]);
    platform.publish_all(messages).await;
    platform
        .received(i64::try_from(messages.len()).unwrap())
        .await;
    worker.stop().await;
    promoting
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_removed_are_named_and_written_off() {
    for (remove, lost) in [
        ("truncate stg.alumnos_upsert", 20),
        (
            "do $$ begin execute (select format('drop table stg.%I', c.relname) from pg_class c
             where c.relname = 'alumnos_upsert_p' || to_char(now() at time zone 'UTC', 'YYYYMMDD')); end $$",
            20,
        ),
        ("delete from stg.alumnos_upsert where id_alumno <= 7", 7),
    ] {
        let platform = Platform::new().await;
        // The second way drops the partition of today, in which the ids of these messages are.
        a_day_that_lasts(&platform).await;
        let mut messages = alumnos(1..21);
        messages.push(maestro(1));
        let promoting = stage(&platform, &messages).await;
        platform.execute(remove).await;
        promoting.close().await.unwrap();

        // The domain stands, and says why and what to do.
        let worker = platform.worker(&["--stall-after", "500ms"]);
        let mut reason = String::new();
        acequia_testkit::wait_for("a reason", async || {
            let (status, body) = get(&worker.http, "/readyz").await;
            reason = body;
            Ok(status == 503 && reason.contains("not in staging"))
        })
        .await
        .unwrap();
        let said = format!("{lost} alumno");
        for words in [&said, "not in staging", "batches ", "received from 20", "worker ledger write-off --domain academico"] {
            assert!(reason.contains(words), "{words}: {reason}");
        }

        let dry = ledger(&platform, &["--dry-run", "--json"]).await;
        assert_eq!(dry.status.code(), Some(0), "{dry:?}");
        let report: Value = serde_json::from_str(&dry.stdout).unwrap();
        assert_eq!((&report["rows"], &report["dry_run"]), (&lost.into(), &true.into()));
        let other = ledger(&platform, &["--batch", "999999", "--reason", "x"]).await;
        assert_eq!(other.status.code(), Some(1), "{other:?}");
        assert_eq!(ledger(&platform, &["--reason", " "]).await.status.code(), Some(2));

        let written = ledger(&platform, &["--reason", "truncated by mistake", "--by", "ana", "--json"]).await;
        assert_eq!(written.status.code(), Some(0), "{written:?}");
        worker.ready().await;
        platform.settled(21).await;
        let written_off = "select sum(written_off)::bigint from core.conservation";
        assert_eq!(platform.number(written_off).await, lost);
        let total = platform.total().await;
        assert_eq!((total.inserted, total.unaccounted), (21 - lost, 0), "{total:?}");
        let audit = "select who || ' ' || (filters ->> 'domain') || ' ' || (filters ->> 'rows') || ' ' || reason from core.audit_log where action = 'write_off'";
        assert_eq!(
            platform.texts(audit).await,
            [format!("ana academico {lost} truncated by mistake")]
        );
        acequia_testkit::wait_for("the gauge", async || {
            let page = worker.metrics().await;
            Ok(page.contains(&format!("acequia_written_off_messages{{domain=\"academico\"}} {lost}\n")))
        })
        .await
        .unwrap();
        let again = ledger(&platform, &["--reason", "x"]).await;
        assert_eq!(again.status.code(), Some(1), "{again:?}");

        // The same messages may come again: they are new.
        platform.publish_all(&messages[..20]).await;
        platform.settled(41).await;
        assert_eq!(platform.total().await.unaccounted, 0);
        assert_eq!(
            platform.number("select count(*) from academico.alumnos").await,
            20
        );
        worker.stop().await;
    }
}

/// A row that waits for its parent is in staging only, too.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_for_their_parent_are_written_off_as_well() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    worker.ready().await;
    // Both are removed before their time is over, or the first round of housekeeping has them.
    platform
        .execute("create function stg.hold() returns trigger language plpgsql as $$ begin new.since := now() + interval '1 day'; return new; end $$;
                  create trigger hold before insert on core.pending for each row execute function stg.hold();
                  alter table core.pending enable always trigger hold")
        .await;
    platform
        .publish_all(&[grupo(1, 1, 1), grupo(2, 2, 2)])
        .await;
    platform.settled(2).await;
    assert_eq!(platform.total().await.pending, 2);
    platform
        .execute("delete from stg.grupos_upsert where id_grupo = 1; drop trigger hold on core.pending; drop function stg.hold(); update core.pending set since = now()")
        .await;
    // Housekeeping goes on with the other one.
    acequia_testkit::wait_for("the orphan in quarantine", async || {
        Ok(platform.total().await.quarantined == 1)
    })
    .await
    .unwrap();
    worker.ready().await;
    assert_eq!(platform.total().await.pending, 1);

    let doctor = {
        let mut command = program(&["doctor", "--json"]);
        command
            .env("DATABASE_URL", &platform.database.worker)
            .env("AMQP_URL", &platform.broker.url);
        finish(command).await
    };
    assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
    let findings: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let finding = findings.as_array().unwrap().iter();
    let finding = finding
        .clone()
        .find(|finding| finding["check"] == "waiting rows")
        .unwrap();
    assert_eq!(finding["verdict"], "fail");
    assert!(
        finding["found"].as_str().unwrap().contains("1 grupo"),
        "{finding}"
    );

    let written = ledger(&platform, &["--reason", "gone"]).await;
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let total = platform.total().await;
    assert_eq!((total.pending, total.unaccounted), (0, 0));
    let late = message(
        "maestro",
        &serde_json::json!({"id_maestro": 1, "nombre": "M"}),
    );
    platform.publish_all([&late]).await;
    platform.settled(3).await;
    worker.ready().await;
    worker.stop().await;
}
