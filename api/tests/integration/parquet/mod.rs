//! Rows of marts as Parquet: read back by the format's record reader, beside the JSON of the same call and beside the
//! database.

mod file;
mod forms;

use std::collections::BTreeMap;

use acequia_api::auth::Role;
use acequia_contracts::catalog;
use chrono::{DateTime, NaiveDateTime, Utc};
use clap::Command;
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;

use self::file::{File, plain};
use crate::support::{Answer, Platform};

/// Asks for a page as Parquet.
async fn ask(platform: &Platform, token: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/vnd.apache.parquet"),
    ];
    platform.call("GET", path, &headers, "").await
}

/// A page as JSON, its numbers with every digit.
#[derive(Deserialize)]
struct Page {
    rows: Vec<BTreeMap<String, Box<RawValue>>>,
    next: Option<String>,
}

/// A value of an answer in JSON as [`File`] shows it.
fn said(raw: &RawValue, sql_type: &str) -> Option<String> {
    if raw.get() == "null" {
        return None;
    }
    let text: String = serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    if !sql_type.starts_with("timestamp") {
        return Some(plain(&text, sql_type));
    }
    let clock = || text.parse::<NaiveDateTime>().unwrap().and_utc();
    let instant = text.parse::<DateTime<Utc>>().unwrap_or_else(|_| clock());
    Some(instant.timestamp_micros().to_string())
}

/// Every row of a mart by PostgreSQL itself, in any order.
async fn stored(platform: &Platform, mart: &str, columns: &[(&str, &str)]) -> Vec<Vec<String>> {
    let cells: Vec<_> = columns
        .iter()
        .map(|(name, sql_type)| {
            if sql_type.starts_with("timestamp") {
                format!("(extract(epoch from \"{name}\") * 1000000)::bigint::text")
            } else {
                format!("to_json(\"{name}\") #>> '{{}}'")
            }
        })
        .map(|cell| format!("coalesce({cell}, 'null')"))
        .collect();
    let query = format!("select array[{}]::text[] from {mart}", cells.join(", "));
    let rows: Vec<Vec<String>> = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(&mut platform.connect().await)
        .await
        .unwrap();
    let plain_row = |row: Vec<String>| {
        let cells = row.into_iter().zip(columns);
        cells
            .map(|(cell, (_, sql_type))| match cell.as_str() {
                "null" => cell,
                _ => plain(&cell, sql_type),
            })
            .collect()
    };
    rows.into_iter().map(plain_row).collect()
}

/// Some anomalies as if a corrected reading had taken them back.
const TAKEN_BACK: &str = "
with gone as (
    delete from consumo.anomalias a
    where (a.propietario_id, a.modo, a.instante, a.ambito) in (
        select x.propietario_id, x.modo, x.instante, x.ambito
        from consumo.anomalias x join consumo.modos m on m.modo = x.modo and m.principal
        order by 1, 2, 3, 4 limit 3)
    returning a.*
)
insert into consumo.retiradas (propietario_id, modo, instante, ambito, fecha, hora, consumo_kwh, tipos, score, severidad, detectada_at)
select g.propietario_id, g.modo, g.instante, g.ambito, g.fecha, g.hora, g.consumo_kwh, g.tipos, g.score, g.severidad, g.detectada_at
from gone g";

/// Made-up messages of every domain, merged, and marts that show them. The worker has ended by then: nothing changes.
async fn fill(platform: &Platform) {
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, None).await;
    let mut sent = 0;
    let few = [
        (
            "academico",
            &[
                "--alumnos",
                "200",
                "--grupos",
                "20",
                "--maestros",
                "8",
                "--inscripciones",
                "1500",
                "--calificaciones",
                "3000",
            ][..],
        ),
        (
            "consumo",
            &[
                "--clients",
                "8",
                "--days",
                "40",
                "--suspicious",
                "40",
                "--start",
                "2024-09-25",
            ],
        ),
    ];
    for domain in catalog() {
        let (name, Some(generator)) = (domain.name, domain.generator) else {
            continue;
        };
        let options = few.iter().find(|(of, _)| *of == name);
        let options = options.map_or(&[][..], |(_, options)| options);
        let options = generator
            .options(Command::new("test").no_binary_name(true))
            .get_matches_from(options);
        let mut parts: Vec<(&str, Vec<String>)> = Vec::new();
        for message in generator.generate(&options, 3).unwrap() {
            let body = String::from_utf8(message.body).unwrap();
            match parts.last_mut() {
                Some((entity, lines)) if *entity == message.entity && lines.len() < 5_000 => {
                    lines.push(body);
                }
                _ => parts.push((message.entity, vec![body])),
            }
        }
        for (entity, lines) in parts {
            let path = format!("/v1/messages/{name}/{entity}");
            let answer = platform.post_lines(&token, &path, &lines.join("\n")).await;
            assert_eq!(answer.is(200)["sent"], lines.len());
            sent += i64::try_from(lines.len()).unwrap();
        }
    }
    acequia_testkit::wait_for("merged messages", async || {
        let received = "select coalesce(sum(received), 0)::bigint from core.conservation";
        let open = "select coalesce(sum(staged + pending), 0)::bigint from core.conservation";
        Ok(platform.number(received).await >= sent && platform.number(open).await == 0)
    })
    .await
    .unwrap();
    worker.stop().await;
    platform.execute(TAKEN_BACK).await;
    let refresh = platform
        .texts("select format('refresh materialized view %s', mart) from core.marts where kind = 'materialized' order by position")
        .await;
    for statement in refresh {
        platform.execute(&statement).await;
    }
}

/// Columns that say when they were computed: two calls differ.
const COMPUTED: [(&str, &str); 1] = [("marts.consumo_mensual", "timestamp")];

#[tokio::test(flavor = "multi_thread")]
async fn every_mart_as_parquet_is_what_json_and_database_say() {
    let (platform, api) = Platform::new().await;
    fill(&platform).await;
    let token = platform.token(Role::Analyst, None).await;
    let marts = platform.get(&token, "/v1/marts").await.is(200);
    let mut checked = BTreeMap::new();
    for mart in marts["items"].as_array().unwrap() {
        let name = mart["mart"].as_str().unwrap();
        let path = format!("/v1/marts/{name}/schema");
        let schema = platform.get(&token, &path).await.is(200);
        let columns: Vec<(&str, &str)> = schema["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let text = |field: &str| column[field].as_str().unwrap();
                (text("name"), text("sql_type"))
            })
            .filter(|(column, _)| !COMPUTED.contains(&(name, column)))
            .collect();
        let path = format!("/v1/marts/{name}?limit=10000&count=true");
        let json = platform.get(&token, &path).await;
        let answer = ask(&platform, &token, &path).await;
        assert_eq!((json.status, answer.status), (200, 200), "{name}");
        let page: Page = serde_json::from_str(&json.text).unwrap();
        assert!(page.next.is_none(), "{name} has more than a page");

        let file = File::read(&answer.body);
        assert_eq!(
            file.columns.len(),
            schema["columns"].as_array().unwrap().len()
        );
        let seen: Vec<Vec<_>> = file.rows_of(&columns);
        let told: Vec<Vec<_>> = page
            .rows
            .iter()
            .map(|row| {
                let cells = columns.iter();
                cells
                    .map(|(column, sql_type)| said(&row[*column], sql_type))
                    .collect()
            })
            .collect();
        assert!(seen == told, "{name}: Parquet and JSON differ");
        let mut seen: Vec<Vec<_>> = seen
            .into_iter()
            .map(|row| {
                let cells = row.into_iter();
                cells
                    .map(|cell| cell.unwrap_or_else(|| "null".to_owned()))
                    .collect()
            })
            .collect();
        let mut kept = stored(&platform, name, &columns).await;
        seen.sort();
        kept.sort();
        assert!(seen == kept, "{name}: Parquet and database differ");

        // What was not observed yet may be by the next call: the file says what its own headers say.
        for header in ["as-of", "complete-through", "trusted", "status", "count"] {
            let said = answer.header(&format!("acequia-{header}"));
            let kept = file.about.get(&format!("acequia.{header}"));
            assert_eq!(kept.map_or("", String::as_str), said, "{name} {header}");
        }
        for header in ["acequia-as-of", "acequia-count"] {
            assert!(!answer.header(header).is_empty(), "{name} {header}");
            assert_eq!(answer.header(header), json.header(header), "{name}");
        }
        assert!(["true", "false"].contains(&answer.header("acequia-trusted")));
        assert_eq!(file.about["acequia.mart"], name);
        assert_eq!(file.about["acequia.about"], mart["about"].as_str().unwrap());
        let of_file: serde_json::Value =
            serde_json::from_str(&file.about["acequia.columns"]).unwrap();
        assert_eq!(of_file, schema["columns"], "{name}");
        checked.insert(name.to_owned(), file.rows.len());
    }
    for domain in catalog() {
        let of = marts["items"].as_array().unwrap().iter();
        let of = of.filter(|mart| mart["domain"] == domain.name).count();
        assert!(of > 0, "{} has no mart", domain.name);
    }
    let empty: Vec<_> = checked.iter().filter(|(_, rows)| **rows == 0).collect();
    assert!(empty.is_empty(), "these say little: {empty:?}");
    api.stop().await;
}
