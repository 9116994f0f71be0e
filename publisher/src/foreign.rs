//! Names the kind of a line that is not a JSON object, so that its author knows what to change. The line
//! itself is never repeated: it may hold personal data.

use serde::de::IgnoredAny;

/// Some programs begin UTF-8 with it.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// First bytes of files that are not lines of JSON, and what such a file is.
const BEGINNINGS: &[(&[u8], &str)] = &[
    (
        b"\x1f\x8b",
        "compressed with gzip: decompress it, as gunzip -c FILE | publisher send -",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd: decompress it, as zstd -dc FILE | publisher send -",
    ),
    (
        b"\xfd7zXZ\0",
        "compressed with xz: decompress it, as xz -dc FILE | publisher send -",
    ),
    (
        b"BZh",
        "compressed with bzip2: decompress it, as bzip2 -dc FILE | publisher send -",
    ),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"PAR1", "a Parquet file: lines of JSON are expected"),
    (
        b"\xff\xfe\0\0",
        "in UTF-32: convert it, as iconv -f utf-32 -t utf-8",
    ),
    (
        b"\0\0\xfe\xff",
        "in UTF-32: convert it, as iconv -f utf-32 -t utf-8",
    ),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
];
const UTF_16: &str = "in UTF-16: convert it, as iconv -f utf-16 -t utf-8";

/// Values of other languages that JSON does not have.
const WORDS: &[(&str, &str)] = &[
    ("NaN", "NaN is no JSON: send null, or leave the field out"),
    ("nan", "nan is no JSON: send null, or leave the field out"),
    (
        "Infinity",
        "Infinity is no JSON: send null, or leave the field out",
    ),
    (
        "-Infinity",
        "-Infinity is no JSON: send null, or leave the field out",
    ),
    ("inf", "inf is no JSON: send null, or leave the field out"),
    ("None", "None is no JSON: write null"),
    ("True", "True is no JSON: write true"),
    ("False", "False is no JSON: write false"),
    (
        "undefined",
        "undefined is no JSON: write null, or leave the field out",
    ),
];

/// Why a whole file cannot be read as lines of JSON, judged by its first line; nothing if it can.
pub fn file(first: &[u8]) -> Option<String> {
    let named = BEGINNINGS
        .iter()
        .find(|(begin, _)| first.starts_with(begin));
    if let Some((_, what)) = named {
        return Some(format!("the file is {what}"));
    }
    match first.trim_ascii() {
        [b'{' | b'[' | b'"', 0, ..] | [0, b'{' | b'[' | b'"', ..] => {
            Some(format!("the file is {UTF_16}"))
        }
        b"[" => {
            Some("the file is a JSON list: write one object a line, as jq -c '.[]' does".to_owned())
        }
        b"{" => Some(
            "the file has an object over several lines: write one a line, as jq -c . does"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The text of a line that is a JSON object.
///
/// # Errors
/// The kind of line it is instead.
pub fn line(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|error| {
        format!(
            "not UTF-8 from byte {} on: if it is Latin-1, convert it, as iconv -f latin1 -t utf-8",
            error.valid_up_to() + 1
        )
    })?;
    let what = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => match text.trim_start().as_bytes().first() {
            Some(b'{') => return Ok(text),
            Some(b'[') => "a JSON list",
            Some(b'"') => "a JSON text",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a JSON number",
        },
        Err(error) => return Err(no_json(text, &error)),
    };
    Err(format!("{what}: an object is expected"))
}

fn no_json(text: &str, error: &serde_json::Error) -> String {
    let column = error.column();
    let word = word_at(text, column);
    if let Some((_, what)) = WORDS.iter().find(|(name, _)| *name == word) {
        return (*what).to_owned();
    }
    let place = text.as_bytes().get(column.saturating_sub(1));
    match place {
        _ if error.is_eof() => "no JSON: it ends in the middle".to_owned(),
        Some(b'\'') => {
            format!("no JSON: a single quote at column {column}, double ones are needed")
        }
        Some(b',') if text.trim_end().ends_with("},") => {
            "no JSON: a comma behind the object".to_owned()
        }
        Some(b'{') => format!(
            "no JSON: another object begins at column {column}, each needs a line of its own"
        ),
        _ => format!("no JSON: stops at column {column}"),
    }
}

/// The word around a column.
fn word_at(text: &str, column: usize) -> &str {
    let bytes = text.as_bytes();
    let is_word = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
    let at = column.saturating_sub(1).min(bytes.len());
    let (before, behind) = bytes.split_at(at);
    let begin = at - before.iter().rev().take_while(|byte| is_word(byte)).count();
    let end = at + behind.iter().take_while(|byte| is_word(byte)).count();
    text.get(begin..end).unwrap_or_default()
}
