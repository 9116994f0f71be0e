//! Killed at every step of archiving, restoring and purging, and run again: nothing lost, nothing doubled,
//! nothing left behind.

use super::{Archive, TABLE};

/// Steps of archiving at which the table still has everything, and those after which it has not.
const BEFORE: [&str; 5] = [
    "archive.begun",
    "archive.copying",
    "archive.written",
    "archive.manifest",
    "archive.verified",
];
const RESTORE: [&str; 4] = [
    "restore.begun",
    "restore.filled",
    "restore.checked",
    "restore.attached",
];

/// Invariants while nothing runs: each archive that counts has its two files and there is no
/// other file; no table lies beside its parent; nothing watches a partition.
async fn in_order(archive: &Archive) {
    let platform = &archive.platform;
    let known =
        "select path from core.archives a, unnest(array[a.object_path, a.manifest_path]) path
        where a.state in ('archived', 'restored') order by path";
    let mut known = platform.texts(known).await;
    known.sort();
    assert_eq!(archive.depot.files(), known);
    let stray = "select c.relname::text from pg_class c where c.relnamespace = 'consumo'::regnamespace and c.relkind = 'r'
        and c.relname ~ '_m[0-9]{6}$' and not c.relispartition";
    assert_eq!(platform.texts(stray).await, Vec::<String>::new());
    let watched = "select tgrelid::regclass::text from pg_trigger where tgname ~ '^archive_'";
    assert_eq!(platform.texts(watched).await, Vec::<String>::new());
    let unfinished =
        "select state from core.archives where state = 'writing' or restoring_at is not null";
    assert_eq!(platform.texts(unfinished).await, Vec::<String>::new());
    let rights = "select r.grantee::text || ' ' || r.privilege_type::text from information_schema.role_table_grants r
        where r.table_schema = 'consumo' and r.grantee in ('acequia_worker', 'acequia_archive') and r.privilege_type <> 'SELECT'";
    assert_eq!(platform.texts(rights).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_nothing_is_lost_or_doubled() {
    let archive = Archive::of("--clients 6 --days 50 --start 2024-09-10 --suspicious 30%").await;
    let everything = archive.readings().await;
    let marts = archive.marts().await;
    let back = format!("restore --table {TABLE} --from 2024-01 --to 2024-12 --hold 0s");
    assert_eq!(archive.partitions().await.len(), 3); // September, October, default

    for place in BEFORE {
        archive.killed_at(place, "archive").await;
        assert_eq!(archive.readings().await, everything, "{place}");
        let report = archive.json("archive").await;
        assert_eq!(report["partitions"], 2, "{place}: {report}");
        assert_eq!(archive.partitions().await, ["lecturas_default"], "{place}");
        assert_eq!(archive.marts().await, marts, "{place}");
        in_order(&archive).await;
        archive.done("archive verify").await;
        archive.done(&back).await;
        assert_eq!(archive.readings().await, everything, "{place}");
        in_order(&archive).await;
    }

    // After the drop the object is what there is; the run that follows has one partition left to do.
    for place in [
        "archive.dropped",
        "archive.manifest_deleted",
        "archive.object_deleted",
    ] {
        archive.killed_at(place, "archive").await;
        assert_eq!(archive.partitions().await.len(), 2, "{place}");
        let report = archive.json("archive").await;
        assert_eq!(report["partitions"], 1, "{place}: {report}");
        in_order(&archive).await;
        archive.done("archive verify").await;
        archive.done(&back).await;
        assert_eq!(archive.readings().await, everything, "{place}");
    }

    archive.done("archive").await;
    for place in RESTORE {
        archive.killed_at(place, &back).await;
        // Partitions that were not restored come back, the others stay.
        let rest = archive.run(&back).await;
        assert!(rest.status.success(), "{place}: {rest:?}");
        assert_eq!(archive.readings().await, everything, "{place}");
        assert_eq!(archive.marts().await, marts, "{place}");
        in_order(&archive).await;
        archive.done("archive").await;
        assert_eq!(archive.marts().await, marts, "{place}");
    }
    assert_eq!(archive.platform.unaccounted().await, 0);
    // The log names each step, and who made it.
    let steps = "select distinct step collate \"C\" as step from core.archive_log where login = 'acequia_archive' order by step collate \"C\"";
    assert_eq!(
        archive.platform.texts(steps).await,
        [
            "abandoned",
            "archived",
            "begun",
            "object_deleted",
            "restore_abandoned",
            "restore_begun",
            "restored",
            "verified"
        ]
    );
}

/// The copy is not trusted when somebody wrote to the partition after it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_changes_meanwhile_is_copied_anew() {
    let archive = Archive::of("--clients 2 --days 20 --start 2024-09-02 --suspicious 0").await;
    let platform = &archive.platform;
    for (statement, session) in [
        ("update consumo.lecturas set consumo_kwh = 7 where instante = '2024-09-03T10:00Z'", ""),
        ("delete from consumo.lecturas where instante = '2024-09-03T11:00Z'", "set session_replication_role = replica;"),
        ("insert into consumo.lecturas select propietario_id, '2024-09-30T11:00Z', hora, consumo_kwh, false, false, null, null, event_at, message_id, batch_id
          from consumo.lecturas where instante = '2024-09-03T12:00Z'", ""),
    ] {
        // The program stands after the copy, with the triggers in place; the change is made by an
        // ordinary session and by one in which ordinary triggers do not fire, as promotion's is.
        let held = archive
            .command("archive --older-than 1d")
            .env("ACEQUIA_FAILPOINT", "archive.verified")
            .spawn()
            .unwrap();
        let verified = "select count(*) from core.archives where state = 'writing' and checksum is not null";
        acequia_testkit::wait_for("the copy", async || Ok(platform.number(verified).await == 1))
            .await
            .unwrap();
        let mut admin = <sqlx::PgConnection as sqlx::Connection>::connect(&platform.database.admin).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{session} {statement}")))
            .execute(&mut admin)
            .await
            .unwrap();
        let id = "select archive_id from core.archives where state = 'writing'";
        let id = platform.number(id).await;
        let verdict = platform.texts(&format!("select core.archive_drop(0, {id}, 'test')")).await;
        assert_eq!(verdict, ["changed"], "{statement}");
        drop(held);
        let everything = archive.readings().await;
        acequia_testkit::wait_for("another run", async || {
            Ok(archive.run("archive --older-than 1d").await.status.success())
        })
        .await
        .unwrap();
        archive.done(&format!("restore --table {TABLE} --from 2024-09 --to 2024-09 --hold 0s")).await;
        assert_eq!(archive.readings().await, everything, "{statement}");
        in_order(&archive).await;
    }
}

/// Whoever reads or writes the table is waited for, a second at a time, and killing the program while
/// it waits leaves everything as it was.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_those_who_use_the_table_and_lets_them_pass() {
    let archive = Archive::of("--clients 2 --days 20 --start 2024-09-02 --suspicious 0").await;
    let platform = &archive.platform;
    let everything = archive.readings().await;
    let mut reader = platform.connect().await;
    sqlx::raw_sql("begin; select count(*) from consumo.lecturas")
        .execute(&mut reader)
        .await
        .unwrap();
    let mut child = archive.command("archive").spawn().unwrap();
    let refused =
        "select count(*) from core.archives where state = 'writing' and checksum is not null";
    acequia_testkit::wait_for("the copy", async || Ok(platform.number(refused).await == 1))
        .await
        .unwrap();
    // Promotions go on meanwhile: no session waits for longer than the second for which it asks for the lock.
    for _ in 0..3 {
        let insert = "set lock_timeout = '4s'; lock table consumo.lecturas in row exclusive mode";
        platform
            .execute(&format!("begin; {insert}; rollback"))
            .await;
    }
    // Told to stop, it stops.
    let pid = child.id().unwrap();
    let told = std::process::Command::new("kill")
        .arg(pid.to_string())
        .status();
    assert!(told.unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(2));
    let mut child = archive.command("archive").spawn().unwrap();
    // The next one waits for the reader, too, before it puts in order what the first left.
    acequia_testkit::wait_for("the second run", async || {
        let runs = "select count(*) from core.archive_runs where status = 'running'";
        Ok(platform.number(runs).await == 1
            && platform
                .number("select count(*) from core.archive_runs")
                .await
                == 2)
    })
    .await
    .unwrap();
    child.kill().await.unwrap();
    assert_eq!(archive.readings().await, everything);
    sqlx::raw_sql("rollback")
        .execute(&mut reader)
        .await
        .unwrap();
    acequia_testkit::wait_for("another run", async || {
        Ok(archive.run("archive").await.status.success())
    })
    .await
    .unwrap();
    assert_eq!(archive.partitions().await, ["lecturas_default"]);
    in_order(&archive).await;
}
