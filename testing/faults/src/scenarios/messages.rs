//! Faults that messages bring with them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{SecondsFormat, TimeDelta, Utc};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::{Builder, Uuid};

use super::hostile;
use super::raw::{Raw, publish};
use super::{conclude, run_scenario};
use crate::environment::{TestEnv, migrator};
use crate::kinds::{Row, kind};
use crate::oracle::{Sent, Verdict};
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::setup::{RunOptions, Setup};

const SIGABRT: i32 = 6;
/// Crashes that there must be at least before the broker gives the message up. Its limit is 50
/// deliveries; with RabbitMQ 3.10 it was seen to give it up after 44 crashes.
const CRASHES: usize = 25;

/// A message that makes every worker that decodes it crash.
pub async fn poison(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let poison = format!("poison-{}", run_options.seed);
    let setup = Setup {
        failpoint: Some(format!("poison:{poison}")),
        // Every crash gives back the messages in flight.
        options: vec!["--batch-max", "100"],
        rate: 100.0,
        ..Setup::default()
    };
    run_scenario(&run_options, &setup, async |run| {
        run.flows(100).await?;
        run.strike();
        let body = json!({"id_alumno": 2_000_000, "nombre": poison, "edad": 20, "genero": "F"});
        let id = run.load.send(body.to_string().into_bytes(), false)?;
        let row = given_up(run, id).await?;
        let crashes = run.supervisor.ended_by(SIGABRT);
        run.proof(
            crashes >= CRASHES,
            format!("{crashes} processes ended by signal 6 on the message"),
        );
        let (stage, code, properties) = row;
        let death = &properties["headers"]["x-death"][0];
        run.proof(
            stage == "broker" && code == "delivery_limit" && death["reason"] == "delivery_limit",
            format!(
                "in quarantine: {stage}, {code}, x-death from {}",
                death["queue"]
            ),
        );
        run.healed().await?;
        let given_up = run
            .environment
            .number("select count(*) from raw.quarantine where stage = 'broker'")
            .await?;
        run.demand(
            given_up == 1,
            format!("{given_up} messages were given up, not one"),
        );
        Ok(())
    })
    .await
}

/// Waits for the quarantine row of a message: stage, code, properties.
async fn given_up(run: &ScenarioRun, id: Uuid) -> anyhow::Result<(String, String, Value)> {
    let mut database = run.environment.owner().await?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(400) {
        let row = sqlx::query_as(
            "select stage, code, properties from raw.quarantine where message_id = $1",
        )
        .bind(id)
        .fetch_optional(&mut database)
        .await?;
        if let Some(row) = row {
            return Ok(row);
        }
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the message did not get to quarantine")
}

/// Four workers on one queue, a load in random order with many copies.
pub async fn four_workers(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        workers: 4,
        options: vec!["--batch-max", "200"],
        rate: run_options.pick(1500.0, 800.0),
        copies: Some(300),
        ..Setup::default()
    };
    run_scenario(&run_options, &setup, async |run| {
        run.strike();
        sleep(Duration::from_secs(run_options.pick(60, 8))).await;
        run.healed().await?;
        let busy = run
            .environment
            .number("select count(distinct worker) from core.batches where queue <> 'acequia.dead'")
            .await?;
        let (copies, all) = (run.load.copies(), run.load.taken());
        run.proof(
            busy == 4 && copies * 4 > all,
            format!("{busy} workers staged batches; {copies} of {all} messages were copies"),
        );
        Ok(())
    })
    .await
}

/// Publishers whose clocks are days behind and days ahead: ids, event times, publish times.
pub async fn clock_skew(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let count = run_options.pick(20_000, 1500);
    let mut quarantine = Vec::new();
    let mut accepted = Vec::new();
    run_scenario(&run_options, &Setup::default(), async |run| {
        run.flows(50).await?;
        run.strike();
        let mut rng = ChaCha8Rng::seed_from_u64(run_options.seed);
        let mut messages = Vec::new();
        for number in 0..count {
            let (raw, verdict) = skewed(&mut rng, number)?;
            match verdict {
                Verdict::Bad => quarantine.push(raw.id),
                Verdict::Either => accepted.push(raw.id),
                Verdict::Good(_) => {}
            }
            messages.push((raw, verdict));
        }
        messages.shuffle(&mut rng);
        let raw: Vec<Raw> = messages.iter().map(|(raw, _)| raw.clone()).collect();
        publish(&run.environment.broker.url, &raw).await?;
        run.also_sent(messages.into_iter().map(|(raw, verdict)| Sent {
            id: raw.id,
            verdict,
        }));
        run.healed().await?;
        let off = run
            .environment
            .number("select count(*) from stg.alumnos_upsert where abs(day - current_date) >= 2")
            .await?;
        run.proof(
            off > 0 && !quarantine.is_empty() && !accepted.is_empty(),
            format!(
                "{off} rows staged whose ids are days off; {} event times from the future refused",
                quarantine.len()
            ),
        );
        let mut database = run.environment.owner().await?;
        let refused: i64 =
            sqlx::query_scalar("select count(*) from raw.quarantine where message_id = any ($1)")
                .bind(&accepted)
                .fetch_one(&mut database)
                .await?;
        run.demand(
            refused == 0,
            format!("{refused} messages were refused for the clock of their publisher alone"),
        );
        Ok(())
    })
    .await
}

/// A student's message from a clock that is wrong.
fn skewed(rng: &mut ChaCha8Rng, number: u32) -> anyhow::Result<(Raw, Verdict)> {
    let now = Utc::now();
    let hours = [-480, -72, -24, 0, 20, 26, 72][rng.random_range(0..7_usize)];
    let wrong = now + TimeDelta::hours(hours) + TimeDelta::seconds(rng.random_range(0..3600));
    let mut bytes = [0; 10];
    rng.fill_bytes(&mut bytes);
    let millis = u64::try_from(wrong.timestamp_millis())?;
    let id = Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid();
    // Few students, many versions.
    let student = 3_000_000 + rng.random_range(0..300);
    let mut body = json!({
        "id_alumno": student, "nombre": format!("Alumno {number}"), "edad": 20, "genero": "F",
    });
    let published_at = Some(wrong.timestamp_micros());
    let verdict = if rng.random_bool(0.7) {
        let text = wrong.to_rfc3339_opts(SecondsFormat::Millis, true);
        body["ts"] = text.as_str().into();
        // More than a day ahead, the message would win over all that is to come.
        if hours > 24 {
            Verdict::Bad
        } else {
            let kind = kind("alumno").ok_or_else(|| anyhow::anyhow!("the kind"))?;
            Verdict::Good(Row::of(kind, &body, text.parse()?))
        }
    } else {
        // Without an event time the publish time stands for it, or the arrival: students of
        // their own, for that cannot be foretold.
        body["id_alumno"] = (4_000_000 + number).into();
        Verdict::Either
    };
    let raw = Raw {
        id,
        entity: "alumno",
        body: body.to_string().into_bytes(),
        published_at,
    };
    Ok((raw, verdict))
}

/// Four processes that migrate the same empty database at once.
pub async fn migration_race(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let races = run_options.pick(5, 1);
    let (mut evidence, mut told) = (Vec::new(), Vec::new());
    let mut environment = TestEnv::set(false).await?;
    for _ in 0..races {
        environment = environment.with_empty_database().await?;
        let begun = Instant::now();
        let mut running = Vec::new();
        for _ in 0..4 {
            let mut command = migrator(environment.services(), &environment.database.owner)?;
            running.push(tokio::spawn(async move {
                let output = command.output().await;
                (Instant::now(), output)
            }));
        }
        let all_started = begun.elapsed();
        let mut first_end = Duration::MAX;
        for process in running {
            let (ended, output) = process.await?;
            let output = output?;
            let words = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "worker migrate: {words}");
            // By their last lines, one applied everything and the others found nothing to do.
            let last = words.lines().rfind(|line| line.contains("migrate.done"));
            let applied =
                last.and_then(|line| line.split_once(" migrations=")?.1.split(' ').next());
            let applied = applied.context("no line migrate.done")?.to_owned();
            told.push((ended - begun, applied));
            first_end = first_end.min(ended - begun);
        }
        let twice = environment
            .number("select count(*) - count(distinct version) from core.refinery_schema_history")
            .await?;
        anyhow::ensure!(twice == 0, "{twice} migrations were applied twice");
        anyhow::ensure!(all_started < first_end, "the processes did not overlap");
        evidence.push(format!(
            "4 processes ran at once (started within {} ms, the first ended after {} ms), all ended well, each migration once",
            all_started.as_millis(),
            first_end.as_millis()
        ));
    }
    let run = ScenarioRun::on(environment, &run_options, &Setup::default()).await?;
    conclude(run, async |run| {
        for words in evidence {
            run.strike();
            run.proof(true, words);
        }
        let (took, applied): (Vec<_>, Vec<_>) = told.into_iter().unzip();
        let took = took.into_iter().max().unwrap_or_default().as_secs_f64();
        run.sees(format!(
            "No pipeline runs yet. `worker migrate`: exit status 0 of each, the last after {took:.1} s; \
             last lines `migrate.done`, migrations {}",
            applied.join(", ")
        ));
        run.flows(200).await?;
        run.healed().await
    })
    .await
}

/// Malicious bytes among good messages.
pub async fn hostile(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let count: usize = run_options.pick(100_000, 5000);
    run_scenario(&run_options, &Setup::default(), async |run| {
        run.flows(50).await?;
        run.strike();
        let mut maker = hostile::Maker::new(run_options.seed);
        let mut made = [0_usize; 3];
        for chunk in (0..count).collect::<Vec<_>>().chunks(5000) {
            let messages: Vec<(Raw, Verdict)> = chunk.iter().map(|_| maker.next()).collect();
            for (_, verdict) in &messages {
                made[match verdict {
                    Verdict::Good(_) => 0,
                    Verdict::Bad => 1,
                    Verdict::Either => 2,
                }] += 1;
            }
            let raw: Vec<Raw> = messages.iter().map(|(raw, _)| raw.clone()).collect();
            publish(&run.environment.broker.url, &raw).await?;
            run.also_sent(messages.into_iter().map(|(raw, verdict)| Sent {
                id: raw.id,
                verdict,
            }));
        }
        run.healed().await?;
        run.proof(
            made.iter().sum::<usize>() == count && made.iter().all(|made| *made > 0),
            format!(
                "{} strange but good, {} bad, {} with bytes changed at random",
                made[0], made[1], made[2]
            ),
        );
        let crashed = run.supervisor.exits().len();
        run.demand(crashed == 0, format!("the worker ended {crashed} times"));
        Ok(())
    })
    .await
}
