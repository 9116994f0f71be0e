//! Checks everything that the worker needs and names the repair.

mod archive;
mod broker;
mod encryption;
mod failover;
mod finding;
mod ledger;
mod pauses;
mod promotion;
mod queues;
mod rights;
mod ticks;

use acequia_contracts::Domain;
use acequia_net::topology;
use acequia_net::{SecretUrl, broker as amqp};
use acequia_store::failure::Unfit;
use acequia_store::{clock, db, promotion as promote};
use sqlx::PgConnection;

use finding::{Findings, said};

pub use finding::{Finding, Verdict};
pub use rights::{archive_login, may_archive};

/// The servers and stores that an examination looks at.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// PostgreSQL.
    pub database: &'a SecretUrl,
    /// RabbitMQ.
    pub broker: &'a SecretUrl,
    /// RabbitMQ's management, if its address is given.
    pub management: Option<&'a SecretUrl>,
    /// URL of the object store, if it is given.
    pub archive: Option<&'a str>,
}

/// Runs every check. `schema` finds the version of the schema, or why it does not serve this program;
/// it is awaited only when the database can be used.
pub async fn examine(
    places: Places<'_>,
    domains: &[&'static Domain],
    schema: impl Future<Output = Result<i32, String>>,
) -> Vec<Finding> {
    let Places {
        database,
        broker,
        management,
        archive,
    } = places;
    let mut findings = Findings::default();
    match db::connect(database, "doctor").await {
        Ok(mut connection) => {
            findings.add("database", Verdict::Ok, database.to_string(), "");
            let examined = async {
                // First, and by plain text: a pooler that mixes sessions trips over every other statement.
                if rights::of_way(database, &mut findings).await {
                    encryption::of_database(&mut connection, database, &mut findings).await?;
                    examine_database(&mut connection, schema, archive, &mut findings).await?;
                }
                Ok::<(), sqlx::Error>(())
            };
            if let Err(error) = examined.await {
                findings.add(
                    "database",
                    Verdict::Fail,
                    error.to_string(),
                    "Grant the role what sql/routines/core/9_grants.sql gives acequia_worker: run `worker migrate`.",
                );
            }
        }
        Err(error) => findings.add(
            "database",
            Verdict::Fail,
            format!("{database}: {error}"),
            if Unfit::of(&error).is_some() {
                "Point DATABASE_URL to a primary; the reason why this server is none is above."
            } else {
                "Start PostgreSQL, or correct DATABASE_URL: host, port, role, password, database."
            },
        ),
    }
    match amqp::connect(broker, "acequia-worker doctor").await {
        Ok(amqp::Connected {
            connection,
            tls,
            address,
            ..
        }) => {
            findings.add("broker", Verdict::Ok, broker.to_string(), "");
            let plain = tls.is_none();
            encryption::of_broker(tls, &address.0, &mut findings);
            if plain {
                broker::of_version(&address, &mut findings).await;
            }
            let management = management.map(|management| (management, broker));
            broker::of_queues(&connection, management, domains, &mut findings).await;
            failover::of_queues(management, domains, &mut findings).await;
            topology::close(&connection).await;
        }
        Err(error) => findings.add(
            "broker",
            Verdict::Fail,
            format!("{broker}: {}", said(&error)),
            "Start RabbitMQ, or correct AMQP_URL: host, port, user, password, virtual host.",
        ),
    }
    findings.0
}

async fn examine_database(
    connection: &mut PgConnection,
    schema: impl Future<Output = Result<i32, String>>,
    archive: Option<&str>,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut *connection)
        .await?;
    findings.require(
        "database version",
        version >= 150_000,
        format!("PostgreSQL {}.{}", version / 10_000, version % 10_000),
        "Use PostgreSQL 15 or newer.",
    );
    for (setting, why) in [
        (
            "fsync",
            "an acknowledged message could be lost when the machine stops",
        ),
        (
            "full_page_writes",
            "a torn page could lose acknowledged messages",
        ),
    ] {
        let value: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut *connection)
            .await?;
        let ok = value != "off";
        let found = if ok { value } else { format!("{value}: {why}") };
        findings.require(setting, ok, found, &format!("Set {setting} = on."));
    }
    let ahead = clock::ahead(connection).await?;
    let seconds = ahead.as_seconds_f64();
    if clock::is_off(ahead) {
        findings.add(
            "clock",
            Verdict::Warn,
            format!("this machine's clock is {seconds:.0} s ahead of the database's"),
            "Set the clocks, by NTP or the like. Dates of messages are judged by the database's clock; times in logs and spans are the machine's.",
        );
    } else {
        findings.add(
            "clock",
            Verdict::Ok,
            format!("{seconds:.1} s ahead of the database's"),
            "",
        );
    }
    failover::of_standbys(connection, findings).await?;
    match schema.await {
        Ok(version) => findings.add("schema", Verdict::Ok, format!("version {version}"), ""),
        Err(error) => {
            findings.add(
                "schema",
                Verdict::Fail,
                error,
                "Run `worker migrate` as the owner of the database.",
            );
            return Ok(());
        }
    }
    let (role, superuser, may_create): (String, bool, bool) = sqlx::query_as(
        "select current_user::text, rolsuper, has_schema_privilege('stg', 'create') from pg_roles where rolname = current_user",
    )
    .fetch_one(&mut *connection)
    .await?;
    if superuser || may_create {
        findings.add(
            "role",
            Verdict::Warn,
            format!("{role} may create and drop tables"),
            "Run the worker as acequia_worker; only `worker migrate` needs the owner.",
        );
    } else {
        findings.add("role", Verdict::Ok, role, "");
    }
    let fast: bool =
        sqlx::query_scalar("select has_parameter_privilege('session_replication_role', 'set')")
            .fetch_one(&mut *connection)
            .await?;
    if fast {
        let found = "foreign keys are checked per statement";
        findings.add("promotion", Verdict::Ok, found, "");
    } else {
        let found = "foreign keys are checked row by row, which takes about twice as long";
        findings.add("promotion", Verdict::Warn, found, promote::SLOW_REMEDY);
    }
    rights::examine(connection, findings).await?;
    let without: i64 = sqlx::query_scalar(
        "select count(*) from core.entities e where to_regclass(e.staging || to_char(current_date, '\"_p\"YYYYMMDD')) is null",
    )
    .fetch_one(&mut *connection)
    .await?;
    findings.require(
        "partitions",
        without == 0,
        if without == 0 {
            "today's are there".to_owned()
        } else {
            format!("{without} staging tables have none for today")
        },
        "Start the worker or run `worker migrate`: both make them.",
    );
    let unaccounted: Option<i64> =
        sqlx::query_scalar("select sum(abs(unaccounted))::bigint from core.conservation")
            .fetch_one(&mut *connection)
            .await?;
    findings.require(
        "reconciliation",
        unaccounted.unwrap_or(0) == 0,
        format!("{} messages unaccounted for", unaccounted.unwrap_or(0)),
        "Compare core.batch_entities with core.pending and raw.quarantine.",
    );
    ledger::examine(connection, findings).await?;
    failover::of_lost_batches(connection, findings).await?;
    promotion::examine(connection, findings).await?;
    pauses::examine(connection, findings).await?;
    ticks::examine(connection, findings).await?;
    archive::examine(connection, archive, findings).await
}
