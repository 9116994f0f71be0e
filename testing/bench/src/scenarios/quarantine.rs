//! A million refused messages: how long the API takes to list and to group them.

use std::time::Instant;

use crate::environment::BenchEnv;
use crate::sample::{Sample, Spread};
use crate::scenarios::api::Api;

/// Rows of the quarantine.
const ROWS: u32 = 1_000_000;
/// Calls of each question, after one that is not counted.
const CALLS: usize = 20;

/// Queries: description and path.
const QUESTIONS: [(&str, &str); 10] = [
    ("newest 100", "/v1/quarantine?limit=100"),
    (
        "open ones of a domain",
        "/v1/quarantine?status=open&domain=academico&limit=100",
    ),
    (
        "a frequent code",
        "/v1/quarantine?code=invalid_type&limit=100",
    ),
    (
        "a rare code, 10 rows",
        "/v1/quarantine?code=too_deep&limit=100",
    ),
    (
        "a rare field, 10 rows",
        "/v1/quarantine?field=raro&limit=100",
    ),
    ("rows of a group", "/v1/quarantine?fingerprint=f3&limit=100"),
    (
        "rows of a rare group, 10 rows",
        "/v1/quarantine?fingerprint=rare&limit=100",
    ),
    ("the last hour", "/v1/quarantine?since=1h&limit=100"),
    ("groups", "/v1/quarantine/groups"),
    (
        "groups of open ones",
        "/v1/quarantine/groups?status=open&domain=academico",
    ),
];

/// A month of messages of many causes; a tenth is not open any more, and ten are of a rare cause.
const FILL: &str = "
insert into core.batches (batch_id, domain, queue, worker, state) values (900000, 'academico', 'acequia.academico', 'bench', 'promoted');
insert into core.batch_entities (batch_id, domain, entity, received, quarantined) values (900000, 'academico', 'alumno', {rows}, {rows});
insert into raw.quarantine (message_id, day, batch_id, domain, entity, queue, stage, code, field_path, message, violations, body,
    properties, fingerprint, received_at, last_seen_at, status)
select ('00000000-0000-8000-8000-' || lpad(i::text, 12, '0'))::uuid, '1970-01-01', 900000, 'academico', 'alumno', 'acequia.academico',
    'contract', case when i % ({rows} / 10) = 0 then 'too_deep' else (array['invalid_type', 'out_of_range', 'missing_field', 'orphan'])[1 + i % 4] end,
    case when i % ({rows} / 10) = 0 then 'raro' else 'field_' || i % 10 end, 'must be a number',
    '[{\"code\": \"invalid_type\", \"path\": \"edad\", \"message\": \"must be a number\"}]',
    convert_to(format('{\"id_alumno\":%s,\"nombre\":\"Alumno %s\",\"edad\":\"veinte\",\"genero\":\"F\",\"nota\":\"%s\"}', i, i, repeat('x', 100)), 'UTF8'),
    jsonb_build_object('exchange', 'acequia', 'routing_key', 'academico.alumno', 'type', 'academico.alumno', 'app_id', 'escuela'),
    case when i % ({rows} / 10) = 0 then 'rare' else 'f' || i % 20 end, at, at, case when i % 10 = 0 then 'discarded' else 'open' end
from (select i, now() - (interval '30 days') * ({rows} - i) / {rows} as at from generate_series(1, {rows}) i) made;
";

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let environment = bench.environment().await?;
    let mut owner = environment.owner().await?;
    let fill = FILL.replace("{rows}", &ROWS.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(fill))
        .execute(&mut owner)
        .await?;
    sqlx::raw_sql("vacuum analyze raw.quarantine")
        .execute(&mut owner)
        .await?;
    environment.checkpoint().await?;
    let api = Api::start(&environment).await?;
    let mut samples = Vec::new();
    for (case, path) in QUESTIONS {
        api.get(path).await?;
        let mut took = Vec::new();
        for _ in 0..CALLS {
            let begun = Instant::now();
            api.get(path).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        if let Some(spread) = Spread::of(took) {
            samples.push(
                Sample::new(case)
                    .with("call_p50_ms", spread.median)
                    .with("call_max_ms", spread.highest),
            );
        }
    }
    api.stop().await?;
    environment.clear().await?;
    Ok(samples)
}
