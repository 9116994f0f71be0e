//! Checks which commits a failover could lose, and which ones were lost.

use std::time::Duration;

use acequia_contracts::Domain;
use acequia_net::SecretUrl;
use acequia_net::topology::{DEAD_QUEUE, DomainQueues};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use url::Url;

use super::finding::{Findings, Verdict, said};

/// The broker's management, and the broker, whose user it takes when its own address has none.
pub(super) type Management<'a> = (&'a SecretUrl, &'a SecretUrl);

/// Time limit for one page of the broker's management.
const PAGE_WITHIN: Duration = Duration::from_secs(10);

/// Names of the queues that workers of these domains consume.
pub(super) fn queues_of(domains: &[&'static Domain]) -> Vec<String> {
    let queues = domains.iter().flat_map(|domain| {
        let queues = DomainQueues {
            domain: domain.name,
            legacy: domain.legacy_queue,
        };
        queues.names().collect::<Vec<_>>()
    });
    std::iter::once(DEAD_QUEUE.to_owned())
        .chain(queues)
        .collect()
}

/// Checks the standbys of the database.
pub(super) async fn of_standbys(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    // Everybody sees how many there are, not everybody what they are.
    const STANDBYS: &str = "
        select current_setting('synchronous_standby_names') as names,
               count(*) filter (where state is distinct from 'backup') as standbys,
               count(*) filter (where sync_state in ('sync', 'quorum')) as synchronous,
               pg_has_role('pg_read_all_stats', 'usage') as seen
        from pg_stat_replication";
    let found: Standbys = sqlx::query_as(STANDBYS).fetch_one(connection).await?;
    let (verdict, text, remedy) = found.judge();
    findings.add("standbys", verdict, text, remedy);
    Ok(())
}

#[derive(Debug, FromRow)]
struct Standbys {
    names: String,
    standbys: i64,
    synchronous: i64,
    seen: bool,
}

impl Standbys {
    fn judge(&self) -> (Verdict, String, &'static str) {
        const NONE_WAITS: &str = "Commits wait for no standby, so a failover loses what was acknowledged last. As superuser: \
            alter system set synchronous_standby_names = 'ANY 1 (*)'; select pg_reload_conf(). Have two standbys, so that one may be away.";
        const ALL_WAIT: &str = "Every commit waits for it: bring the standby back, or name another one in synchronous_standby_names. \
            Without one, `alter system reset synchronous_standby_names` gives up the protection.";
        let Self {
            names,
            standbys,
            synchronous,
            seen,
        } = self;
        let set = !names.trim().is_empty();
        match (set, *standbys, *synchronous) {
            (false, 0, _) => (Verdict::Ok, "none".to_owned(), ""),
            (false, _, _) => {
                let text = format!("{standbys} connected, none of them synchronous");
                (Verdict::Warn, text, NONE_WAITS)
            }
            (true, 0, _) => {
                let text =
                    format!("synchronous_standby_names is {names:?}, and no standby is connected");
                (Verdict::Fail, text, ALL_WAIT)
            }
            (true, _, 0) if *seen => {
                let text = format!(
                    "synchronous_standby_names is {names:?}, and none of the {standbys} connected is synchronous"
                );
                (Verdict::Fail, text, ALL_WAIT)
            }
            _ => {
                let which = if *seen {
                    format!("{synchronous} of them synchronous")
                } else {
                    "which of them are synchronous is not shown to this role (pg_monitor)"
                        .to_owned()
                };
                let text = format!(
                    "{standbys} connected, {which}; synchronous_standby_names is {names:?}"
                );
                (Verdict::Ok, text, "")
            }
        }
    }
}

#[derive(FromRow)]
struct LostBatches {
    messages: i64,
    batches: i64,
    oldest: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    noticed: Option<DateTime<Utc>>,
}

/// Lost batches that workers noted in the last seven days.
pub(super) async fn of_lost_batches(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    const LOST: &str = "
        select coalesce(sum(messages), 0)::bigint as messages, count(*) as batches,
               min(coalesce(oldest_published_at, acknowledged_at)) as oldest,
               max(coalesce(newest_published_at, acknowledged_at)) as newest, max(noticed_at) as noticed
        from core.lost_batches where noticed_at > now() - interval '7 days'";
    let lost: LostBatches = sqlx::query_as(LOST).fetch_one(connection).await?;
    let (Some(oldest), Some(newest), Some(noticed)) = (lost.oldest, lost.newest, lost.noticed)
    else {
        findings.add(
            "failover",
            Verdict::Ok,
            "no acknowledged message was missed in the last 7 days",
            "",
        );
        return Ok(());
    };
    let text = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    findings.add(
        "failover",
        Verdict::Warn,
        format!(
            "{} acknowledged messages of {} batches are lost, published from {} to {}, noticed at {}",
            lost.messages,
            lost.batches,
            text(oldest),
            text(newest),
            text(noticed)
        ),
        "Have the publishers send again what they published in that time, with the same ids: docs/runbooks/AcequiaMessagesLost.md.",
    );
    Ok(())
}

/// A queue, as the broker's management shows it.
#[derive(Debug, Deserialize)]
struct Queue {
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    online: Vec<String>,
}

/// A node of the cluster.
#[derive(Debug, Deserialize)]
struct Node {
    running: bool,
}

/// Checks whether every queue has a copy on enough nodes. AMQP does not tell, so the broker's management is
/// asked, where its address is given.
pub(super) async fn of_queues(
    management: Option<Management<'_>>,
    domains: &[&'static Domain],
    findings: &mut Findings,
) {
    const CHECK: &str = "queue members";
    let Some(management) = management else {
        let found = "not checked: set RABBITMQ_MANAGEMENT_URL, for example http://user:password@127.0.0.1:15672";
        findings.add(CHECK, Verdict::Ok, found, "");
        return;
    };
    let looked = async {
        let (_, broker) = management;
        let addresses = broker.expose_all()?;
        let broker = addresses.first().context("no AMQP_URL")?;
        let nodes: Vec<Node> = page(management.0, broker, &["nodes"]).await?;
        let queues: Vec<Queue> = of_vhost(management, &["queues"], &[]).await?;
        anyhow::Ok((nodes, queues))
    };
    match looked.await {
        Ok((nodes, queues)) => {
            let ours = queues_of(domains);
            let running = nodes.iter().filter(|node| node.running).count();
            let wrong = few_members(nodes.len(), &queues, &ours);
            if wrong.is_empty() {
                let found = format!("{} nodes, {running} running; every queue has a copy on enough of them", nodes.len());
                findings.add(CHECK, Verdict::Ok, found, "");
                return;
            }
            findings.add(
                CHECK,
                Verdict::Warn,
                format!("{} nodes, {running} running: {}", nodes.len(), wrong.join("; ")),
                "Add members on the nodes that have none: `rabbitmq-queues grow NODE all`, once for each of those nodes. A classic \
                 queue lives on one node and has no copy: publish to exchange acequia instead.",
            );
        }
        Err(error) => findings.add(
            CHECK,
            Verdict::Warn,
            format!("not checked: {}", said(&error)),
            "Correct RABBITMQ_MANAGEMENT_URL: its user needs the tag `monitoring` and the right to see the vhost.",
        ),
    }
}

/// Queues with a copy on fewer nodes than there are, up to the three that quorum queues are made with.
fn few_members(nodes: usize, queues: &[Queue], ours: &[String]) -> Vec<String> {
    let wanted = nodes.min(3);
    let ours = queues.iter().filter(|queue| ours.contains(&queue.name));
    let few = ours.filter_map(|queue| {
        let Queue {
            name,
            kind,
            members,
            online,
        } = queue;
        if kind.as_deref() == Some("classic") {
            return (nodes > 1).then(|| format!("{name} is a classic queue, on one node"));
        }
        if members.len() < wanted {
            return Some(format!("{name} has {} member(s)", members.len()));
        }
        (online.len() < members.len()).then(|| {
            format!(
                "{name}: {} of {} members online",
                online.len(),
                members.len()
            )
        })
    });
    few.collect()
}

/// A page of the broker's management about something in the virtual host that is worked in.
pub(super) async fn of_vhost<T: for<'a> Deserialize<'a>>(
    (management, broker): Management<'_>,
    before: &[&str],
    after: &[&str],
) -> anyhow::Result<T> {
    let addresses = broker.expose_all()?;
    let broker = addresses.first().context("no AMQP_URL")?;
    let vhost = match decoded(broker.path().trim_start_matches('/')) {
        vhost if vhost.is_empty() => "/".to_owned(),
        vhost => vhost,
    };
    let path = [before, &[vhost.as_str()], after].concat();
    page(management, broker, &path).await
}

async fn page<T: for<'a> Deserialize<'a>>(
    management: &SecretUrl,
    broker: &Url,
    path: &[&str],
) -> anyhow::Result<T> {
    let mut url = management.expose()?;
    let login = if url.username().is_empty() {
        broker
    } else {
        &url
    };
    let (user, password) = (
        decoded(login.username()),
        decoded(login.password().unwrap_or_default()),
    );
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        bail!("it has no host");
    }
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("it has no host"))?
        .pop_if_empty()
        .push("api")
        .extend(path);
    // One of several may be there: rustls does not choose by itself. Set already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(PAGE_WITHIN).build()?;
    let request = client.get(url).basic_auth(user, Some(password));
    let answer = request.send().await.map_err(reqwest::Error::without_url)?;
    if answer.status() != StatusCode::OK {
        bail!("the broker's management answers {}", answer.status());
    }
    let body = answer.bytes().await.map_err(reqwest::Error::without_url)?;
    serde_json::from_slice(&body).context("the answer is not that of RabbitMQ's management")
}

/// The text of a part of a URL.
fn decoded(part: &str) -> String {
    let query = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    let value = url::form_urlencoded::parse(query.as_bytes()).next();
    value.map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standbys_that_no_commit_waits_for_are_a_warning_and_one_that_is_missed_is_a_failure() {
        let judge = |names: &str, standbys, synchronous, seen| {
            let names = names.to_owned();
            Standbys {
                names,
                standbys,
                synchronous,
                seen,
            }
            .judge()
            .0
        };
        assert_eq!(judge("", 0, 0, true), Verdict::Ok);
        assert_eq!(judge("", 2, 0, false), Verdict::Warn);
        assert_eq!(judge("ANY 1 (*)", 0, 0, false), Verdict::Fail);
        assert_eq!(judge("ANY 1 (other)", 1, 0, true), Verdict::Fail);
        assert_eq!(judge("ANY 1 (*)", 1, 0, false), Verdict::Ok);
        assert_eq!(judge("ANY 1 (*)", 2, 1, true), Verdict::Ok);
    }

    #[test]
    fn parts_of_a_url_are_decoded() {
        assert_eq!(decoded("a%2Fb+c&d%25"), "a/b+c&d%");
        assert_eq!(decoded(""), "");
    }

    #[test]
    fn queues_with_too_few_copies_are_named() {
        let queue = |name: &str, kind: &str, members: usize, online: usize| Queue {
            name: name.to_owned(),
            kind: Some(kind.to_owned()),
            members: vec![String::new(); members],
            online: vec![String::new(); online],
        };
        let queues = [
            queue("one", "quorum", 1, 1),
            queue("two", "quorum", 3, 2),
            queue("old", "classic", 0, 0),
            queue("well", "quorum", 3, 3),
            queue("strange", "quorum", 1, 1),
        ];
        let ours = ["one", "two", "old", "well"].map(ToOwned::to_owned);
        assert_eq!(
            few_members(5, &queues, &ours),
            [
                "one has 1 member(s)",
                "two: 2 of 3 members online",
                "old is a classic queue, on one node"
            ]
        );
        assert_eq!(few_members(1, &queues[..1], &ours), [""; 0]);
    }
}
