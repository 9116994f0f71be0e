//! The structure of a piece of JSON, regardless of its values.

use std::borrow::Cow;
use std::collections::HashSet;

/// Depth of valid JSON, and whether a key stands twice in one of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Levels of objects and lists.
    pub depth: usize,
    /// Whether an object has a key twice, be it written with other escapes.
    pub repeats: bool,
}

/// Examines a piece of valid JSON, without recursion.
pub fn shape(json: &str) -> Shape {
    let mut shape = Shape::default();
    // For each object or list that is open: the keys of the object so far.
    let mut open: Vec<Option<HashSet<Cow<'_, str>>>> = Vec::new();
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' => open.push(Some(HashSet::new())),
            b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let end = end_of_text(bytes, at);
                let inside = json.get(at..end).unwrap_or_default();
                at = end + 1;
                if is_key(bytes, at)
                    && let Some(Some(keys)) = open.last_mut()
                {
                    shape.repeats |= !keys.insert(unescaped(inside));
                }
            }
            _ => {}
        }
        shape.depth = shape.depth.max(open.len());
    }
    shape
}

/// End of the text that begins at `at`, behind its first quote.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Whether a colon follows: in valid JSON that makes the text before it a key.
fn is_key(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.iter().skip(at);
    rest.copied().find(|byte| !byte.is_ascii_whitespace()) == Some(b':')
}

fn unescaped(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    // Half a surrogate pair is no text: then it is compared as it is written.
    serde_json::from_str(&format!("\"{inside}\"")).map_or(Cow::Borrowed(inside), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_within_their_object() {
        for json in [
            "1",
            r#""{\"a\":1,\"a\":2}""#,
            r#"{"a":{"a":1},"b":{"a":"a","b":"a"}}"#,
            r#"[{"a":1},{"a":1},["a","a"]]"#,
            r#"{"a":"\\","b":"\"a\":"}"#,
            r#"{"a" : 1 , "A": 2, "á":3, "":4, " ":5}"#,
            r#"{"\ud800":1,"\ud801":2}"#,
        ] {
            assert!(!shape(json).repeats, "{json}");
        }
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            "{\"a\":1,\"b\":[],\"a\"\r\n\t :2}",
            r#"[[{"x":{"":0,"":0}}]]"#,
            r#"{"a\"":1,"a\u0022":2}"#,
            r#"{"\ud800":1,"\ud800":2}"#,
        ] {
            assert!(shape(json).repeats, "{json}");
        }
    }

    #[test]
    fn levels_are_counted() {
        for (json, depth) in [
            ("1", 0),
            (r#""[[[""#, 0),
            ("{}", 1),
            (r#"{"a":[{"b":[]}]}"#, 4),
        ] {
            assert_eq!(shape(json).depth, depth, "{json}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(shape(&deep).depth, 100_000);
    }
}
