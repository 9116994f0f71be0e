//! Deliveries whose properties no library reads: random bytes wherever a text stands, tables nested
//! thousands deep, bodies of every size.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use acequia_net::properties::stable_parts;
use acequia_testkit::raw::{RawMessage, RawPublisher, entry, list, long, nested, short};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;
use tokio::time::sleep;
use uuid::Uuid;

use super::run_scenario;
use crate::kinds::{DOMAIN, KINDS};
use crate::oracle::{Sent, Verdict};
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::setup::{RunOptions, Setup};

/// How long a neighbour may have waited.
const WAITED: f64 = 10.0;
/// Hostile deliveries that wait for their confirms together.
const AT_ONCE: usize = 20;
/// Largest body; RabbitMQ takes 128 MiB.
const LARGEST: usize = 120 << 20;

/// Many hostile deliveries among good ones, and several workers.
pub async fn deliveries(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let (hostile, neighbours, large) = run_options.pick((2000, 20_000, 8), (100, 1000, 2));
    let setup = Setup {
        workers: run_options.pick(4, 2),
        rate: run_options.pick(400.0, 100.0),
        ..Setup::default()
    };
    run_scenario(&run_options, &setup, async |run| {
        run.flows(50).await?;
        run.strike();
        let mut maker = Maker(ChaCha8Rng::seed_from_u64(run_options.seed));
        let mut raw = RawPublisher::connect(&run.environment.broker.url).await?;
        let begun = run.load.different();
        let mut expected: HashMap<Key, usize> = HashMap::new();
        let mut number = 0;
        while number < hostile {
            // Spread over the whole load; the large ones, too. A confirm takes longer than the next is due.
            let due = ((run.load.different() - begun) * hostile / neighbours).min(hostile - 1);
            if due < number {
                sleep(Duration::from_millis(10)).await;
                continue;
            }
            let mut messages = Vec::new();
            while number <= due && messages.len() < AT_ONCE {
                let size = match number % (hostile / large) {
                    0 => run_options.pick(LARGEST, 1 << 20) >> (number * large / hostile % 4),
                    _ => maker.size(),
                };
                let message = maker.next(size);
                *expected.entry(key(&message.body, &message.list)).or_default() += 1;
                messages.push(message);
                number += 1;
            }
            raw.publish(&messages).await?;
        }
        while run.load.different() - begun < neighbours {
            sleep(Duration::from_millis(50)).await;
        }
        let found = found(run, hostile).await?;
        let mut kept: HashMap<Key, usize> = HashMap::new();
        for (_, key) in &found {
            *kept.entry(key.clone()).or_default() += 1;
        }
        let whole = expected.iter().filter(|(key, _)| kept.contains_key(*key)).count();
        run.demand(
            whole == expected.len() && found.len() == expected.len(),
            format!("{whole} of {} are in quarantine with every byte, {} rows", expected.len(), found.len()),
        );
        run.also_sent(found.into_iter().map(|(id, _)| Sent { id, verdict: Verdict::Bad }));
        run.healed().await?;
        let waited = waited(run).await?;
        run.demand(
            waited < WAITED,
            format!("a neighbour waited {waited:.1} s until it was staged"),
        );
        let crashed = run.supervisor.exits().len();
        run.demand(crashed == 0, format!("a worker ended {crashed} times"));
        run.proof(
            whole > 0,
            format!(
                "{hostile} hostile deliveries among {neighbours} good ones; body and property bytes of {whole} \
                 compared; the longest wait of a neighbour {waited:.1} s"
            ),
        );
        Ok(())
    })
    .await
}

/// Identity of a delivery: a hash of the body, and one of the property bytes without those that the broker
/// adds with another delivery.
type Key = (Vec<u8>, Vec<u8>);

fn key(body: &[u8], list: &[u8]) -> Key {
    (Sha256::digest(body).to_vec(), key_of(list))
}

fn key_of(list: &[u8]) -> Vec<u8> {
    let parts = stable_parts(list, |name| name.starts_with(b"x-delivery-count"));
    Sha256::digest(parts.concat()).to_vec()
}

/// The rows of messages with unreadable properties, once there are `hostile` of them.
async fn found(run: &ScenarioRun, hostile: usize) -> anyhow::Result<Vec<(Uuid, Key)>> {
    const ROWS: &str = "select message_id, sha256(body), properties ->> 'raw' from raw.quarantine
        where code in ('property_not_utf8', 'headers_too_deep', 'property_malformed')";
    const COUNT: &str = "select count(*) from raw.quarantine
        where code in ('property_not_utf8', 'headers_too_deep', 'property_malformed')";
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if usize::try_from(run.environment.number(COUNT).await?)? >= hostile {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let rows: Vec<(Uuid, Vec<u8>, String)> = sqlx::query_as(ROWS)
        .fetch_all(&mut run.environment.owner().await?)
        .await?;
    rows.into_iter()
        .map(|(id, body, raw)| Ok((id, (body, key_of(&STANDARD.decode(raw)?)))))
        .collect()
}

/// The longest time between the publishing of a good message and its staging, in seconds.
async fn waited(run: &ScenarioRun) -> anyhow::Result<f64> {
    let mut longest = 0.0_f64;
    for kind in &KINDS {
        let statement = format!(
            "select coalesce(max(extract(epoch from b.received_at - s.published_at)), 0)::float8 \
             from {} s join core.batches b using (batch_id)",
            kind.staging
        );
        let seconds: f64 = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(&mut run.environment.owner().await?)
            .await?;
        longest = longest.max(seconds);
    }
    Ok(longest)
}

/// Makes them, the same for the same seed.
struct Maker(ChaCha8Rng);

impl Maker {
    /// Sizes of bodies: most are small, some of each size up to a megabyte.
    fn size(&mut self) -> usize {
        let most = if self.0.random_bool(0.05) { 21 } else { 11 };
        let bits = self.0.random_range(0..most);
        self.0.random_range(0..1_usize << bits)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A text that is not UTF-8.
    fn text(&mut self) -> Vec<u8> {
        let length = self.0.random_range(1..256);
        let mut text = self.bytes(length);
        text[0] = 0xff;
        short(&text)
    }

    fn next(&mut self, size: usize) -> RawMessage {
        let mut body = self.bytes(size);
        // No JSON begins so.
        if let Some(first) = body.first_mut() {
            *first = 0xc1;
        }
        // All texts but expiration and user id, which the broker checks.
        let mut properties: Vec<(u8, Vec<u8>)> = Vec::new();
        for place in [0, 1, 5, 6, 8, 10, 12, 13] {
            if self.0.random_bool(0.4) {
                let text = self.text();
                properties.push((place, text));
            }
        }
        let headers = match self.0.random_range(0..4) {
            0 => None,
            1 => Some(entry(b"h", &nested(self.0.random_range(40..10_001)))),
            2 => Some([&self.text()[..], b"V"].concat()),
            _ => {
                let length = self.0.random_range(0..60_000);
                let text = [b"S".to_vec(), long(&self.bytes(length))].concat();
                Some([entry(b"long", &text), self.text(), b"V".to_vec()].concat())
            }
        };
        if let Some(headers) = headers {
            properties.push((2, long(&headers)));
        }
        if properties.is_empty() {
            properties.push((5, self.text()));
        }
        if self.0.random_bool(0.2) {
            properties.push((3, vec![2]));
        }
        properties.sort_by_key(|(place, _)| *place);
        RawMessage {
            exchange: b"acequia".to_vec(),
            key: format!("{DOMAIN}.alumno").into_bytes(),
            list: list(&properties),
            body,
        }
    }
}
