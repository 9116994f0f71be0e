//! Sample messages, valid and invalid, shared by the publisher, the tests and the docs.
//!
//! They are the files of `contracts/fixtures/<domain>/<entity>/{valid,invalid}/`.

use include_dir::{Dir, include_dir};

static FIXTURES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures");

/// A sample message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixture {
    /// File name without its extension: what the sample shows.
    pub name: &'static str,
    /// The body: the file without the line end after it.
    pub body: &'static [u8],
}

/// The valid samples of an entity, sorted by name.
#[must_use]
pub fn valid(domain: &str, entity: &str) -> Vec<Fixture> {
    samples(domain, entity, "valid")
}

/// The invalid samples of an entity, sorted by name.
#[must_use]
pub fn invalid(domain: &str, entity: &str) -> Vec<Fixture> {
    samples(domain, entity, "invalid")
}

fn samples(domain: &str, entity: &str, verdict: &str) -> Vec<Fixture> {
    let Some(folder) = FIXTURES.get_dir(format!("{domain}/{entity}/{verdict}")) else {
        return Vec::new();
    };
    let mut samples: Vec<_> = folder
        .files()
        .filter_map(|file| {
            let name = file.path().file_stem()?.to_str()?;
            Some(Fixture {
                name,
                body: file.contents().trim_ascii_end(),
            })
        })
        .collect();
    samples.sort_by_key(|sample| sample.name);
    samples
}
