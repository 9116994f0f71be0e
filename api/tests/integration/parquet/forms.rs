//! Types, nulls, pages and refusals of Parquet answers.

use acequia_api::auth::Role;

use super::ask;
use super::file::File;
use crate::support::Platform;

/// A mart with a column of each type; the second row has nothing but its number.
const FORMS: &str = "
create type marts.shade as enum ('light', 'dark');
create view marts.forms as
select 1 as id, true as yes, 7::smallint as small, 9000000000::bigint as large, 1.5::real as single, 0.1::float8 as double,
       8.70::numeric(4,2) as short, 123456789.12::numeric(14,3) as middle, '-12345678901234567890.123'::numeric(30,3) as long,
       12345678901234567890.1234567890::numeric as free, 0::numeric as whole,
       '0192f0c1-2b3c-7d4e-8f50-123456789abc'::uuid as ident, '\\x00ff'::bytea as raw, '2024-06-14'::date as day,
       '2024-06-14T19:30:00.000001'::timestamp as clock, '2024-06-14T19:30:00.123456+02'::timestamptz as at,
       'a,\"ñ\"'::text as name, ''::varchar(5) as empty, array[1, null, 3] as list, '{\"a\": [1]}'::jsonb as doc,
       interval '90 minutes' as span, 'dark'::marts.shade as shade
union all
select 2, null, null, null, null, null, null::numeric(4,2), null::numeric(14,3), null::numeric(30,3),
       0.5, null, null, null, null, null, null, null, null, null, null, null, null;
comment on view marts.forms is 'Each type';
comment on column marts.forms.span is 'Length, minutes';
grant usage on type marts.shade to acequia_api;
grant select on marts.forms to acequia_api;
insert into core.marts (mart, domain, kind, position, depends_on, objective) values ('marts.forms', 'academico', 'view', 99, '{}', '1 hour')";

/// Columns: types in the file, the first row, the second one.
const EXPECTED: [(&str, &str, &str); 22] = [
    ("id", "INT32", "1"),
    ("yes", "BOOLEAN", "true"),
    ("small", "INT32 int(16)", "7"),
    ("large", "INT64", "9000000000"),
    ("single", "FLOAT", "1.5"),
    ("double", "DOUBLE", "0.1"),
    ("short", "INT32 decimal(4,2)", "8.70"),
    ("middle", "INT64 decimal(14,3)", "123456789.120"),
    (
        "long",
        "FIXED_LEN_BYTE_ARRAY decimal(30,3)",
        "-12345678901234567890.123",
    ),
    (
        "free",
        "FIXED_LEN_BYTE_ARRAY decimal(38,10)",
        "12345678901234567890.1234567890",
    ),
    ("whole", "FIXED_LEN_BYTE_ARRAY decimal(38,0)", "0"),
    (
        "ident",
        "FIXED_LEN_BYTE_ARRAY Uuid",
        "0192f0c1-2b3c-7d4e-8f50-123456789abc",
    ),
    ("raw", "BYTE_ARRAY", "\\x00ff"),
    ("day", "INT32 Date", "2024-06-14"),
    ("clock", "INT64 timestamp(MICROS,false)", "1718393400000001"),
    ("at", "INT64 timestamp(MICROS,true)", "1718386200123456"),
    ("name", "BYTE_ARRAY String", "a,\"ñ\""),
    ("empty", "BYTE_ARRAY String", ""),
    ("list", "BYTE_ARRAY String", "[1,null,3]"),
    ("doc", "BYTE_ARRAY String", "{\"a\": [1]}"),
    ("span", "BYTE_ARRAY String", "01:30:00"),
    ("shade", "BYTE_ARRAY String", "dark"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_type_has_its_column_and_nothing_stays_nothing() {
    let (platform, api) = Platform::new().await;
    platform.execute(FORMS).await;
    let token = platform.token(Role::Analyst, Some(&["academico"])).await;
    let answer = ask(&platform, &token, "/v1/marts/forms").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.apache.parquet"
    );
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    let file = File::read(&answer.body);
    assert_eq!((file.rows.len(), file.columns.len()), (2, EXPECTED.len()));
    for (column, (name, kind, value)) in file.columns.iter().zip(EXPECTED) {
        assert_eq!((column.0.as_str(), column.1.as_str()), (name, kind));
        assert_eq!(file.rows[0][name].as_deref(), Some(value), "{name}");
        let second = match name {
            "id" => Some("2"),
            "free" => Some("0.5000000000"),
            _ => None,
        };
        assert_eq!(file.rows[1][name].as_deref(), second, "{name}");
    }
    assert!(file.about["acequia.columns"].contains("Length, minutes"));
    assert!(file.about.keys().all(|key| key.starts_with("acequia.")));

    // Filters, order and columns are those of the other media types.
    let file = ask(
        &platform,
        &token,
        "/v1/marts/forms?columns=name,id&order=id.desc",
    )
    .await;
    let file = File::read(&file.body);
    let names: Vec<_> = file.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["name", "id"]);
    assert_eq!(file.rows[0]["id"].as_deref(), Some("2"));
    let none = ask(&platform, &token, "/v1/marts/forms?id=eq.3&count=true").await;
    assert_eq!((none.status, none.header("acequia-count")), (200, "0"));
    let none = File::read(&none.body);
    assert_eq!((none.rows.len(), none.columns.len()), (0, EXPECTED.len()));
    assert_eq!(none.about["acequia.mart"], "marts.forms");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_and_a_part_of_a_file_is_none() {
    let (platform, api) = Platform::new().await;
    platform
        .execute(
            "create view marts.many as select i as id, i / 100.0 as share, 'name ' || i as name from generate_series(1, 25) i;
             grant select on marts.many to acequia_api;
             insert into core.marts (mart, domain, kind, position, depends_on, objective) values ('marts.many', 'academico', 'view', 99, '{}', '1 hour')",
        )
        .await;
    let token = platform.token(Role::Analyst, None).await;
    let mut path = "/v1/marts/many?limit=10&order=id.desc".to_owned();
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let answer = ask(&platform, &token, &path).await;
        let file = File::read(&answer.body);
        seen.extend(file.rows.iter().map(|row| row["id"].clone().unwrap()));
        pages += 1;
        for length in [0, 4, answer.body.len() / 2, answer.body.len() - 1] {
            let part = bytes::Bytes::copy_from_slice(&answer.body[..length]);
            let read = parquet::file::serialized_reader::SerializedFileReader::new(part);
            assert!(read.is_err(), "{length} bytes of {}", answer.body.len());
        }
        let link = answer.header("link");
        let Some((next, _)) = link.strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
            break;
        };
        path = next.to_owned();
    }
    let expected: Vec<_> = (1..=25).rev().map(|id: i32| id.to_string()).collect();
    assert_eq!((seen, pages), (expected, 3));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_problem_and_no_file() {
    let (platform, api) = Platform::new().await;
    platform
        .execute(
            "create view marts.odd as select 1 as id, 'NaN'::numeric as nan, 1e38::numeric as large, 1e-39::numeric as small,
                 'infinity'::timestamptz as late, '-infinity'::timestamptz as early, '-infinity'::date as dawn;
             grant select on marts.odd to acequia_api;
             insert into core.marts (mart, domain, kind, position, depends_on, objective) values ('marts.odd', 'academico', 'view', 99, '{}', '1 hour')",
        )
        .await;
    let token = platform.token(Role::Analyst, Some(&["academico"])).await;
    for column in ["nan", "large", "small", "late", "early", "dawn"] {
        let path = format!("/v1/marts/odd?columns=id,{column}");
        platform.get(&token, &path).await.is(200);
        let answer = ask(&platform, &token, &path).await;
        let problem = answer.is_problem(406, "not_acceptable");
        assert_eq!(problem["errors"][0]["field"], column, "{problem}");
    }
    assert_eq!(
        ask(&platform, &token, "/v1/marts/odd?columns=id")
            .await
            .status,
        200
    );
    let answer = ask(&platform, &token, "/v1/marts/odd?id=eq.x").await;
    let problem = answer.is_problem(400, "invalid_parameter");
    assert_eq!(problem["errors"][0]["field"], "id");
    ask(&platform, &token, "/v1/marts/odd?columns=id,id")
        .await
        .is_problem(400, "invalid_parameter");
    ask(&platform, &token, "/v1/marts/consumo_diario")
        .await
        .is_problem(403, "foreign_domain");
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("accept", "image/png")];
    let refused = platform.call("GET", "/v1/marts/odd", &headers, "").await;
    let problem = refused.is_problem(406, "not_acceptable");
    for media in [
        "application/json",
        "application/x-ndjson",
        "text/csv",
        "application/vnd.apache.parquet",
    ] {
        assert!(
            problem["detail"].as_str().unwrap().contains(media),
            "{problem}"
        );
    }
    api.stop().await;
}
