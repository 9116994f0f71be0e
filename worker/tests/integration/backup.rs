//! A filled database is saved and restored, as docs/operations/backup.md says: by a dump, and by a base
//! backup with the log since then. Ledger and marts are unchanged, and a worker continues with it.

use acequia_testkit::{Services, TestEnv, free_port, wait_for};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

use crate::support::school::{alumnos, calificacion, grupo, inscripcion, maestro, materia};
use crate::support::{Message, Platform};

/// Everything that the ledger and the marts say, and how many rows every table has.
const CONTENT: &str = "
    with said as (
        select unnest(array['core', 'raw', 'stg'] || array(select distinct domain from core.entities)) as schema
    ), every as (
        select c.oid::regclass::text as name, c.relkind
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'm', 'v') and not c.relispartition
          and (n.nspname = 'marts' or c.oid = 'core.conservation'::regclass)
        union all
        select c.oid::regclass::text, 'n'::\"char\"
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition
          and n.nspname in (select schema from said)
    )
    select name || ' ' || case relkind when 'n'
        then (xpath('/row/n/text()', query_to_xml('select count(*) as n from ' || name, false, true, '')))[1]::text
        else md5((select coalesce(string_agg(line, e'\\n' order by line), '') from (
            select unnest(xpath('/table/row', query_to_xml('select * from ' || name, true, false, '')))::text as line) l))
        end
    from every
    where name not in ('marts.freshness', 'core.outbox')
    order by name, relkind";

async fn content(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    sqlx::raw_sql("set transaction isolation level repeatable read; set timezone = 'UTC'")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let content: Vec<String> = sqlx::query_scalar(AssertSqlSafe(CONTENT))
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    assert!(content.len() > 20, "{content:?}");
    content
}

/// A school with a message that waits, one that is refused, and copies.
fn school() -> Vec<Message> {
    let mut all = alumnos(1..60);
    all.extend([maestro(1), materia(1), grupo(1, 1, 1)]);
    all.extend((1..60).map(|id| inscripcion(id, 1)));
    all.extend((1..60).map(|id| calificacion(id, 1, f64::from(id % 11))));
    all.push(inscripcion(1_000, 1));
    all.push(calificacion(1, 1, 4_000.0));
    all
}

fn number(messages: &[Message]) -> i64 {
    i64::try_from(messages.len()).unwrap()
}

/// As the user that PostgreSQL runs under.
async fn as_postgres(services: &Services, script: &str) -> String {
    const WHOLE: &str = "cd /; as=; [ $(id -u) != 0 ] || as='runuser -u postgres --'; exec $as env PATH=\"$PATH\" sh -ec \"$0\"";
    services
        .exec(&["sh", "-c", WHOLE, script])
        .await
        .unwrap_or_else(|error| panic!("{script}: {error}"))
}

/// A restored database takes the same messages again as copies, and new ones.
async fn works(platform: &Platform, before: &[Message]) {
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.publish_all(before).await;
    platform.publish_all(&alumnos(2_000..2_010)).await;
    let students = "select count(*) from academico.alumnos";
    wait_for("the students of after", async || {
        Ok(platform.number(students).await == 69)
    })
    .await
    .unwrap();
    platform.settled(2 * number(before) + 10).await;
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
}

/// A platform with a school in it.
async fn filled(platform: Platform) -> (Platform, Vec<Message>) {
    let messages = school();
    platform.declare().await;
    platform.publish_all(&messages).await;
    let worker = platform.worker(&["--refresh-every", "100ms"]);
    platform.settled(number(&messages)).await;
    wait_for("marts that show it", async || {
        // Fresh alone is not enough: a mart may be behind for as long as its objective says.
        let behind = "select count(*) from marts.freshness f join core.mart_status s using (mart)
            where f.domain = 'academico' and (f.status <> 'fresh' or s.needs_refresh)";
        Ok(platform.number(behind).await == 0)
    })
    .await
    .unwrap();
    worker.stop().await;
    (platform, messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_has_everything() {
    let (platform, messages) = filled(Platform::new().await).await;
    let before = content(&platform.database.admin).await;
    let name = platform.database.name().unwrap();
    let mut server: Url = platform
        .services
        .var("ADMIN_DATABASE_URL")
        .unwrap()
        .parse()
        .unwrap();
    let admin = server.to_string();
    let copy = format!("{name}_restored");
    let dump = std::env::temp_dir().join(format!("{name}.dump"));
    let file = dump.to_str().unwrap();
    let services = platform.services;
    let source = &platform.database.admin;
    services
        .exec(&[
            "pg_dump",
            "--format=custom",
            "--file",
            file,
            "--dbname",
            source,
        ])
        .await
        .unwrap();
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    let create = format!("create database {copy} owner app template template0");
    sqlx::query(AssertSqlSafe(create))
        .execute(&mut connection)
        .await
        .unwrap();
    server.set_path(&copy);
    services
        .exec(&[
            "pg_restore",
            "--exit-on-error",
            "--dbname",
            server.as_str(),
            file,
        ])
        .await
        .unwrap();
    std::fs::remove_file(&dump).unwrap();
    assert_eq!(content(server.as_str()).await, before);

    let mut database = platform.database.clone();
    for url in [
        &mut database.owner,
        &mut database.worker,
        &mut database.analyst,
        &mut database.admin,
    ] {
        *url = url.replace(&name, &copy);
    }
    let restored = TestEnv::of(services, database, platform.broker.clone());
    works(&Platform(restored), &messages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_backup_and_the_log_have_everything() {
    let (platform, messages) = filled(Platform::own().await).await;
    let services = platform.services;
    let data = services.var("POSTGRES_DATA_DIR").unwrap().to_owned();
    let base = data.strip_suffix("/data").unwrap();
    let (log, backup) = (format!("{base}/archived"), format!("{base}/backup"));
    let admin = services.var("ADMIN_DATABASE_URL").unwrap();
    as_postgres(services, &format!("mkdir {log}")).await;
    let mut server = PgConnection::connect(admin).await.unwrap();
    for setting in [
        "archive_mode = 'on'".to_owned(),
        format!("archive_command = 'test ! -f {log}/%f && cp %p {log}/%f'"),
    ] {
        let setting = format!("alter system set {setting}");
        sqlx::query(AssertSqlSafe(setting))
            .execute(&mut server)
            .await
            .unwrap();
    }
    as_postgres(
        services,
        &format!("pg_ctl restart -s -w -m fast -D {data} -l {base}/server.log"),
    )
    .await;
    let take = format!(
        "pg_basebackup --checkpoint=fast --wal-method=none --pgdata={backup} --dbname='{admin}'"
    );
    as_postgres(services, &take).await;

    // Messages after the backup are only in the write-ahead log.
    let worker = platform.worker(&["--refresh-every", "100ms"]);
    let later = alumnos(100..110);
    platform.publish_all(&later).await;
    platform.settled(number(&messages) + number(&later)).await;
    worker.stop().await;
    let before = content(&platform.database.admin).await;
    let mut server = PgConnection::connect(admin).await.unwrap();
    let last: String = sqlx::query_scalar("select pg_walfile_name(pg_switch_wal())")
        .fetch_one(&mut server)
        .await
        .unwrap();
    wait_for("the log in the archive", async || {
        let archived = "select coalesce(last_archived_wal >= $1, false) from pg_stat_archiver";
        Ok(sqlx::query_scalar(archived)
            .bind(&last)
            .fetch_one(&mut server)
            .await?)
    })
    .await
    .unwrap();

    let port = free_port().unwrap();
    let start = format!(
        "touch {backup}/recovery.signal; \
         pg_ctl start -s -w -t 60 -D {backup} -l {backup}/server.log \
            -o \"-p {port} -c archive_mode=off -c unix_socket_directories='' -c restore_command='cp {log}/%f %p'\""
    );
    as_postgres(services, &start).await;
    let mut restored: Url = platform.database.admin.parse().unwrap();
    restored.set_port(Some(port)).unwrap();
    wait_for("the end of the recovery", async || {
        let Ok(mut connection) = PgConnection::connect(restored.as_str()).await else {
            return Ok(false);
        };
        let over = "select not pg_is_in_recovery()";
        Ok(sqlx::query_scalar(over).fetch_one(&mut connection).await?)
    })
    .await
    .unwrap();
    let after = content(restored.as_str()).await;
    as_postgres(
        services,
        &format!("pg_ctl stop -s -w -m immediate -D {backup}"),
    )
    .await;
    assert_eq!(after, before);
}
