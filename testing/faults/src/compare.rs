//! Compares the database with the expected result.

mod derived;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

use crate::kinds::{KINDS, Kind, Row, kind, text};
use crate::oracle::{Expected, Key, Sent, Verdict, Version, expect};

/// Findings of a comparison.
#[derive(Debug, Default, Clone)]
pub struct Findings {
    /// Different messages that were sent.
    pub messages: u64,
    /// Messages that are nowhere.
    pub lost: u64,
    /// Messages that are in two places, were counted twice or had effect twice.
    pub doubled: u64,
    /// Messages in quarantine.
    pub quarantined: u64,
    /// Messages that wait for their parent.
    pub pending: u64,
    /// Copies that were recognised.
    pub absorbed: u64,
    /// Everything that is not as it should be, in words.
    pub failures: Vec<String>,
}

/// Compares the database with what was sent.
///
/// # Errors
/// When the database does not answer.
pub async fn compare(database: &mut PgConnection, sent: &[Sent]) -> anyhow::Result<Findings> {
    let sent: BTreeMap<Uuid, &Verdict> = sent
        .iter()
        .map(|message| (message.id, &message.verdict))
        .collect();
    let mut findings = Findings {
        messages: sent.len() as u64,
        ..Findings::default()
    };
    let staged = staged(database).await?;
    let quarantined: Vec<Uuid> = sqlx::query_scalar("select message_id from raw.quarantine")
        .fetch_all(&mut *database)
        .await?;
    findings.quarantined = quarantined.len() as u64;
    findings.places(&sent, &staged, &quarantined);

    let unknown: Vec<Uuid> = sent
        .iter()
        .filter(|(_, verdict)| ***verdict == Verdict::Either)
        .map(|(id, _)| *id)
        .collect();
    let accepted = accepted(database, &unknown).await?;
    let good = sent.iter().filter_map(|(id, verdict)| match verdict {
        Verdict::Good(row) => Some((*id, row)),
        _ => None,
    });
    let expected = expect(
        good.clone()
            .chain(accepted.iter().map(|(id, row)| (*id, row))),
    );
    findings.core(database, &expected).await?;
    findings.reconcile(database, expected.core.len()).await?;
    findings.derived(database).await?;
    let marks: HashMap<Uuid, &Row> = good
        .filter(|(_, row)| row.kind.name == "calificacion")
        .collect();
    if accepted.is_empty() {
        findings.audit(database, &marks, &expected).await?;
    }
    Ok(findings)
}

/// Ids of all staged rows.
async fn staged(database: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    for kind in &KINDS {
        let statement = format!("select message_id from {}", kind.staging);
        let some: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_all(&mut *database)
            .await?;
        ids.extend(some);
    }
    Ok(ids)
}

/// The accepted ones of some messages, as they were staged.
async fn accepted(database: &mut PgConnection, ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, Row)>> {
    let mut rows = Vec::new();
    if ids.is_empty() {
        return Ok(rows);
    }
    for name in KINDS.iter().map(|kind| kind.name) {
        let Some(kind) = kind(name) else { continue };
        let statement = format!(
            "select message_id, event_at, to_jsonb(s) from {} s where message_id = any ($1)",
            kind.staging
        );
        let found: Vec<(Uuid, DateTime<Utc>, serde_json::Value)> =
            sqlx::query_as(AssertSqlSafe(statement))
                .bind(ids)
                .fetch_all(&mut *database)
                .await?;
        rows.extend(
            found
                .into_iter()
                .map(|(id, at, fields)| (id, Row::of(kind, &fields, at))),
        );
    }
    Ok(rows)
}

async fn core_rows(
    database: &mut PgConnection,
    kind: &'static Kind,
) -> sqlx::Result<Vec<(Key, Version)>> {
    let list = |columns: &[(&str, &str)]| {
        let columns: Vec<_> = columns
            .iter()
            .map(|(_, column)| format!("coalesce({column}::text, '')"))
            .collect();
        format!("array[{}]::text[]", columns.join(", "))
    };
    let statement = format!(
        "select {}, event_at, message_id, {} from {}",
        list(kind.key),
        list(kind.values),
        kind.core
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .fetch_all(database)
        .await?;
    rows.iter()
        .map(|row| {
            let version = Version {
                event_at: row.try_get(1)?,
                id: row.try_get(2)?,
                values: row.try_get(3)?,
            };
            let key: Vec<String> = row.try_get(0)?;
            Ok(((kind.name, seen(kind.key, &key)), version))
        })
        .collect()
}

impl Findings {
    /// Says a thing at most a few times.
    fn say(&mut self, words: String) {
        if self.failures.len() < 30 {
            self.failures.push(words);
        }
    }

    /// Every message in one place, and in the right one.
    fn places(&mut self, sent: &BTreeMap<Uuid, &Verdict>, staged: &[Uuid], quarantined: &[Uuid]) {
        let good: HashSet<Uuid> = staged.iter().copied().collect();
        let bad: HashSet<Uuid> = quarantined.iter().copied().collect();
        for (id, verdict) in sent {
            match (good.contains(id), bad.contains(id), verdict) {
                (false, false, _) => {
                    self.lost += 1;
                    self.say(format!("lost: {id}"));
                }
                (true, true, _) => {
                    self.doubled += 1;
                    self.say(format!("both staged and in quarantine: {id}"));
                }
                (false, true, Verdict::Good(row)) => {
                    self.say(format!("good, but in quarantine: {id} {row:?}"));
                }
                (true, false, Verdict::Bad) => self.say(format!("bad, but taken for good: {id}")),
                _ => {}
            }
        }
        let twice = (staged.len() - good.len()) + (quarantined.len() - bad.len());
        if twice > 0 {
            self.doubled += twice as u64;
            self.say(format!("{twice} rows are there twice"));
        }
        for stranger in good.union(&bad).filter(|id| !sent.contains_key(*id)) {
            self.say(format!("never sent: {stranger}"));
        }
    }

    /// The core row by row, and the rows that wait.
    async fn core(
        &mut self,
        database: &mut PgConnection,
        expected: &Expected,
    ) -> anyhow::Result<()> {
        let mut found = BTreeMap::new();
        for name in KINDS.iter().map(|kind| kind.name) {
            let Some(kind) = kind(name) else { continue };
            let rows = core_rows(database, kind).await?;
            found.extend(rows);
        }
        for (key, version) in &expected.core {
            match found.get(key) {
                None => {
                    self.lost += 1;
                    self.say(format!("not in the core: {key:?}"));
                }
                Some(row) if !same(key, row, version) => {
                    self.say(format!(
                        "core row {key:?}: found {row:?}, expected {version:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        for key in found.keys().filter(|key| !expected.core.contains_key(*key)) {
            self.say(format!(
                "in the core, but never sent or still waiting: {key:?}"
            ));
        }
        let pending: Vec<Uuid> = sqlx::query_scalar("select message_id from core.pending")
            .fetch_all(database)
            .await?;
        self.pending = pending.len() as u64;
        let pending: BTreeSet<Uuid> = pending.into_iter().collect();
        for id in pending.symmetric_difference(&expected.pending) {
            self.say(format!(
                "waits and should not, or should and does not: {id}"
            ));
        }
        Ok(())
    }

    /// The ledger, as the database itself keeps them.
    async fn reconcile(&mut self, database: &mut PgConnection, rows: usize) -> anyhow::Result<()> {
        let (received, duplicates, inserted, unaccounted, staged): (i64, i64, i64, i64, i64) =
            sqlx::query_as(
                "select coalesce(sum(received), 0)::bigint, coalesce(sum(duplicates), 0)::bigint, \
                 coalesce(sum(inserted), 0)::bigint, coalesce(sum(abs(unaccounted)), 0)::bigint, \
                 coalesce(sum(staged), 0)::bigint from core.conservation",
            )
            .fetch_one(database)
            .await?;
        self.absorbed = duplicates.unsigned_abs();
        if unaccounted != 0 || staged != 0 {
            self.say(format!(
                "core.conservation: unaccounted {unaccounted}, staged {staged}"
            ));
        }
        let surplus = received - duplicates - i64::try_from(self.messages)?;
        if surplus != 0 {
            if surplus > 0 {
                self.doubled += surplus.unsigned_abs();
            } else if self.lost == 0 {
                self.lost += surplus.unsigned_abs();
            }
            self.say(format!(
                "counted {} different messages, sent {}",
                received - duplicates,
                self.messages
            ));
        }
        let twice = inserted - i64::try_from(rows)?;
        if twice != 0 {
            self.doubled += twice.unsigned_abs();
            self.say(format!("{inserted} rows inserted, {rows} are there"));
        }
        Ok(())
    }

    /// The changes of marks: a chain without gap or repetition that ends at the core's mark.
    async fn audit(
        &mut self,
        database: &mut PgConnection,
        marks: &HashMap<Uuid, &Row>,
        expected: &Expected,
    ) -> anyhow::Result<()> {
        let changes: Vec<(i32, i32, String, String, Uuid, Uuid)> = sqlx::query_as(
            "select id_alumno, id_grupo, calificacion_anterior::text, calificacion_nueva::text, \
             message_id_anterior, message_id from academico.calificaciones_audit order by audit_id",
        )
        .fetch_all(&mut *database)
        .await?;
        let mut seen = HashSet::new();
        let mut last: HashMap<(i32, i32), String> = HashMap::new();
        for (alumno, grupo, before, after, old, new) in changes {
            if !seen.insert(new) {
                self.doubled += 1;
                self.say(format!("a change was applied twice: {new}"));
            }
            let mark = |id: &Uuid| marks.get(id).map(|row| row.values[0].clone());
            let followed = last
                .get(&(alumno, grupo))
                .is_none_or(|mark| *mark == before);
            if mark(&old).as_ref() != Some(&before)
                || mark(&new).as_ref() != Some(&after)
                || !followed
            {
                self.say(format!(
                    "a change that nobody made: {old} {before} to {new} {after}"
                ));
            }
            last.insert((alumno, grupo), after);
        }
        for ((alumno, grupo), mark) in last {
            let key = ("calificacion", vec![alumno.to_string(), grupo.to_string()]);
            if expected
                .core
                .get(&key)
                .is_some_and(|row| row.values[0] != mark)
            {
                self.say(format!("the last change of {key:?} is not in the core"));
            }
        }
        Ok(())
    }
}

/// Values as the comparison sees them.
fn seen(columns: &[(&str, &str)], values: &[String]) -> Vec<String> {
    std::iter::zip(columns, values)
        .map(|((field, _), value)| text(field, &value.as_str().into()))
        .collect()
}

fn same(key: &Key, found: &Version, expected: &Version) -> bool {
    let Some(kind) = kind(key.0) else {
        return false;
    };
    (found.event_at, found.id) == (expected.event_at, expected.id)
        && seen(kind.values, &found.values) == seen(kind.values, &expected.values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_in_no_place_or_in_two_is_noticed() {
        let fields = json!({"id_alumno": 1});
        let message = Row::of(kind("alumno").unwrap(), &fields, DateTime::UNIX_EPOCH);
        let ids: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        let good = Verdict::Good(message);
        let sent = [
            (ids[0], &good),
            (ids[1], &good),
            (ids[2], &Verdict::Bad),
            (ids[3], &Verdict::Either),
        ];
        let mut findings = Findings::default();
        findings.places(&sent.into(), &[ids[1], ids[2]], &[ids[1], ids[3], ids[3]]);
        assert_eq!((findings.lost, findings.doubled), (1, 2));
        assert_eq!(findings.failures.len(), 4, "{:?}", findings.failures);
    }
}
