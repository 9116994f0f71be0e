//! The pages of docs/marts: every mart and column of the database is on them and none that is not there, and every
//! question on them has the answer that stands below it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use acequia_contracts::catalog;
use sqlx::{AssertSqlSafe, Column as _, Connection as _, PgConnection, Row as _, ValueRef as _};

use crate::consumo::{self, body};
use crate::permutations::{Feed, demo};
use crate::support::Platform;

const REWRITE: &str = "ACEQUIA_REWRITE=1 cargo test --workspace --test integration mart_pages";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/marts")
}

fn page(domain: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{domain}.md"))).unwrap_or_default()
}

/// The columns of each mart as a page has them: the first cells of the first table of its section.
fn columns_of(page: &str) -> BTreeMap<String, Vec<String>> {
    let mut marts = BTreeMap::new();
    for section in page.split("\n## marts.").skip(1) {
        let (name, text) = section.split_once('\n').unwrap_or((section, ""));
        let table = text
            .lines()
            .skip_while(|line| !line.starts_with("| column |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let columns = table.filter_map(|line| line.split('`').nth(1));
        marts.insert(
            format!("marts.{}", name.trim()),
            columns.map(str::to_owned).collect(),
        );
    }
    marts
}

/// A question of a page: its SQL, and the table below it.
struct Question<'a> {
    sql: &'a str,
    answer: &'a str,
}

fn questions(page: &str) -> Vec<Question<'_>> {
    let parts = page.split("```sql\n").skip(1);
    parts
        .map(|part| {
            let (sql, rest) = part.split_once("\n```\n").unwrap();
            let rest = rest.trim_start_matches('\n');
            let end = rest
                .split_inclusive('\n')
                .take_while(|line| line.starts_with('|'))
                .map(str::len)
                .sum();
            Question {
                sql,
                answer: rest[..end].trim_end(),
            }
        })
        .collect()
}

/// The answer of the database, as a table of Markdown.
async fn answer(connection: &mut PgConnection, sql: &str) -> Result<String, String> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await
        .map_err(|error| format!("{sql}\n{error}"))?;
    let Some(first) = rows.first() else {
        return Err(format!("{sql}\nno row: the question is not worth asking"));
    };
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let names: Vec<_> = first
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    let mut table = vec![
        line(names.clone()),
        format!("|{}", "---|".repeat(names.len())),
    ];
    for row in &rows {
        let cells = (0..names.len()).map(|place| {
            let value = row.try_get_raw(place).unwrap();
            match value.is_null() {
                true => String::new(),
                false => value.as_str().unwrap().replace('|', "\\|"),
            }
        });
        table.push(line(cells.collect()));
    }
    Ok(table.join("\n"))
}

/// The faults of a page.
async fn wrong(connection: &mut PgConnection, domain: &str, page: &str) -> Vec<String> {
    let there: Vec<(String, Vec<String>)> = sqlx::query_as(
        "select m.mart, array_agg(a.attname::text order by a.attnum)
         from core.marts m
         join pg_attribute a on a.attrelid = to_regclass(m.mart) and a.attnum > 0 and not a.attisdropped
         where m.domain = $1 group by m.mart",
    )
    .bind(domain)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let there: BTreeMap<_, _> = there.into_iter().collect();
    let described = columns_of(page);
    let mut wrong = Vec::new();
    for (mart, columns) in &there {
        match described.get(mart) {
            None => wrong.push(format!("docs/marts/{domain}.md has no section ## {mart}")),
            Some(found) if found != columns => {
                wrong.push(format!("columns of {mart}: {found:?}, not {columns:?}"));
            }
            Some(_) => {}
        }
    }
    let more = described.keys().filter(|mart| !there.contains_key(*mart));
    wrong.extend(more.map(|mart| format!("{mart} is on the page, but no mart of {domain}")));
    for section in page.split("\n## marts.").skip(1) {
        let name = section.lines().next().unwrap_or("");
        for part in ["**Grain:**", "**What it cannot say:**", "```sql"] {
            if !section.contains(part) {
                wrong.push(format!("marts.{name}: no {part}"));
            }
        }
    }
    for question in questions(page) {
        match answer(connection, question.sql).await {
            Ok(answer) if answer == question.answer => {}
            Ok(answer) => wrong.push(format!("{}\nanswers\n{answer}", question.sql)),
            Err(error) => wrong.push(error),
        }
    }
    wrong
}

/// The page with the database's answers below its questions.
async fn rewritten(connection: &mut PgConnection, page: &str) -> String {
    let mut text = page.to_owned();
    for question in questions(page) {
        let answer = answer(connection, question.sql).await.unwrap();
        let block = format!("```sql\n{}\n```\n", question.sql);
        let (before, after) = text.split_once(&block).unwrap();
        let after = after.trim_start_matches('\n');
        let after = after.strip_prefix(question.answer).unwrap();
        let after = after.trim_start_matches('\n');
        text = format!("{before}{block}\n{answer}\n\n{after}");
    }
    format!("{}\n", text.trim_end())
}

/// A school, a supplier of electricity, and what the generators of other domains make: fixed messages, so that the answers
/// are always the same.
async fn filled() -> Platform {
    let platform = Platform::new().await;
    for domain in catalog() {
        if domain.generator.is_some() && !["academico", "consumo"].contains(&domain.name) {
            let made = consumo::generated_by(domain, "--seed 3");
            let mut feed = consumo::Feed::of(&platform, domain).await;
            feed.send(&made).await;
        }
    }
    let mut school = Feed::new(&platform.database).await;
    school.send(&demo(), 2_000).await;
    school.refresh().await;

    let options =
        "--clients 14 --days 60 --start 2024-02-01 --suspicious 30 --profile realistic --seed 3";
    let mut messages = consumo::generated(options);
    let is = |sent: &consumo::Sent, client: &str| body(sent)["propietario_id"] == client;
    // The second client falls silent, the third has a hole of some hours; one has a contract and no reading.
    messages.retain(|sent| {
        let at = body(sent)["timestamp"].as_str().unwrap_or("").to_owned();
        let silent = is(sent, "CLI_00002") && at.as_str() >= "2024-03-25";
        let hole = is(sent, "CLI_00003") && at.starts_with("2024-03-12T0");
        !silent && !hole
    });
    let contract = serde_json::json!({"propietario_id": "CLI_90001", "nombre": "Casa sin contador", "tarifa": "2.0TD",
        "distrito": "Centro", "ts": "2024-02-01T00:00:00Z"});
    messages.push(consumo::Sent::new("cliente", &contract));
    let mut supplier = consumo::Feed::new(&platform).await;
    supplier.send(&messages).await;
    // A peak that was a mistake of the meter.
    let peak = "select propietario_id || ' ' || to_char(instante at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') || ' ' || hora
        from marts.consumo_anomalias where principal and ambito = 'hora' order by instante, propietario_id limit 1";
    let peak = platform.texts(peak).await.remove(0);
    let parts: Vec<_> = peak.split(' ').collect();
    let hour = parts[2].parse().unwrap();
    let mended = consumo::Sent::reading(parts[0], parts[1], hour, 300, "2024-06-01T00:00:00Z");
    supplier.send(&[mended]).await;
    platform
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mart_is_explained_and_every_question_is_answered() {
    let platform = filled().await;
    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    // The pages name zones where they matter.
    sqlx::raw_sql("set time zone 'UTC'")
        .execute(&mut analyst)
        .await
        .unwrap();
    let mut owner = platform.connect().await;
    sqlx::raw_sql("set time zone 'UTC'")
        .execute(&mut owner)
        .await
        .unwrap();
    for domain in catalog() {
        if std::env::var_os("ACEQUIA_REWRITE").is_some() {
            let text = rewritten(&mut analyst, &page(domain.name)).await;
            std::fs::write(folder().join(format!("{}.md", domain.name)), text).unwrap();
        }
        let found = page(domain.name);
        let problems = wrong(&mut owner, domain.name, &found).await;
        assert!(problems.is_empty(), "{}\n{REWRITE}", problems.join("\n"));
        for question in questions(&found) {
            answer(&mut analyst, question.sql).await.unwrap();
        }

        // A page that is wrong is found out.
        let (mart, columns) = columns_of(&found).into_iter().next().unwrap();
        let column = &columns[1];
        let question = questions(&found)[0].sql.to_owned();
        for (place, instead, sign) in [
            (
                format!("## {mart}\n"),
                "## marts.nothing\n".to_owned(),
                mart.clone(),
            ),
            (
                format!("| `{column}` |"),
                "| `nothing` |".to_owned(),
                "nothing".to_owned(),
            ),
            (
                question,
                "select nothing".to_owned(),
                "\"nothing\"".to_owned(),
            ),
            (
                "**Grain:**".to_owned(),
                String::new(),
                "no **Grain:**".to_owned(),
            ),
        ] {
            let mutant = found.replacen(&place, &instead, 1);
            assert_ne!(mutant, found, "{place}");
            let problems = wrong(&mut owner, domain.name, &mutant).await.join("\n");
            assert!(problems.contains(&sign), "{place}: {problems}");
        }
        let answer = questions(&found)[0].answer.to_owned();
        let mutant = found.replacen(&answer, &answer.replacen(" |", "0 |", 3), 1);
        let problems = wrong(&mut owner, domain.name, &mutant).await.join("\n");
        assert!(problems.contains("answers"), "{problems}");
    }
}
