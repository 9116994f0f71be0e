//! Values of parameters: plausible ones, and ones that should never be sent.

use rand::rngs::StdRng;

use super::pick;

/// Objects that exist on the platform.
pub struct Known {
    /// Number of a row of the quarantine.
    pub row: i64,
    /// Id of its message.
    pub message: String,
}

/// Values at the edges of types, of encodings, of languages that a text may end up in. Sent percent-encoded.
const ODD: [&str; 44] = [
    "",
    " ",
    "0",
    "-1",
    "-0",
    "1.5",
    "1e400",
    "NaN",
    "Infinity",
    "null",
    "true",
    "TRUE",
    "0x10",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999999999999999",
    "\0",
    "a\0b",
    "é",
    "𝄞",
    "\u{202e}abc",
    "\u{feff}",
    "ﬀ",
    "\r\nX-Planted: 1",
    "'; drop table core.batches; --",
    "\\",
    "%",
    "_%",
    "*",
    "{}",
    "[]",
    "{\"a\":1}",
    "..",
    "../../etc/passwd",
    "a,b,,c",
    ",",
    "eq.1",
    "in.(",
    "9999-12-31T23:59:60Z",
    "2024-13-01T00:00:00Z",
    "99999999999999h",
    "-5m",
];

/// Bytes that are no UTF-8, and percent signs that encode nothing; sent as they stand.
const RAW: [&str; 6] = ["%FF%FE", "%C3%28", "%", "%zz", "%u0000", "%ED%A0%80"];

/// Texts for headers: no control characters, which the client itself refuses.
const HEADERS: [&[u8]; 8] = [
    b"",
    b" ",
    b"-1",
    b"9223372036854775808",
    b"\xff\xfe",
    b"*/*;q=nonsense",
    b"\"",
    b"a, b;c=d",
];

/// Percent-encoded text.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// An odd value as it is sent in a path or a query.
pub fn odd(rng: &mut StdRng) -> String {
    if super::chance(rng, 12) {
        return pick(rng, &RAW).to_owned();
    }
    if super::chance(rng, 5) {
        return "a".repeat(5_000);
    }
    encoded(pick(rng, &ODD))
}

/// An odd text in a body.
pub fn odd_text(rng: &mut StdRng) -> &'static str {
    pick(rng, &ODD)
}

/// An odd value of a header.
pub fn odd_header(rng: &mut StdRng) -> Vec<u8> {
    if super::chance(rng, 10) {
        return vec![b'a'; 5_000];
    }
    pick(rng, &HEADERS).to_vec()
}

/// A value that a caller may mean; empty where the parameter is better left out.
pub fn plausible(path: &str, name: &str, known: &Known, rng: &mut StdRng) -> String {
    let some: &[&str] = match name {
        "domain" => &["academico"],
        "entity" => &["alumno"],
        "mart" => &["kpi_materia", "marts.kpi_grupo"],
        "key" => &["1"],
        "id" if path.starts_with("/v1/quarantine") => return known.row.to_string(),
        "id" if path.starts_with("/v1/messages") => return known.message.clone(),
        "id" | "Last-Event-ID" => &["1"],
        "name" if path.ends_with("/password") => &["else"],
        "name" => &["somebody"],
        "table" => &["academico.calificaciones"],
        "action" => &["replay"],
        "who" => &["token:nobody"],
        "rule" => &["alumnos_edad_range"],
        "outcome" => &["pass"],
        "state" => &["done", "queued,running"],
        "stage" => &["contract"],
        "code" => &["invalid_type"],
        "field" => &["edad"],
        "status" => &["open"],
        "since" => &["2h", "2024-06-10T08:00:00Z"],
        "until" => &["0s"],
        "fingerprint" => &["f"],
        "app_id" => &["crm"],
        "contains" => &["Alumno"],
        "limit" => &["1", "1000"],
        "columns" => &["n"],
        "order" => &["n.desc"],
        "topics" => &["operations", "gates,streams"],
        "propietario_id" => &["CLI_00001"],
        "fecha_inicio" => &["2024-06-10"],
        "fecha_fin" | "fecha" => &["2024-06-11"],
        "mes" => &["2024-06"],
        "año" | "anio" => &["2024"],
        "If-Match" => &["*"],
        "wait" => &["100ms", "0s"],
        "Idempotency-Key" => &["k-1"],
        "all" | "count" | "values" | "denied" | "dry_run" => &["true", "false"],
        _ => &[""],
    };
    pick(rng, some).to_owned()
}
