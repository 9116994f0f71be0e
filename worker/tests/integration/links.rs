//! Links of the pages: each leads to a file that is there, and to a heading that is in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use acequia_testkit::root;

/// All pages below a folder, without those of programs and servers.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
                found.extend(pages(&path));
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// A page without its code, in which brackets are no links.
fn prose(text: &str) -> String {
    let mut kept = String::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            // Every second part is between backticks.
            let parts = line.split('`').enumerate();
            parts.for_each(|(place, part)| kept.push_str(if place % 2 == 0 { part } else { "c" }));
            kept.push('\n');
        }
    }
    kept
}

/// Where the links of a page lead.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let parts = prose.split("](").skip(1);
    parts
        .filter_map(|part| Some(part.split_once(')')?.0.trim().to_owned()))
        .collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        let heading = line.trim_start_matches('#');
        if code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let letters = heading.trim().to_lowercase();
        let letters = letters.chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ => letter.is_alphanumeric().then_some(letter),
        });
        found.insert(letters.collect());
    }
    found
}

/// Links of a page that lead nowhere.
fn broken(root: &Path, page: &Path, text: &str) -> Vec<String> {
    let name = page.strip_prefix(root).unwrap_or(page).display();
    let mut broken = Vec::new();
    for link in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target = match file {
            "" => page.to_owned(),
            file => page.parent().unwrap().join(file),
        };
        if !target.exists() {
            broken.push(format!("{name}: {link}: there is no such file"));
        } else if !anchor.is_empty() && target.is_file() {
            let text = match file {
                "" => text.to_owned(),
                _ => std::fs::read_to_string(&target).unwrap(),
            };
            if !anchors(&text).contains(anchor) {
                broken.push(format!("{name}: {link}: there is no such heading"));
            }
        }
    }
    broken
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let root = root();
    let pages = pages(&root);
    assert!(pages.len() > 50, "{}", pages.len());
    let broken: Vec<String> = pages
        .iter()
        .flat_map(|page| broken(&root, page, &std::fs::read_to_string(page).unwrap()))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let root = root();
    let page = root.join("docs/architecture.md");
    for (text, sign) in [
        ("[x](nowhere.md)", "no such file"),
        ("[x](contracts.md#nowhere)", "no such heading"),
        ("# Here\n[x](#there)", "no such heading"),
        ("`a` [x](../docs/nowhere) b", "no such file"),
    ] {
        let found = broken(&root, &page, text).join("\n");
        assert!(found.contains(sign), "{text}: {found}");
    }
    for text in [
        "# Who, and why?\n[x](#who-and-why)",
        "[x](contracts.md#codes) `[y](nowhere.md)`",
        "```\n[x](nowhere.md)\n```\n[y](https://example.org/nowhere)",
    ] {
        assert_eq!(broken(&root, &page, text), [""; 0], "{text}");
    }
}
