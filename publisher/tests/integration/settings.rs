//! Numbers of the command line have ranges, which the page for operators shows.

use crate::command::{publisher, run, stderr};
use crate::support::domain;

/// Option, what it may be at least and at most as the page writes it, and what it may not be.
const OPTIONS: &[(&str, &str, &str, &[&str])] = &[
    (
        "--rate",
        "0.001",
        "1e9",
        &["0", "-1", "0.0009", "1.1e9", "NaN", "inf", "fast", ""],
    ),
    (
        "--window",
        "1",
        "65535",
        &[
            "0",
            "-1",
            "65536",
            "1.5",
            "NaN",
            "wide",
            "99999999999999999999",
            "",
        ],
    ),
    (
        "--attempts",
        "1",
        "1000",
        &["0", "-1", "1001", "4294967296", "eight", ""],
    ),
    (
        "--confirm-timeout",
        "1",
        "3600",
        &["0", "-1", "3601", "18446744073709551615", "30s", "NaN", ""],
    ),
    (
        "--retry-for",
        "0",
        "31536000",
        &["-1", "31536001", "18446744073709551615", "1m", "NaN", ""],
    ),
    (
        "--invalid",
        "0",
        "1000",
        &["-1", "1001", "NaN", "inf", "2%", ""],
    ),
    (
        "--duplicates",
        "0",
        "1000",
        &["-1", "1001", "NaN", "inf", "2%", ""],
    ),
    (
        "--seed",
        "0",
        "18446744073709551615",
        &["-1", "18446744073709551616", "1.5", "x", ""],
    ),
];

fn try_option(option: &str, value: &str) -> Result<(), String> {
    let arguments = ["publisher", "generate", domain().name].map(ToOwned::to_owned);
    let arguments = arguments.into_iter().chain([format!("{option}={value}")]);
    let matches = acequia_publisher::cli::command().try_get_matches_from(arguments);
    matches.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn what_is_out_of_range_is_refused_with_the_option_and_the_value() {
    for (option, least, most, wrong) in OPTIONS {
        for value in *wrong {
            let said = try_option(option, value).unwrap_err();
            assert!(said.contains(option), "{option} {value}: {said}");
            assert!(said.contains(value), "{option} {value}: {said}");
            let range = format!("from {least} to {most}");
            assert!(
                value.is_empty() || said.contains(&range),
                "{option} {value}: {said}"
            );
        }
        for value in [least, most] {
            assert_eq!(try_option(option, value), Ok(()), "{option} {value}");
        }
    }
}

/// The program ends with status 2 before it asks any server.
#[tokio::test]
async fn the_program_ends_with_status_2() {
    for (option, _, _, wrong) in OPTIONS {
        let mut command = publisher(&["generate", domain().name]);
        command.arg(format!("{option}={}", wrong[1]));
        let refused = run(command).await;
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{option}: {said}");
        assert!(said.contains(option) && !said.contains("panic"), "{said}");
    }
}

#[test]
fn the_page_shows_the_ranges() {
    let page = include_str!("../../../docs/operations.md");
    for (option, least, most, _) in OPTIONS {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{option}`")));
        let row = row.unwrap_or_else(|| panic!("{option} is not on the page"));
        let range = row.split('|').nth(3).unwrap_or_default().trim();
        assert_eq!(range, format!("{least} to {most}"), "{option}");
    }
}
