//! Faults in the middle of work: a killed API, servers and worker away, and callers that send a byte now and then.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use acequia_api::auth::Role;
use acequia_api::run::Servers;
use acequia_testkit::{Proxy, wait_for};
use serde_json::{Value, json};

use crate::process::Process;
use crate::quarantine::{ROWS, refused};
use crate::support::{Platform, url};

/// Rows that the only operation has done, as the database says.
async fn done(platform: &Platform) -> i64 {
    platform.number("select done from core.operations").await
}

async fn some_done(platform: &Platform) {
    wait_for("progress", async || Ok(done(platform).await > 0))
        .await
        .unwrap();
}

/// Asks for a replay of everything; its number.
async fn replay(platform: &Platform, token: &str, rate: Option<u32>) -> Value {
    let body = json!({"all": true, "reason": "a test of faults", "rate": rate});
    let answer = platform.post(token, "/v1/quarantine/replay", &body).await;
    answer.is(202)["operation_id"].clone()
}

/// As if its process had been silent for half a minute; and the rest need not be slow.
async fn forgotten(platform: &Platform) {
    platform
        .execute("update core.operations set seen_at = now() - interval '1 minute', rate = null where finished_at is null")
        .await;
}

/// The operation comes to its end, and every row has had its effect once.
async fn nothing_lost_nothing_doubled(platform: &Platform, token: &str, operation: &Value) {
    let ended = platform.ended(token, operation).await;
    assert_eq!(
        (&ended["state"], &ended["failed"]),
        (&json!("done"), &json!(0)),
        "{ended}"
    );
    wait_for("every row in its table", async || {
        Ok(platform
            .number("select count(*) from academico.alumnos")
            .await
            == ROWS)
    })
    .await
    .unwrap();
    wait_for("accounts that balance", async || {
        let open = "select count(*) from raw.quarantine where status = 'open'";
        let unaccounted =
            "select coalesce(sum(abs(unaccounted)), 0)::bigint from core.conservation";
        Ok(platform.number(open).await == 0 && platform.number(unaccounted).await == 0)
    })
    .await
    .unwrap();
    let inserted =
        "select coalesce(sum(inserted), 0)::bigint from core.conservation where entity = 'alumno'";
    assert_eq!(platform.number(inserted).await, ROWS, "each row once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_api_leaves_a_bulk_action_that_another_one_ends() {
    // Between the confirms of a chunk and its commit: the messages have arrived, and nothing says so.
    for failpoint in ["after_confirms:2", ""] {
        let (platform, api) = Platform::new().await;
        api.stop().await;
        refused(&platform).await;
        let worker = platform.worker().await;
        let token = platform.token(Role::Operator, None).await;
        let mut first = Process::start(&platform, failpoint).await;
        let rate = if failpoint.is_empty() {
            Some(300)
        } else {
            None
        };
        let operation = replay(&platform, &token, rate).await;
        if failpoint.is_empty() {
            some_done(&platform).await;
            // SIGKILL.
            first.kill();
        }
        first.ended().await;
        drop(first);
        let so_far = done(&platform).await;
        assert!(so_far > 0 && so_far < ROWS, "{so_far}");
        let state = platform.text("select state from core.operations").await;
        assert_eq!(state, "running");
        let second = Process::start(&platform, "").await;
        forgotten(&platform).await;
        nothing_lost_nothing_doubled(&platform, &token, &operation).await;
        drop(second);
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_goes_on_when_the_broker_is_back() {
    let (platform, api) = Platform::new().await;
    api.stop().await;
    refused(&platform).await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Admin, None).await;
    let proxy = Proxy::to(&platform.broker.url).await.unwrap();
    let servers = Servers {
        broker: Some(url(&proxy.url(&platform.broker.url).unwrap())),
        ..platform.servers()
    };
    let api = platform.serve_on(servers, &[]).await;
    let operation = replay(&platform, &token, Some(300)).await;
    some_done(&platform).await;
    proxy.cut(true);
    let alumno = json!({"id_alumno": 1, "nombre": "Alumno 1", "edad": 20, "genero": "F"});
    let send = "/v1/messages/academico/alumno";
    let refused = platform.post(&token, send, &alumno).await;
    refused.is_problem(503, "broker_unavailable");
    assert_ne!(refused.header("retry-after"), "");
    // Calls that do not need the broker are answered.
    platform.get(&token, "/v1/marts").await.is(200);
    let shown = format!("/v1/operations/{operation}");
    let stopped = platform.get(&token, &shown).await.is(200);
    assert!(stopped["finished_at"].is_null(), "{stopped}");
    proxy.cut(false);
    wait_for("a way to the broker", async || {
        Ok(platform.post(&token, send, &alumno).await.status == 202)
    })
    .await
    .unwrap();
    // It is taken up again and again; until its last attempt is half a minute old.
    wait_for("an operation that has ended", async || {
        forgotten(&platform).await;
        Ok(!platform.get(&token, &shown).await.is(200)["finished_at"].is_null())
    })
    .await
    .unwrap();
    nothing_lost_nothing_doubled(&platform, &token, &operation).await;
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_goes_on_when_the_database_is_back() {
    let (platform, api) = Platform::new().await;
    api.stop().await;
    refused(&platform).await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Admin, None).await;
    let proxy = Proxy::to(&platform.database.api).await.unwrap();
    let by_proxy = |address: &str| url(&proxy.url(address).unwrap());
    let servers = Servers {
        database: by_proxy(&platform.database.api),
        operator: Some(by_proxy(&platform.database.operator)),
        ..platform.servers()
    };
    let api = platform.serve_on(servers, &[]).await;
    let operation = replay(&platform, &token, Some(300)).await;
    some_done(&platform).await;
    proxy.cut(true);
    wait_for("calls that say so", async || {
        let answer = platform.get(&token, "/v1/marts").await;
        Ok(answer.status == 503 && answer.json()["code"] == "database_unavailable")
    })
    .await
    .unwrap();
    let away = platform.get(&token, "/v1/marts").await;
    assert_ne!(away.header("retry-after"), "");
    platform.call("GET", "/livez", &[], "").await;
    let ready = platform.call("GET", "/readyz", &[], "").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    proxy.cut(false);
    wait_for("calls that are answered", async || {
        Ok(platform.get(&token, "/v1/marts").await.status == 200)
    })
    .await
    .unwrap();
    forgotten(&platform).await;
    nothing_lost_nothing_doubled(&platform, &token, &operation).await;
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_without_a_worker_arrives_when_there_is_one() {
    let (platform, api) = Platform::new().await;
    // It declares the queues.
    platform.worker().await.stop().await;
    refused(&platform).await;
    let token = platform.token(Role::Admin, None).await;
    let operation = replay(&platform, &token, None).await;
    let ended = platform.ended(&token, &operation).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("done"), &json!(ROWS))
    );
    let begun = Instant::now();
    let alumno = json!({"id_alumno": 9_999, "nombre": "Ana", "edad": 20, "genero": "F"});
    let accepted = platform
        .post(&token, "/v1/messages/academico/alumno?wait=300ms", &alumno)
        .await
        .is(202);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let merged = "select count(*) from academico.alumnos";
    assert_eq!(platform.number(merged).await, 0);
    let worker = platform.worker().await;
    wait_for("what was accepted", async || {
        Ok(platform.number(merged).await == ROWS + 1)
    })
    .await
    .unwrap();
    let id = accepted["message_id"].as_str().expect("an id");
    let trace = platform.get(&token, &format!("/v1/messages/{id}")).await;
    assert_eq!(trace.is(200)["outcome"], "current");
    worker.stop().await;
    api.stop().await;
}

/// Callers who send a byte now and then hold a place for half a minute, and a call no longer than any other.
#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_cut_off_and_others_are_served_meanwhile() {
    const SLOW: usize = 200;
    /// Longest time for the head of a call, and some more.
    const WITHIN: Duration = Duration::from_secs(45);
    let (platform, api) = Platform::with(&["--call-max-s", "2"]).await;
    let token = platform.token(Role::Admin, None).await;
    let connect = || TcpStream::connect(&platform.api).unwrap();
    let mut heads: Vec<_> = (0..SLOW).map(|_| connect()).collect();
    let mut body = connect();
    write!(
        body,
        "POST /v1/gates/open HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    )
    .unwrap();
    let begun = Instant::now();
    let mut head = b"GET /v1/marts HTTP/1.1\r\nX-Slow: "
        .iter()
        .chain([b'a'; 100].iter());
    let mut longest = Duration::ZERO;
    while !heads.is_empty() {
        assert!(begun.elapsed() < WITHIN, "{} are still there", heads.len());
        let byte = *head.next().unwrap();
        heads.retain_mut(|stream| stream.write_all(&[byte]).is_ok() && open(stream));
        let asked = Instant::now();
        platform.get(&token, "/v1/marts").await.is(200);
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!(
        "{SLOW} slow heads were closed after {:.1} s; the slowest call meanwhile took {:.0} ms",
        begun.elapsed().as_secs_f64(),
        longest.as_secs_f64() * 1e3
    );
    let mut answer = [0; 12];
    body.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    body.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
    api.stop().await;
}

/// Whether the other side has not closed a connection.
fn open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 256]);
    stream.set_nonblocking(false).unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// A server without connections left is not away: callers are asked to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_connections_left_is_busy() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Viewer, None).await;
    platform
        .execute("do $$ begin execute format('alter database %I connection limit 0', current_database()); end $$")
        .await;
    let calls = (0..12).map(|_| platform.get(&token, "/v1/streams"));
    let answers = futures_util::future::join_all(calls).await;
    let (answered, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(!refused.is_empty(), "{} answered", answered.len());
    for answer in refused {
        let problem = answer.is_problem(503, "busy");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("connection limit")
        );
    }
    api.stop().await;
}
