//! Whether the archive has a place to go to.

use serde_json::Value;

use super::{Archive, Depot};
use crate::support::Platform;
use crate::support::program::finish;

/// Verdict and words of the doctor about the archive.
async fn finding(archive: &Archive, url: &str) -> (String, String) {
    said(archive, url, "archive").await
}

/// Verdict and words of a check of the doctor.
async fn said(archive: &Archive, url: &str, check: &str) -> (String, String) {
    let mut command = archive.command("doctor --json");
    command
        .env("AMQP_URL", &archive.platform.broker.url)
        .env("ARCHIVE_URL", url);
    let finished = finish(command).await;
    let findings: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap();
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("{finished:?}"));
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("verdict"), text("found"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tries_the_store() {
    let archive = Archive {
        platform: Platform::new().await,
        depot: Depot::new(),
    };
    let url = archive.depot.url();
    let (verdict, found) = finding(&archive, &url).await;
    assert_eq!(verdict, "ok", "{found}");
    assert!(found.contains("can be written"), "{found}");
    assert_eq!(
        archive.depot.files(),
        Vec::<String>::new(),
        "the probe is gone"
    );
    // No store is no fault while nothing is archived.
    assert_eq!(finding(&archive, "").await.0, "ok");
    std::fs::write(archive.depot.0.join("file"), "").unwrap();
    for wrong in [&format!("{url}/file"), "ftp://x/y", "not a URL"] {
        let (verdict, found) = finding(&archive, wrong).await;
        assert_eq!(verdict, "fail", "{wrong}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_compares_the_catalog_with_the_store() {
    let archive = Archive::of("--clients 2 --days 40 --start 2024-09-02 --suspicious 0").await;
    archive.done("archive").await;
    let url = archive.depot.url();
    let check = "archived objects";
    let (verdict, found) = said(&archive, &url, check).await;
    assert_eq!(verdict, "ok", "{found}");
    assert!(found.contains("all 4"), "{found}");
    // One file, one manifest, another store.
    for file in archive.depot.files() {
        let path = archive.depot.0.join(&file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (verdict, found) = said(&archive, &url, check).await;
        assert_eq!(verdict, "fail", "{found}");
        assert!(found.contains("1 of 4") && found.contains(&file), "{found}");
        std::fs::write(&path, bytes).unwrap();
    }
    let other = Depot::new();
    let (verdict, found) = said(&archive, &other.url(), check).await;
    assert_eq!(verdict, "fail", "{found}");
    assert!(found.contains("4 of 4"), "{found}");
}

/// A URL of which a part would be cut off is refused; written as it should be, it is that folder.
#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_the_url_is_cut_off() {
    let archive = Archive {
        platform: Platform::new().await,
        depot: Depot::new(),
    };
    let url = archive.depot.url();
    for wrong in ["/a#b", "/a?b", "?", "#", "/a?b=c#d"] {
        let (verdict, found) = finding(&archive, &format!("{url}{wrong}")).await;
        assert_eq!(verdict, "fail", "{wrong}: {found}");
        assert!(found.contains("%23"), "{wrong}: {found}");
    }
    let bucket = finding(&archive, "s3://bucket/prefix?region=x").await;
    assert_eq!(bucket.0, "fail", "{}", bucket.1);
    assert!(!archive.depot.0.exists());
    for (right, folder) in [("/a%23b", "a#b"), ("/a%3Fb", "a?b"), ("/a%20b", "a b")] {
        let (verdict, found) = finding(&archive, &format!("{url}{right}")).await;
        assert_eq!(verdict, "ok", "{right}: {found}");
        assert!(archive.depot.0.join(folder).is_dir(), "{right}");
    }
}
