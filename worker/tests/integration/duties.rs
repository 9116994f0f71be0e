//! What each role cannot stop or destroy by the rights that it has, and the page that lists these.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use acequia_net::SecretUrl;
use acequia_schema::{Options, migrate, migrate_with};
use acequia_testkit::{Services, TestDatabase};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::consumo::{Feed, generated};
use crate::support::program::{finish, program};
use crate::support::{Message, Platform};

const ROLES: [&str; 6] = [
    "worker",
    "archive",
    "operator",
    "analyst",
    "api",
    "publisher",
];

/// SQLSTATE and text of what a statement is answered; `None` when it was done.
async fn answer(database: &str, statements: &str) -> Option<(String, String)> {
    let mut connection = PgConnection::connect(database).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await;
    let error = done.err()?;
    let error = error.as_database_error().expect("an answer");
    Some((
        error.code().unwrap_or_default().into_owned(),
        error.message().to_owned(),
    ))
}

async fn code(database: &str, statements: &str) -> Option<String> {
    answer(database, statements).await.map(|(code, _)| code)
}

fn denied() -> Option<String> {
    Some("42501".to_owned())
}

const FUNCTIONS: &str = "
select p.oid::regprocedure::text, r.role::text, has_function_privilege('acequia_' || r.role, p.oid, 'execute'),
       coalesce((select string_agg(distinct w.duty, ', ' order by w.duty) from core.rights w
           where w.kind = 'function' and w.role = 'acequia_' || r.role
             and w.object = format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes))), '')
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
cross join unnest($1::text[]) r (role)
where n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select domain from core.entities)
order by 1, r.role";

const RELATIONS: &str = "
select c.oid::regclass::text, r.role::text, coalesce(string_agg(p.name, ', ' order by p.position), '')
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join unnest($1::text[]) r (role)
left join lateral (
    select v.position, v.name || case when v.whole then '' else ' (' || (
            select string_agg(a.attname, ', ' order by a.attname) from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              and has_column_privilege('acequia_' || r.role, c.oid, a.attnum, v.name)) || ')' end as name
    from (
        select x.position, x.name, has_table_privilege('acequia_' || r.role, c.oid, x.name) as whole
        from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) with ordinality x (name, position)
        where c.relkind <> 'S' and (has_table_privilege('acequia_' || r.role, c.oid, x.name)
            or x.name in ('select', 'insert', 'update', 'references') and has_any_column_privilege('acequia_' || r.role, c.oid, x.name))
        union all
        select x.position, x.name, true
        from unnest(array['usage', 'select', 'update']) with ordinality x (name, position)
        where c.relkind = 'S' and has_sequence_privilege('acequia_' || r.role, c.oid, x.name)
    ) v
) p on true
where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not c.relispartition
  and (n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select domain from core.entities))
group by c.oid, r.role
order by 1, r.role";

/// The page of rights, as the catalog of the database has them.
async fn page(platform: &Platform) -> String {
    let mut owner = platform.connect().await;
    let mut page = String::from(
        "# Rights\n\nEvery function and relation of the platform and who may do what with it, as the database says after `worker migrate`. \
         What no role is listed for is\nthe owner's alone: it is called by other functions. Why the roles are cut like this: \
         [ADR 35](adr/0035-a-login-for-each-duty.md). `acequia_publisher` has no\nrights yet.\n\n\
         This page is made by a test: `UPDATE_RIGHTS=1 cargo test -p acequia-worker --test integration duties::the_page`.\n\n\
         ## Functions\n\n| function | role | duty |\n|---|---|---|\n",
    );
    let functions: Vec<(String, String, bool, String)> = sqlx::query_as(FUNCTIONS)
        .bind(ROLES)
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let mut rows: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (function, role, may, duty) in functions {
        let row = rows.entry(function).or_default();
        if may {
            row.0.push(role);
        }
        if !duty.is_empty() && !row.1.contains(&duty) {
            row.1.push(duty);
        }
    }
    for (function, (roles, duties)) in &rows {
        let (roles, duties) = (roles.join(", "), duties.join(", "));
        writeln!(page, "| `{function}` | {roles} | {duties} |").unwrap();
    }
    let relations: Vec<(String, String, String)> = sqlx::query_as(RELATIONS)
        .bind(ROLES)
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let mut rows: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (relation, role, rights) in relations {
        rows.entry(relation).or_default().insert(role, rights);
    }
    let heads: Vec<_> = ROLES[..5].iter().map(ToString::to_string).collect();
    writeln!(
        page,
        "\n## Relations\n\n| relation | {} |\n|---{}|",
        heads.join(" | "),
        "|---".repeat(heads.len())
    )
    .unwrap();
    for (relation, rights) in &rows {
        let cells: Vec<_> = heads.iter().map(|role| rights[role].as_str()).collect();
        writeln!(page, "| `{relation}` | {} |", cells.join(" | ")).unwrap();
        assert!(rights["publisher"].is_empty());
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_rights_is_what_the_database_says() {
    let platform = Platform::new().await;
    let is = page(&platform).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rights.md");
    if std::env::var_os("UPDATE_RIGHTS").is_some() {
        std::fs::write(&file, &is).unwrap();
    }
    let said = std::fs::read_to_string(&file).unwrap_or_default();
    let new = is.lines().filter(|line| !said.contains(line));
    let old = said.lines().filter(|line| !is.contains(line));
    assert!(
        is == said,
        "docs/rights.md differs, see UPDATE_RIGHTS there:\n{}",
        new.map(|line| format!("+ {line}\n"))
            .chain(old.map(|line| format!("- {line}\n")))
            .collect::<String>()
    );
}

/// Every function that a program calls is granted to a role; `worker migrate` is the owner.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_programs_call_is_granted() {
    let platform = Platform::new().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("../crates")];
    let mut called = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("schema") {
                folders.push(path);
            } else if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                for part in text.split("core.").skip(1) {
                    let name = part.find(|c: char| !c.is_ascii_lowercase() && c != '_');
                    let name = &part[..name.unwrap_or(0)];
                    if part[name.len()..].starts_with('(') {
                        called.insert(name.to_owned());
                    }
                }
            }
        }
    }
    assert!(called.contains("promote"));
    let known = platform
        .texts("select proname::text from pg_proc where pronamespace = 'core'::regnamespace")
        .await;
    let granted = platform
        .texts("select distinct substring(object from '^core[.]([a-z_]+)') from core.rights where kind = 'function' and object like 'core.%'")
        .await;
    let without: Vec<_> = called
        .iter()
        .filter(|name| known.contains(name) && !granted.contains(name))
        .collect();
    assert!(
        without.is_empty(),
        "no role may call core.{without:?}: list them in sql/routines/core/9_grants.sql"
    );
}

/// A new function is nobody's until it is listed, and a right that is given by hand to a program's
/// role is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_is_not_granted() {
    let platform = Platform::new().await;
    platform
        .execute(
            "create function core.new_one() returns integer language sql set search_path = pg_catalog, pg_temp as 'select 1';
             grant execute on function core.marts_rebuilt(text[]) to acequia_worker;
             grant delete on core.batches to acequia_worker; grant update (body) on raw.quarantine to acequia_operator;
             revoke execute on function core.promote(text, integer) from acequia_worker;
             grant select on core.batches to acequia_analyst",
        )
        .await;
    let everybody = "select count(*) from unnest(array['worker', 'archive', 'operator', 'analyst', 'api', 'publisher']) r
        where has_function_privilege('acequia_' || r, 'core.new_one()', 'execute')";
    assert_eq!(platform.number(everybody).await, 0);
    let owner = SecretUrl::parse(&platform.database.owner, &["postgres"]).unwrap();
    assert_eq!(migrate(&owner, &[]).await.unwrap().rights, 4);
    assert_eq!(migrate(&owner, &[]).await.unwrap().rights, 0);
    assert_eq!(
        platform
            .texts("select role || ' ' || privilege || ' ' || object from core.granted g where g.object in ('core.batches', 'raw.quarantine.body')
                or g.object like 'core.marts_rebuilt%' or g.object like 'core.promote%' order by 1")
            .await,
        [
            "acequia_analyst select core.batches", "acequia_api select core.batches", // an administrator's choice
            "acequia_archive select core.batches",
            "acequia_operator select core.batches",
            "acequia_worker execute core.promote(text, integer)",
            "acequia_worker insert core.batches",
            "acequia_worker select core.batches",
        ]
    );
}

const READINGS: &str = "--clients 2 --days 20 --start 2024-05-01 --seed 1";

#[tokio::test(flavor = "multi_thread")]
async fn only_a_copy_of_the_rows_lets_a_partition_go() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    feed.send(&generated(READINGS)).await;
    let readings = "select count(*) from consumo.lecturas";
    let rows = platform.number(readings).await;
    assert!(rows > 900, "{rows}");
    let (worker, archive) = (&platform.database.worker, &platform.database.archive);
    let begin = "select core.archive_begin(1, 'consumo.lecturas', '2024-05-01', 'x', 'mallory')";
    let verified = |rows: i64, first: &str, last: &str, sum: &str| {
        format!(
            "select core.archive_verified(1, max(archive_id), {rows}, '{first}', '{last}', '{sum}', '{sum}', 1, 1, '[]', 'mallory') from core.archives"
        )
    };
    let drop = "select core.archive_drop(1, max(archive_id), 'mallory') from core.archives";
    let sum = "0".repeat(64);
    let (first, last) = (
        platform
            .texts("select min(instante)::text from consumo.lecturas")
            .await
            .remove(0),
        platform
            .texts("select max(instante)::text from consumo.lecturas where instante < '2024-06-01'")
            .await
            .remove(0),
    );
    let may = "select count(*) from consumo.lecturas where instante < '2024-06-01'";
    let in_may = platform.number(may).await;
    // The worker can do no step of it.
    for statement in [
        begin,
        &verified(in_may, &first, &last, &sum),
        drop,
        "select core.archive_abandon(1, 1, '', '')",
        "select core.archive_recover(1, '')",
        "select core.archive_deleted(1, 1, '')",
        "select core.restore_begin(1, 1, '')",
        "select core.restore_attach(1, 1, 1, '', '1 day', '')",
        "select core.purge(1, 'consumo.lecturas', '2000-01-01', '2100-01-01', true, '', '')",
        "select core.drop_day('stg.consumo_lectura_p20240501', '2100-01-01')",
    ] {
        assert_eq!(code(worker, statement).await, denied(), "{statement}");
    }
    // The archive's role only with what fits the rows that are there.
    assert_eq!(code(archive, begin).await, None);
    assert!(code(archive, drop).await.is_some(), "nothing is verified");
    for (rows, first, last, sum) in [
        (in_may - 1, first.as_str(), last.as_str(), sum.as_str()),
        (in_may, "2024-05-02", last.as_str(), sum.as_str()),
        (in_may, first.as_str(), "2024-05-30", sum.as_str()),
        (in_may, first.as_str(), last.as_str(), "made up"),
    ] {
        let made_up = verified(rows, first, last, sum);
        let (code, said) = answer(archive, &made_up).await.expect("a refusal");
        assert_eq!(code, "XX001", "{made_up}: {said}");
        assert!(code != "42501" && self::code(archive, drop).await.is_some());
    }
    assert_eq!(platform.number(readings).await, rows);
    // An operator decides, too, which archives are given up.
    let purge =
        "select core.purge(1, 'consumo.lecturas', '2000-01-01', '2100-01-01', true, '', '')";
    assert_eq!(code(archive, purge).await, denied());
    assert_eq!(code(&platform.database.operator, drop).await, denied());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_less_than_the_owner_says() {
    let platform = Platform::new().await;
    let running = platform.worker(&[]);
    running.ready().await;
    let bad = |id: usize| Message::new("academico", "alumno", format!("[{id}]"));
    platform
        .publish_all(&(0..4).map(bad).collect::<Vec<_>>())
        .await;
    platform.settled(4).await;
    running.stop().await;
    // Two rows are resolved, two wait for somebody; all are as old as one can be without being due.
    let old = "update raw.quarantine set day = '1970-01-01', last_seen_at = now() - interval '364 days', received_at = now() - interval '364 days';
        insert into core.audit_log (at, who, action, quarantine_ids) values (now() - interval '364 days', 'ana', 'edit', '{1}')";
    platform.execute(old).await;
    let operator = &platform.database.operator;
    let discard = "update raw.quarantine set status = 'discarded', resolved_at = now() where quarantine_id in (select q.quarantine_id from raw.quarantine q order by 1 limit 2)";
    assert_eq!(code(operator, discard).await, None);

    let worker = &platform.database.worker;
    let rows = "select count(*) from raw.quarantine";
    let audit = "select count(*) from core.audit_log";
    for wish in [
        "'0', '0', '0'",
        "'-1 day', null, '1 second'",
        "null, null, null",
    ] {
        let retain = format!("select * from core.retain({wish})");
        assert_eq!(code(worker, &retain).await, None, "{wish}");
        assert_eq!(platform.number(rows).await, 4, "{wish}");
        assert_eq!(platform.number(audit).await, 1, "{wish}");
    }
    // Nor by a setting of the program.
    let keep = [
        "--quarantine-keep",
        "0s",
        "--log-keep",
        "0s",
        "--staging-keep",
        "0s",
        "--orphan-ttl",
        "1s",
    ];
    let running = platform.worker(&keep);
    running.ready().await;
    let maintained = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'acequia loops' and query like '%core.retain%'";
    acequia_testkit::wait_for("housekeeping", async || {
        Ok(platform.number(maintained).await > 0)
    })
    .await
    .unwrap();
    running.stop().await;
    assert_eq!(platform.number(rows).await, 4);
    assert_eq!(platform.number(audit).await, 1);

    // The period ends: decided rows go, open ones stay.
    platform
        .execute("update raw.quarantine set last_seen_at = now() - interval '4000 days'")
        .await;
    assert_eq!(
        code(worker, "select * from core.retain(null, null, null)").await,
        None
    );
    assert_eq!(
        platform.texts("select status from raw.quarantine").await,
        ["open", "open"]
    );

    // The owner's own bounds.
    for (what, least) in [
        ("staging", "1 day"),
        ("quarantine", "30 days"),
        ("logs", "7 days"),
    ] {
        let set = format!(
            "update core.retention set keep = interval '{least}' - interval '1 second' where what = '{what}'"
        );
        assert_eq!(
            code(&platform.database.owner, &set).await.as_deref(),
            Some("23514")
        );
        let set = format!("update core.retention set keep = '{least}' where what = '{what}'");
        assert_eq!(code(&platform.database.owner, &set).await, None);
        for role in [worker, operator, &platform.database.archive] {
            assert_eq!(code(role, &set).await, denied());
        }
    }
    let mut command = program(&["migrate", "--quarantine-keep", "29d"]);
    command.env("DATABASE_URL", &platform.database.owner);
    let refused = finish(command).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("quarantine 30 days"), "{refused:?}");
    let mut command = program(&["migrate", "--staging-keep", "3d", "--log-keep", "8d"]);
    command.env("DATABASE_URL", &platform.database.owner);
    assert!(finish(command).await.status.success());
    assert_eq!(
        platform.texts("select what || ' ' || extract(day from justify_hours(keep)) from core.retention order by 1").await,
        ["logs 8", "quarantine 30", "staging 3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_cannot_give_messages_up_nor_change_what_they_were() {
    let platform = Platform::new().await;
    let running = platform.worker(&[]);
    running.ready().await;
    platform
        .publish_all([&Message::new("academico", "alumno", "[]")])
        .await;
    platform.settled(1).await;
    running.stop().await;
    let discard = "update raw.quarantine set status = 'discarded'";
    let (worker, operator) = (&platform.database.worker, &platform.database.operator);
    for statement in [
        discard,
        // It may switch the ordinary triggers of its session off.
        "set session_replication_role = replica; update raw.quarantine set status = 'discarded'",
        "update raw.quarantine set body = ''",
        "update raw.quarantine set received_at = '2000-01-01'",
        "update raw.quarantine set properties = '{}', day = '2000-01-01'",
        "delete from raw.quarantine",
        "begin; lock table raw.quarantine in access exclusive mode",
        "insert into core.audit_log (who, action, quarantine_ids) values ('ana', 'discard', '{1}')",
        "insert into raw.quarantine_versions (quarantine_id, version, body, by) values (1, 1, '', 'ana')",
        "select core.open_gate(null, null, 'mallory', 'why not')",
        "select core.marts_rebuilt('{marts.kpi_materia}')",
    ] {
        assert_eq!(code(worker, statement).await, denied(), "{statement}");
    }
    // What it is there for: the reason of a message that came again.
    let again = "update raw.quarantine set occurrences = occurrences + 1, code = 'invalid_json', status = 'open'";
    assert_eq!(code(worker, again).await, None);
    // Partitions for years ahead would be as many tables.
    let ahead = "select core.ensure_partitions(1000000)";
    assert_eq!(code(worker, ahead).await, None);
    let most = "select max(n) from (select count(*) as n from pg_inherits group by inhparent) x";
    assert!(platform.number(most).await < 40);
    assert_eq!(
        code(operator, "update raw.quarantine set body = ''").await,
        denied()
    );
    assert_eq!(code(operator, discard).await, None);
}

/// Roles belong to the server: a second installation must not lock the first one out.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_database_does_not_take_the_roles_of_the_first() {
    let services = Services::start().await.unwrap();
    let (first, second) = (
        TestDatabase::empty(&services).await.unwrap(),
        TestDatabase::empty(&services).await.unwrap(),
    );
    let url = |database: &TestDatabase| SecretUrl::parse(&database.owner, &["postgres"]).unwrap();
    let with = |password: &str, take_over_roles| Options {
        passwords: vec![("acequia_worker", password.to_owned())],
        take_over_roles,
        ..Options::default()
    };
    let login = async |database: &TestDatabase, password: &str| {
        let mut worker: url::Url = database.worker.parse().unwrap();
        worker.set_password(Some(password)).unwrap();
        PgConnection::connect(worker.as_str()).await.is_ok()
    };
    migrate_with(&url(&first), &with("one", false))
        .await
        .unwrap();
    assert!(login(&first, "one").await);
    let refused = migrate_with(&url(&second), &with("two", false)).await;
    let refused = format!("{:#}", refused.unwrap_err());
    let name = first.name().unwrap();
    for word in [name.as_str(), "acequia_worker", "--take-over-roles"] {
        assert!(refused.contains(word), "{refused}");
    }
    assert!(!refused.contains("two"), "{refused}");
    assert!(login(&first, "one").await && !login(&first, "two").await);
    // The same password serves both; without one nothing is asked.
    migrate_with(&url(&second), &with("one", false))
        .await
        .unwrap();
    migrate(&url(&second), &[]).await.unwrap();
    assert!(login(&first, "one").await && login(&second, "one").await);
    // A new one locks the other out as well, whichever came first.
    assert!(
        migrate_with(&url(&first), &with("two", false))
            .await
            .is_err()
    );
    migrate_with(&url(&first), &with("two", true))
        .await
        .unwrap();
    assert!(login(&first, "two").await && !login(&second, "one").await);
    // Alone again, it may change what it likes.
    second.drop().await.unwrap();
    migrate_with(&url(&first), &with("three", false))
        .await
        .unwrap();
    assert!(login(&first, "three").await);
}

/// What a role can do to the server as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn people_have_limits() {
    let platform = Platform::new().await;
    let limits = "select rolname || ' ' || rolconnlimit from pg_roles where rolname in ('acequia_analyst', 'acequia_operator', 'acequia_api') order by 1";
    assert_eq!(
        platform.texts(limits).await,
        [
            "acequia_analyst 20",
            "acequia_api 20",
            "acequia_operator 20"
        ]
    );
    let owner = SecretUrl::parse(&platform.database.owner, &["postgres"]).unwrap();
    migrate(&owner, &[]).await.unwrap();
    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    for (setting, value) in [
        ("statement_timeout", "1min"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("temp_file_limit", "20GB"),
    ] {
        let found: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut analyst)
            .await
            .unwrap();
        assert_eq!(found, value, "{setting}");
    }
    for statement in [
        "select lo_create(0)",
        "select lo_creat(0)",
        "select lo_from_bytea(0, '')",
        "select pg_logical_emit_message(true, 'x', repeat('x', 100))",
        "set temp_file_limit = -1",
        "create table public.mine (id integer)",
    ] {
        for role in [
            &platform.database.analyst,
            &platform.database.worker,
            &platform.database.archive,
            &platform.database.operator,
        ] {
            assert_eq!(code(role, statement).await, denied(), "{statement}");
        }
    }
    // A transaction that somebody holds open is seen by the role of the worker.
    let mut idle = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    let open = idle.begin().await.unwrap();
    let long =
        "select count(*) from core.long_transactions('0 seconds') where login = 'acequia_analyst'";
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar(long)
        .fetch_one(&mut worker)
        .await
        .unwrap();
    assert!(seen >= 1, "{seen}");
    open.rollback().await.unwrap();
}

/// Rows that a constraint refuses are personal data.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_the_server_has_no_values() {
    const NAME: &str = "Leocadia Zubizarreta";
    let platform = Platform::new().await;
    for (statement, refused) in [
        (
            "insert into academico.alumnos (id, nombre, event_at, message_id, batch_id) values ($1, $2, now(), gen_random_uuid(), 1)",
            -7,
        ),
        (
            "insert into academico.alumnos (id, nombre, event_at, message_id, batch_id) select 5, $2, now(), gen_random_uuid(), 1 from generate_series(1, 2 + 0 * $1)",
            1,
        ),
        ("select $2 || (1 / ($1 - 1))::text", 1),
    ] {
        let failed = sqlx::query(statement)
            .bind(refused)
            .bind(NAME)
            .execute(&mut platform.connect().await)
            .await;
        assert!(failed.is_err(), "{statement}");
    }
    let data = platform.services.var("POSTGRES_DATA_DIR").unwrap();
    let log = Path::new(data).with_file_name("server.log");
    let log = || std::fs::read_to_string(&log).unwrap();
    acequia_testkit::wait_for("the errors in the log", async || {
        Ok(log().contains("alumnos_id_check") && log().contains("division by zero"))
    })
    .await
    .unwrap();
    assert!(!log().contains(NAME));
    assert!(!log().contains("DETAIL"));
}
