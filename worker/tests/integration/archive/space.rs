//! How much space archiving saves, on readings as they come in practice.

use super::Archive;

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_takes_at_most_fifteen_per_cent_of_the_table() {
    let archive = Archive::of("--clients 200 --days 30 --start 2024-05-02").await;
    let report = archive.json("archive").await;
    assert_eq!(report["rows"], 200 * 30 * 24, "{report}");
    let files: u64 = archive
        .depot
        .files()
        .iter()
        .map(|file| std::fs::metadata(archive.depot.0.join(file)).unwrap().len())
        .sum();
    assert_eq!(report["bytes_archived"], files);
    let reduction = report["reduction_percent"].as_f64().unwrap();
    println!(
        "{} bytes hot, {files} archived, {reduction:.1} % less",
        report["bytes_hot"]
    );
    assert!(reduction >= 85.0, "{report}");
}
