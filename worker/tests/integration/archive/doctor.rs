//! Whether the archive has a place to go to.

use serde_json::Value;

use super::{Archive, Depot};
use crate::support::Platform;
use crate::support::program::finish;

/// Verdict and words of the doctor about the archive.
async fn finding(archive: &Archive, url: &str) -> (String, String) {
    let mut command = archive.command("doctor --json");
    command
        .env("AMQP_URL", &archive.platform.broker.url)
        .env("ARCHIVE_URL", url);
    let finished = finish(command).await;
    let findings: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap();
    let found = findings
        .iter()
        .find(|finding| finding["check"] == "archive");
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
