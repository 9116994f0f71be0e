//! Helpers shared by the tests over the whole catalog.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use acequia_contracts::{Context, Entity, catalog};

pub fn context() -> Context {
    Context {
        now: "2024-12-01T00:00:00Z".parse().unwrap(),
    }
}

pub fn entities() -> impl Iterator<Item = &'static Entity> {
    catalog().iter().flat_map(|domain| &domain.entities)
}

pub fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).expect("samples are UTF-8")
}

/// The texts and numbers of a body, JSON or not, that are long enough to be recognised.
/// Keys and the entity's name are no values.
pub fn values(body: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = body;
    while let Some(first) = rest.chars().next() {
        let taken = if first == '"' {
            let inside = &rest[1..];
            let length = closing_quote(inside);
            let after = inside.get(length + 1..).unwrap_or("");
            if !after.trim_start().starts_with(':') {
                values.push(inside[..length].to_owned());
            }
            1 + length + usize::from(!after.is_empty() || rest.len() > 1 + length)
        } else {
            let word = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
                .unwrap_or(rest.len());
            values.push(rest[..word].to_owned());
            word.max(first.len_utf8())
        };
        rest = rest.get(taken..).unwrap_or("");
    }
    values.retain(|value| value.len() >= 4 && !["true", "false", "null"].contains(&value.as_str()));
    values
}

/// Where a JSON text ends whose first quote is already behind us.
fn closing_quote(inside: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index,
            _ => {}
        }
    }
    inside.len()
}
