//! Order and repetition do not matter: random messages over few keys, in random orders, batches
//! and promotions, always give the core that the oracle tells.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Context, Domain};
use acequia_net::{SecretUrl, topology};
use acequia_store::db;
use acequia_store::marts::{self, Refreshed};
use acequia_store::promotion;
use acequia_store::staging::{DecodedBatch, Store, WriteMode};
use acequia_testkit::TestDatabase;
use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::marts::compare_marts;
use crate::oracle::{Core, Oracle, Outcome, Pending};
use crate::support::Platform;

const QUEUE: &str = "acequia.academico";
const ENTITIES: [&str; 6] = [
    "maestro",
    "materia",
    "grupo",
    "alumno",
    "inscripcion",
    "calificacion",
];

/// A message as a publisher sends it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub entity: &'static str,
    pub published_at: DateTime<Utc>,
    pub body: Vec<u8>,
}

impl Sent {
    /// A message of now.
    pub fn new(id: u128, entity: &'static str, body: &Value) -> Self {
        Self {
            id: Uuid::from_u128(id).to_string(),
            entity,
            published_at: Utc::now(),
            body: body.to_string().into_bytes(),
        }
    }

    pub fn message_id(&self) -> Uuid {
        Identity::of_text(&self.id).id
    }

    pub fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(
            "x-published-at".into(),
            AMQPValue::LongLongInt(self.published_at.timestamp_micros()),
        );
        BasicProperties::default()
            .with_message_id(self.id.as_str().into())
            .with_headers(headers)
    }

    pub fn routing_key(&self) -> String {
        format!("academico.{}", self.entity)
    }

    pub fn tell(&self, oracle: &mut Oracle) {
        oracle.hear(
            self.message_id(),
            self.published_at,
            self.entity,
            &self.body,
        );
    }
}

/// The worker's own way from a delivery to the core, without the broker.
pub struct Feed {
    pub connection: PgConnection,
    store: Store,
    domain: &'static Domain,
}

impl Feed {
    /// With the rights of the worker.
    pub async fn new(database: &TestDatabase) -> Self {
        let domain = acequia_contracts::domain("academico").unwrap();
        let url = SecretUrl::parse(&database.worker, &["postgres"]).unwrap();
        Self {
            connection: db::connect(&url, "test").await.unwrap(),
            store: Store::new("test", &[domain]),
            domain,
        }
    }

    /// Stages one batch.
    pub async fn stage(&mut self, batch: &[&Sent]) {
        let deliveries: Vec<Delivery> = (1..)
            .zip(batch)
            .map(|(tag, sent)| {
                let (exchange, key) = ("acequia".into(), sent.routing_key().into());
                let mut delivery = Delivery::mock(tag, exchange, key, false, sent.body.clone());
                delivery.properties = sent.properties();
                delivery
            })
            .collect();
        self.stage_deliveries(&deliveries).await;
    }

    async fn stage_deliveries(&mut self, deliveries: &[Delivery]) {
        let context = Context::now();
        let mut decoded = DecodedBatch::new(self.domain);
        for (position, delivery) in deliveries.iter().enumerate() {
            decoded.add(position, delivery, QUEUE, &context);
        }
        self.store
            .write(
                &mut self.connection,
                QUEUE,
                &decoded,
                deliveries,
                WriteMode::Commit,
            )
            .await
            .unwrap();
    }

    /// Promotes the oldest batches; false when there was nothing to promote.
    pub async fn promote(&mut self, max_rows: i32) -> bool {
        let promoted = promotion::promote(&mut self.connection, self.domain.name, max_rows).await;
        !promoted.unwrap().is_empty()
    }

    /// Promotes until nothing is left.
    pub async fn promote_all(&mut self) {
        while self.promote(20_000).await {}
    }

    /// The materialized marts that the refresh loop would refresh with this bound of a backlog.
    pub async fn due(&mut self, backlog: Option<i32>) -> Vec<String> {
        let due = marts::due(&mut self.connection, self.domain.name, backlog).await;
        due.unwrap().into_iter().map(|(mart, _)| mart).collect()
    }

    /// Refreshes the materialized marts that are behind.
    pub async fn refresh(&mut self) {
        for mart in self.due(None).await {
            let refreshed = marts::refresh(
                &mut self.connection,
                &mart,
                std::time::Duration::from_secs(60),
            )
            .await
            .unwrap();
            assert!(
                matches!(refreshed, Refreshed::Rows(_)),
                "{mart}: {refreshed:?}"
            );
        }
    }

    /// Stages messages in batches of this size and promotes them.
    pub async fn send(&mut self, messages: &[Sent], batch: usize) {
        for batch in messages.chunks(batch) {
            self.stage(&batch.iter().collect::<Vec<_>>()).await;
        }
        self.promote_all().await;
    }
}

/// The core and what waits for it, as they are.
pub async fn outcome_of(connection: &mut PgConnection) -> Outcome {
    macro_rules! table {
        ($sql:literal) => {
            sqlx::query_as($sql)
                .fetch_all(&mut *connection)
                .await
                .unwrap()
        };
    }
    let core = Core {
        maestros: table!("select * from academico.maestros order by id"),
        materias: table!("select * from academico.materias order by id"),
        grupos: table!("select * from academico.grupos order by id"),
        alumnos: table!("select * from academico.alumnos order by id"),
        inscripciones: table!("select * from academico.inscripciones order by id_alumno, id_grupo"),
        calificaciones: table!(
            "select * from academico.calificaciones order by id_alumno, id_grupo"
        ),
    };
    let waiting: Vec<(String, Uuid, String, String)> =
        table!("select entity, message_id, parent, parent_key from core.pending");
    let name = |name: &str| {
        let found = ENTITIES
            .iter()
            .find(|entity| name == format!("academico.{entity}"));
        *found.unwrap()
    };
    let mut pending: Vec<_> = waiting
        .into_iter()
        .map(|(entity, message_id, parent, key)| Pending {
            entity: name(&entity),
            message_id,
            missing: BTreeSet::from([(name(&parent), key.parse().unwrap())]),
        })
        .collect();
    pending.sort();
    Outcome { core, pending }
}

/// Compares the result with the oracle's. A row that lacks two parents waits for one of them.
fn compare(found: &Outcome, oracle: &Oracle) -> Result<(), String> {
    let mut expected = oracle.outcome();
    for (right, found) in expected.pending.iter_mut().zip(&found.pending) {
        if found.missing.is_subset(&right.missing) {
            right.missing.clone_from(&found.missing);
        }
    }
    found.difference(&expected).map_or(Ok(()), Err)
}

/// What `core.batch_entities` or `core.conservation` says about an entity.
#[derive(Debug, Default, PartialEq, sqlx::FromRow)]
struct LedgerEntry {
    received: i64,
    duplicates: i64,
    staged: i64,
    inserted: i64,
    /// Updated, unchanged or stale: which one depends on the order.
    otherwise: i64,
    pending: i64,
    quarantined: i64,
}

#[derive(sqlx::FromRow)]
struct NamedAccount {
    entity: String,
    #[sqlx(flatten)]
    entry: LedgerEntry,
}

async fn ledger(
    connection: &mut PgConnection,
    query: &'static str,
) -> BTreeMap<String, LedgerEntry> {
    let rows: Vec<NamedAccount> = sqlx::query_as(query).fetch_all(connection).await.unwrap();
    rows.into_iter()
        .map(|row| (row.entity, row.entry))
        .collect()
}

const BATCHES: &str = "
select entity, sum(received)::bigint received, sum(duplicates)::bigint duplicates, sum(staged)::bigint staged,
       sum(inserted)::bigint inserted, sum(updated + unchanged + stale)::bigint otherwise,
       sum(pending)::bigint pending, sum(quarantined)::bigint quarantined
from core.batch_entities group by entity";
const CONSERVATION: &str = "
select entity, received::bigint, duplicates::bigint, staged::bigint, inserted::bigint,
       (promoted - inserted + stale)::bigint otherwise, pending::bigint, quarantined::bigint
from core.conservation where unaccounted = 0";

/// The accounts as they must be after these deliveries, the bad ones among them.
fn expected_ledger(
    deliveries: &[&Sent],
    bad: &[&Sent],
    oracle: &Oracle,
) -> BTreeMap<String, LedgerEntry> {
    let Outcome { core, pending } = oracle.outcome();
    let rows = [
        core.maestros.len(),
        core.materias.len(),
        core.grupos.len(),
        core.alumnos.len(),
        core.inscripciones.len(),
        core.calificaciones.len(),
    ];
    let number = |count: usize| i64::try_from(count).unwrap();
    let of_entity = |(entity, inserted): (&str, usize)| {
        let received = deliveries.iter().filter(|sent| sent.entity == entity);
        let waiting = pending.iter().filter(|row| row.entity == entity);
        let bad: BTreeSet<_> = bad
            .iter()
            .filter(|sent| sent.entity == entity)
            .map(|sent| &sent.id)
            .collect();
        let (received, pending) = (number(received.count()), number(waiting.count()));
        let (good, inserted) = (number(oracle.count(entity)), number(inserted));
        let quarantined = number(bad.len());
        let entry = LedgerEntry {
            received,
            duplicates: received - good - quarantined,
            staged: 0,
            inserted,
            otherwise: good - inserted - pending,
            pending,
            quarantined,
        };
        (entity.to_owned(), entry)
    };
    ENTITIES
        .into_iter()
        .zip(rows)
        .map(of_entity)
        .filter(|(_, entry)| entry.received > 0)
        .collect()
}

/// What a random message says.
#[derive(Debug, Clone)]
enum Said {
    Maestro {
        id: i32,
        name: usize,
        area: Option<usize>,
    },
    Materia {
        id: i32,
        name: usize,
        credits: i32,
    },
    Grupo {
        id: i32,
        subject: i32,
        teacher: i32,
        period: usize,
        day: Option<usize>,
    },
    Alumno {
        id: i32,
        name: usize,
        age: i32,
        woman: bool,
    },
    Inscripcion {
        student: i32,
        group: i32,
        day: Option<usize>,
    },
    Calificacion {
        student: i32,
        group: i32,
        cents: i32,
        day: Option<usize>,
    },
    /// Something that no contract accepts, under this entity.
    Nonsense {
        entity: usize,
    },
}

const NAMES: [&str; 2] = ["Ana", "Íñigo Peña"];
const PERIODS: [&str; 2] = ["2024A", "2024B"];
const DAYS: [&str; 2] = ["2024-03-10", "2024-06-01"];
/// Few instants, so that versions tie; close to midnight, so that days differ between offsets.
const INSTANTS: [&str; 5] = [
    "2024-03-09T20:00:00Z",
    "2024-03-09T23:59:59.999999Z",
    "2024-03-10T00:00:00Z",
    "2024-03-10T00:00:00.000001Z",
    "2024-03-10T04:30:00Z",
];

/// A random message and where its copies stand in two orders: copies are sorted by these numbers.
#[derive(Debug, Clone)]
struct Random {
    said: Said,
    /// Instant and way of writing it; without one the time of publishing counts.
    ts: Option<(usize, Writing)>,
    published: usize,
    /// Capitals, spaces, aliases, unknown fields: other bytes, same meaning.
    loud: bool,
    one_order: Vec<u16>,
    other_order: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
enum Writing {
    Utc,
    East,
    West,
    /// With nanoseconds, which PostgreSQL does not keep.
    Fine,
}

/// What happens after a delivery.
#[derive(Debug, Clone, Copy)]
enum Then {
    GoOn,
    Stage,
    /// Stages, and promotes batches of up to this number of rows.
    Promote(i32),
}

#[derive(Debug, Clone)]
struct Case {
    messages: BTreeMap<u16, Random>,
    then: Vec<Then>,
    other_then: Vec<Then>,
}

fn said() -> impl Strategy<Value = Said> {
    let day = || prop::option::of(0..DAYS.len());
    let (teacher, subject, group, student) = (|| 1..=2, || 1..=3, || 1..=3, || 1..=3);
    let name = || 0..NAMES.len();
    let marks = prop_oneof![Just(0), Just(600), Just(650), Just(1000), 0..=1000];
    prop_oneof![
        2 => (teacher(), name(), prop::option::of(name()))
            .prop_map(|(id, name, area)| Said::Maestro { id, name, area }),
        2 => (subject(), name(), 1..=2)
            .prop_map(|(id, name, credits)| Said::Materia { id, name, credits }),
        4 => (group(), subject(), teacher(), 0..PERIODS.len(), day())
            .prop_map(|(id, subject, teacher, period, day)| Said::Grupo { id, subject, teacher, period, day }),
        2 => (student(), name(), 18..=19, any::<bool>())
            .prop_map(|(id, name, age, woman)| Said::Alumno { id, name, age, woman }),
        4 => (student(), group(), day())
            .prop_map(|(student, group, day)| Said::Inscripcion { student, group, day }),
        5 => (student(), group(), marks, day())
            .prop_map(|(student, group, cents, day)| Said::Calificacion { student, group, cents, day }),
        1 => (0..ENTITIES.len()).prop_map(|entity| Said::Nonsense { entity }),
    ]
}

fn random() -> impl Strategy<Value = Random> {
    let writing = prop_oneof![
        3 => Just(Writing::Utc),
        1 => Just(Writing::East),
        1 => Just(Writing::West),
        1 => Just(Writing::Fine),
    ];
    let ts = prop::option::weighted(0.8, (0..INSTANTS.len(), writing));
    let order = || {
        prop_oneof![
            3 => prop::collection::vec(any::<u16>(), 1),
            1 => prop::collection::vec(any::<u16>(), 2..=3),
        ]
    };
    (
        said(),
        ts,
        0..INSTANTS.len(),
        any::<bool>(),
        order(),
        order(),
    )
        .prop_map(
            |(said, ts, published, loud, one_order, other_order)| Random {
                said,
                ts,
                published,
                loud,
                one_order,
                other_order,
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    let then = || {
        let step = prop_oneof![
            6 => Just(Then::GoOn),
            2 => Just(Then::Stage),
            1 => prop_oneof![1..=4, Just(20_000)].prop_map(Then::Promote),
        ];
        prop::collection::vec(step, 1..=30)
    };
    let messages = prop::collection::btree_map(0_u16..2_000, random(), 1..=45);
    (messages, then(), then()).prop_map(|(messages, then, other_then)| Case {
        messages,
        then,
        other_then,
    })
}

impl Case {
    /// The messages that the contract accepts, and the others.
    fn sent(&self) -> (BTreeMap<u16, Sent>, BTreeMap<u16, Sent>) {
        self.messages
            .iter()
            .map(|(&number, random)| (number, random.sent(number)))
            .partition(|(number, _)| !matches!(self.messages[number].said, Said::Nonsense { .. }))
    }

    fn order<'a>(
        &self,
        sent: [&'a BTreeMap<u16, Sent>; 2],
        of: fn(&Random) -> &[u16],
    ) -> Vec<&'a Sent> {
        let mut places: Vec<(u16, u16)> = self
            .messages
            .iter()
            .flat_map(|(&number, random)| of(random).iter().map(move |&place| (place, number)))
            .collect();
        places.sort_unstable();
        places
            .iter()
            .map(|(_, number)| sent[0].get(number).or_else(|| sent[1].get(number)).unwrap())
            .collect()
    }
}

impl Random {
    fn sent(&self, number: u16) -> Sent {
        let (entity, mut body) = self.body();
        if let Some((instant, writing)) = self.ts {
            body["ts"] = writing.write(INSTANTS[instant]).into();
        }
        if self.loud {
            body["ruido"] = json!({"n": [1, 2]});
            body["entity"] = entity.into();
        }
        Sent {
            id: message_id(number),
            entity,
            published_at: INSTANTS[self.published].parse().unwrap(),
            body: body.to_string().into_bytes(),
        }
    }

    fn body(&self) -> (&'static str, Value) {
        let loud = self.loud;
        let name = |name: usize| {
            let name = NAMES[name];
            if loud {
                format!("  {name}\t")
            } else {
                name.to_owned()
            }
        };
        let key = |key: &'static str| if loud { "id" } else { key };
        let (entity, mut body, day) = match self.said {
            Said::Maestro { id, name: n, area } => (
                "maestro",
                json!({key("id_maestro"): id, "nombre": name(n), "especialidad": area.map(|area| NAMES[area])}),
                None,
            ),
            Said::Materia {
                id,
                name: n,
                credits,
            } => (
                "materia",
                json!({key("id_materia"): id, "nombre": name(n), "creditos": credits}),
                None,
            ),
            Said::Grupo {
                id,
                subject,
                teacher,
                period,
                day,
            } => (
                "grupo",
                json!({key("id_grupo"): id, "id_materia": subject, "id_maestro": teacher, "periodo": PERIODS[period]}),
                Some(("fecha_inicio", day)),
            ),
            Said::Alumno {
                id,
                name: n,
                age,
                woman,
            } => {
                let sex = match (woman, loud) {
                    (true, false) => "F",
                    (true, true) => " f",
                    (false, false) => "M",
                    (false, true) => "m ",
                };
                (
                    "alumno",
                    json!({key("id_alumno"): id, "nombre": name(n), "edad": age, "genero": sex}),
                    None,
                )
            }
            Said::Inscripcion {
                student,
                group,
                day,
            } => (
                "inscripcion",
                json!({"id_alumno": student, "id_grupo": group}),
                Some(("fecha_inscripcion", day)),
            ),
            Said::Calificacion {
                student,
                group,
                cents,
                day,
            } => (
                "calificacion",
                json!({"id_alumno": student, "id_grupo": group, "calificacion": f64::from(cents) / 100.0}),
                Some(("fecha_registro", day)),
            ),
            Said::Nonsense { entity } => (ENTITIES[entity], json!({"id_alumno": "x"}), None),
        };
        match day {
            Some((field, Some(day))) => body[field] = DAYS[day].into(),
            Some((field, None)) if loud => body[field] = Value::Null,
            _ => {}
        }
        (entity, body)
    }
}

impl Writing {
    fn write(self, instant: &str) -> String {
        let instant: DateTime<Utc> = instant.parse().unwrap();
        let offset = |hours: i32| chrono::FixedOffset::east_opt(hours * 3600).unwrap();
        match self {
            Self::Utc => instant.to_rfc3339(),
            Self::East => instant.with_timezone(&offset(9)).to_rfc3339(),
            Self::West => instant.with_timezone(&offset(-6)).to_rfc3339(),
            Self::Fine => (instant + chrono::TimeDelta::nanoseconds(900)).to_rfc3339(),
        }
    }
}

/// Ids of every sort: with a day, without one, and texts that are no UUID.
fn message_id(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    let bytes = [low, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
    match number % 4 {
        0 => format!("mensaje {number}"),
        1 => uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string(),
        which => {
            let days = if which == 2 { 0 } else { u64::from(number) % 9 };
            let now = u64::try_from(Utc::now().timestamp_millis()).unwrap();
            // The same id all day long, so that a failure can be repeated.
            let day = now / 86_400_000 - days;
            let random = [0, 0, 0, 0, low, high, 0, 0, 0, 0];
            uuid::Builder::from_unix_timestamp_millis(day * 86_400_000, &random)
                .into_uuid()
                .to_string()
        }
    }
}

/// A database that is emptied before each case.
struct Bench {
    runtime: tokio::runtime::Runtime,
    tables: RefCell<(Feed, PgConnection)>,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tables = runtime.block_on(async {
            let platform = Platform::new().await;
            (
                Feed::new(&platform.database).await,
                platform.connect().await,
            )
        });
        Self {
            runtime,
            tables: RefCell::new(tables),
        }
    }

    /// What comes of deliveries that are staged and promoted in this rhythm.
    fn run(&self, deliveries: &[&Sent], then: &[Then]) -> Found {
        let (feed, owner) = &mut *self.tables.borrow_mut();
        self.runtime.block_on(async {
            empty(owner).await;
            let mut batch = Vec::new();
            for (sent, then) in deliveries.iter().zip(then.iter().cycle()) {
                batch.push(*sent);
                if !matches!(then, Then::GoOn) {
                    feed.stage(&std::mem::take(&mut batch)).await;
                }
                if let Then::Promote(max_rows) = then {
                    feed.promote(*max_rows).await;
                }
            }
            if !batch.is_empty() {
                feed.stage(&batch).await;
            }
            feed.promote_all().await;
            feed.refresh().await;
            let outcome = outcome_of(owner).await;
            Found {
                marts: compare_marts(owner, &outcome.core).await,
                outcome,
                batches: ledger(owner, BATCHES).await,
                conservation: ledger(owner, CONSERVATION).await,
                quarantine: sqlx::query_scalar("select message_id from raw.quarantine order by 1")
                    .fetch_all(owner)
                    .await
                    .unwrap(),
            }
        })
    }
}

struct Found {
    outcome: Outcome,
    /// What the marts show otherwise than the oracle would, given this core.
    marts: Result<(), String>,
    batches: BTreeMap<String, LedgerEntry>,
    conservation: BTreeMap<String, LedgerEntry>,
    quarantine: Vec<Uuid>,
}

/// Empties the core behind the platform's back, so the materialized mart has to be told.
async fn empty(owner: &mut PgConnection) {
    sqlx::raw_sql(
        "delete from academico.calificaciones_audit; delete from academico.calificaciones; \
         delete from academico.inscripciones; delete from academico.alumnos; delete from academico.grupos; \
         delete from academico.materias; delete from academico.maestros; \
         delete from stg.calificaciones_event; delete from stg.inscripciones_event; delete from stg.alumnos_upsert; \
         delete from stg.grupos_upsert; delete from stg.materias_upsert; delete from stg.maestros_upsert; \
         delete from raw.quarantine; delete from core.pending; delete from core.batch_entities; \
         delete from core.batches; delete from core.settled_totals; delete from core.domain_state; delete from core.entity_state; delete from core.mart_refresh_log; \
         refresh materialized view marts.kpi_materia",
    )
    .execute(owner)
    .await
    .unwrap();
}

/// Runs a property on random cases: 40, or `PROPTEST_CASES`. A failing case is made as small as
/// can be and printed with its seed.
fn for_random_cases(property: impl Fn(Case) -> Result<(), TestCaseError>) {
    let mut config = Config {
        source_file: Some(file!()),
        max_shrink_time: 60_000,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 40;
    }
    if std::env::var_os("PROPTEST_MAX_SHRINK_ITERS").is_none() {
        config.max_shrink_iters = 2_000;
    }
    if let Err(failure) = TestRunner::new(config).run(&case(), property) {
        panic!("{failure}");
    }
}

#[test]
fn random_messages_in_random_order_give_the_core_of_the_oracle() {
    let bench = Bench::new();
    for_random_cases(|case| {
        let (good, bad) = case.sent();
        let deliveries = case.order([&good, &bad], |random| &random.one_order);
        let mut oracle = Oracle::default();
        good.values().for_each(|sent| sent.tell(&mut oracle));

        let found = bench.run(&deliveries, &case.then);

        compare(&found.outcome, &oracle).map_err(TestCaseError::fail)?;
        found.marts.map_err(TestCaseError::fail)?;
        let bad: Vec<_> = bad.values().collect();
        let ledger = expected_ledger(&deliveries, &bad, &oracle);
        prop_assert_eq!(&found.batches, &ledger);
        prop_assert_eq!(&found.conservation, &ledger);
        let mut quarantine: Vec<_> = bad.iter().map(|sent| sent.message_id()).collect();
        quarantine.sort();
        prop_assert_eq!(&found.quarantine, &quarantine);
        Ok(())
    });
}

#[test]
fn two_orders_of_the_same_messages_give_the_same_core() {
    let bench = Bench::new();
    for_random_cases(|case| {
        let (good, bad) = case.sent();
        let one = case.order([&good, &bad], |random| &random.one_order);
        let other = case.order([&good, &bad], |random| &random.other_order);
        let one = bench.run(&one, &case.then).outcome;
        let other = bench.run(&other, &case.other_then).outcome;
        // Event time and message id are among the columns; which of two missing parents a row
        // waits for is not decided by the messages.
        let bare = |mut outcome: Outcome| {
            outcome
                .pending
                .iter_mut()
                .for_each(|row| row.missing.clear());
            outcome
        };
        let difference = bare(one).difference(&bare(other));
        difference.map_or(Ok(()), |difference| Err(TestCaseError::fail(difference)))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn of_messages_without_any_time_the_later_arrival_wins() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    // As the reference system's publisher sends them: neither id nor time, one batch and several.
    let deliveries: Vec<Delivery> = (1..=60)
        .map(|tag| {
            let body = json!({"entity": "alumno", "id_alumno": 1, "nombre": "Ana", "edad": tag, "genero": "F"});
            let body = body.to_string().into_bytes();
            Delivery::mock(tag, "".into(), "etl".into(), false, body)
        })
        .collect();
    for batch in deliveries.chunks(20) {
        feed.stage_deliveries(batch).await;
        feed.promote_all().await;
        let outcome = outcome_of(&mut feed.connection).await;
        let last = i32::try_from(batch[19].delivery_tag).unwrap();
        assert_eq!(outcome.core.alumnos[0].edad, last);
    }
}

/// The messages of the demo, as the publisher makes them by default.
pub fn demo() -> Vec<Sent> {
    let domain = acequia_contracts::domain("academico").unwrap();
    let generator = domain.generator.unwrap();
    let options = generator
        .options(clap::Command::new("generate"))
        .get_matches_from(["generate"]);
    let messages = generator.generate(&options, 42).unwrap();
    (0_u64..)
        .zip(messages)
        .map(|(number, synthetic)| {
            let millis = u64::try_from(synthetic.at.timestamp_millis()).unwrap();
            let mut random = [7; 10];
            // Not in the order of the messages.
            random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Sent {
                id: uuid::Builder::from_unix_timestamp_millis(millis, &random)
                    .into_uuid()
                    .to_string(),
                entity: synthetic.entity,
                published_at: synthetic.at,
                body: synthetic.body,
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_in_three_orders_with_repetitions_gives_the_core_of_the_oracle() {
    let messages = demo();
    let mut oracle = Oracle::default();
    messages.iter().for_each(|sent| sent.tell(&mut oracle));
    assert!(oracle.outcome().pending.is_empty());

    for seed in 1..=3 {
        let platform = Platform::new().await;
        // The third order is shared out by two workers.
        let mut workers = vec![platform.worker(&["--batch-max", "700"])];
        if seed == 3 {
            workers.push(platform.worker(&["--batch-max", "300", "--promote-max", "1000"]));
        }
        for worker in &workers {
            worker.ready().await;
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut deliveries: Vec<&Sent> = messages.iter().collect();
        deliveries.shuffle(&mut rng);
        deliveries.extend_from_within(..messages.len() / 10);
        deliveries.shuffle(&mut rng);
        publish(&platform, &deliveries).await;
        platform
            .settled(i64::try_from(deliveries.len()).unwrap())
            .await;
        for worker in workers {
            worker.stop().await;
        }

        let mut connection = platform.connect().await;
        compare(&outcome_of(&mut connection).await, &oracle).unwrap();
        let expected = expected_ledger(&deliveries, &[], &oracle);
        assert_eq!(ledger(&mut connection, BATCHES).await, expected);
        assert_eq!(ledger(&mut connection, CONSERVATION).await, expected);
    }
}

/// Publishes all messages, then waits for all confirms.
pub async fn publish(platform: &Platform, messages: &[&Sent]) {
    let (connection, channel) = platform.channel().await;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut confirms = Vec::new();
    for sent in messages {
        let properties = sent.properties().with_delivery_mode(2);
        let (exchange, key) = ("acequia".into(), sent.routing_key().into());
        let confirm = channel.basic_publish(exchange, key, options, &sent.body, properties);
        confirms.push(confirm.await.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
    topology::close(&connection).await;
}
