//! Purge and verify: archives that are given up, and archives that are damaged.

use super::{Archive, TABLE};

#[tokio::test(flavor = "multi_thread")]
async fn purge_wants_a_range_and_a_yes_and_keeps_what_the_policy_keeps() {
    let archive = Archive::of("--clients 2 --days 70 --start 2014-08-15 --suspicious 0").await;
    let platform = &archive.platform;
    let marts = archive.marts().await;
    archive.done("archive").await;
    assert_eq!(archive.depot.files().len(), 6);
    let purge = format!("purge --table {TABLE} --from 2014-08-15 --to 2014-09-30");
    let without = archive.run(&purge).await;
    assert_eq!(without.status.code(), Some(2), "{without:?}");
    assert!(without.stderr.contains("--yes"), "{without:?}");
    // August lies in the range only partly.
    assert!(
        !without.stdout.contains("m201408") && without.stdout.contains("m201409"),
        "{without:?}"
    );
    assert_eq!(archive.depot.files().len(), 6);
    assert!(
        !archive
            .run(&format!("purge --table {TABLE} --yes"))
            .await
            .status
            .success()
    );

    // Killed between the decision and the deletion, the next run deletes.
    archive
        .killed_at(
            "purge.marked",
            &format!("{purge} --yes --reason law --by Ana"),
        )
        .await;
    assert_eq!(archive.depot.files().len(), 6);
    archive.done("archive").await;
    assert_eq!(archive.depot.files().len(), 4);
    let told =
        "select who || ' ' || (detail ->> 'reason') from core.archive_log where step = 'purged'";
    assert_eq!(platform.texts(told).await, ["Ana law"]);
    let nothing = archive
        .run(&format!(
            "restore --table {TABLE} --from 2014-09 --to 2014-09"
        ))
        .await;
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    assert_eq!(archive.marts().await, marts);

    // The policy keeps archives for some time; --early goes before that.
    platform
        .execute("update core.lifecycle_policies set keep_archive = '50 years'")
        .await;
    let purge = format!("purge --table {TABLE} --from 2014-08 --to 2014-10 --yes");
    assert_eq!(archive.run(&purge).await.status.code(), Some(1));
    archive.done(&format!("{purge} --early")).await;
    assert_eq!(archive.depot.files().len(), 0);
    let listed = archive.json("archive list").await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_a_flipped_byte_and_a_missing_file() {
    let archive = Archive::of("--clients 2 --days 20 --start 2024-09-02 --suspicious 0").await;
    archive.done("archive").await;
    archive.done("archive verify").await;
    for kind in [".parquet", ".json"] {
        let file = archive
            .depot
            .files()
            .into_iter()
            .find(|file| file.ends_with(kind))
            .unwrap();
        let path = archive.depot.0.join(file);
        let right = std::fs::read(&path).unwrap();
        for position in [5, right.len() / 3, right.len() / 2, right.len() - 30] {
            let mut wrong = right.clone();
            wrong[position] ^= 1;
            std::fs::write(&path, wrong).unwrap();
            let found = archive.run("archive verify").await;
            assert_eq!(found.status.code(), Some(1), "{kind} {position}: {found:?}");
            if kind == ".parquet" {
                // A damaged file does not come back as if nothing were.
                let back = archive
                    .run(&format!(
                        "restore --table {TABLE} --from 2024-09 --to 2024-09"
                    ))
                    .await;
                assert!(!back.status.success(), "{position}: {back:?}");
                assert_eq!(archive.partitions().await, ["lecturas_default"]);
            }
        }
        std::fs::remove_file(&path).unwrap();
        let found = archive.run("archive verify").await;
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        assert!(found.stdout.contains("missing"), "{found:?}");
        std::fs::write(&path, right).unwrap();
    }
    archive.done("archive verify").await;
    archive
        .done(&format!(
            "restore --table {TABLE} --from 2024-09 --to 2024-09"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_says_what_it_would_do() {
    let archive = Archive::of("--clients 2 --days 40 --start 2024-09-02 --suspicious 0").await;
    let everything = archive.readings().await;
    let report = archive.json("archive --dry-run").await;
    assert_eq!(
        (&report["partitions"], &report["dry_run"]),
        (&2.into(), &true.into())
    );
    assert!(report["bytes_hot"].as_i64().unwrap() > 100_000, "{report}");
    assert_eq!(archive.readings().await, everything);
    assert_eq!(archive.depot.files(), Vec::<String>::new());
    let none = archive
        .json(&format!(
            "archive --dry-run --table {TABLE} --older-than 36500d"
        ))
        .await;
    assert_eq!(none["partitions"], 0);
    let unknown = archive.run("archive --table consumo.dias").await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(unknown.stderr.contains("no policy"), "{unknown:?}");
}

/// One at a time, across processes.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_turned_away() {
    let archive = Archive::of("--clients 2 --days 20 --start 2024-09-02 --suspicious 0").await;
    let mut first = archive.platform.connect().await;
    sqlx::query("select pg_advisory_lock(hashtextextended('acequia.archive', 0))")
        .execute(&mut first)
        .await
        .unwrap();
    let second = archive.run("archive").await;
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains("another process"), "{second:?}");
}

/// While a command waits for confirmation, others archive and restore.
#[tokio::test(flavor = "multi_thread")]
async fn purge_asks_before_it_locks() {
    let archive = Archive::of("--clients 2 --days 20 --start 2014-09-02 --suspicious 0").await;
    archive.done("archive").await;
    // Its own terminal: `script` makes one.
    let asked = archive.command("");
    let program = asked.as_std().get_program().to_owned();
    let variables: Vec<_> = asked
        .as_std()
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.unwrap().to_owned()))
        .collect();
    let purge = format!(
        "{} purge --table {TABLE} --from 2014-09 --to 2014-09",
        program.display()
    );
    let mut child = tokio::process::Command::new("script")
        .args(["-q", "-e", "-c", &purge, "/dev/null"])
        .envs(variables)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("Type yes") {
        let mut piece = [0; 1024];
        let length = tokio::io::AsyncReadExt::read(&mut output, &mut piece)
            .await
            .unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..length]);
    }
    // The archive that it asks about comes back, so there is nothing to purge when the answer comes.
    archive
        .done(&format!(
            "restore --table {TABLE} --from 2014-09 --to 2014-09"
        ))
        .await;
    let mut input = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"yes\n")
        .await
        .unwrap();
    let status = child.wait().await.unwrap();
    assert_eq!(status.code(), Some(2));
    let purged = "select count(*) from core.archives where state = 'purged'";
    assert_eq!(archive.platform.number(purged).await, 0);
}
