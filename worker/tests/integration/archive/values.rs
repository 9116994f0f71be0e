//! Values are read from a file as they were written, whatever they are: a table with every form, by day.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::{Archive, Depot};
use crate::support::Platform;

const TABLE: &str = "
create type consumo.color as enum ('rojo', 'verde''s');
create table consumo.todo (
    dia date not null, id bigint not null, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
    n9 numeric(9,3), n18 numeric(18,0), n38 numeric(38,10), n0 numeric(3,3), n numeric, neg numeric(5,-2), t text, v varchar(40), c char(7), u uuid, x bytea,
    d date, ts timestamp, tz timestamptz, j jsonb, a integer[], ta text[], iv interval, e consumo.color, ip inet,
    primary key (dia, id)
) partition by range (dia);
create table consumo.todo_default partition of consumo.todo default;
insert into core.lifecycle_policies (table_name, domain, time_column, granularity, keep_hot)
values ('consumo.todo', 'consumo', 'dia', 'day', '1 day');";

/// Values of a column that are likely to go wrong, and a way to make others.
fn column(kind: &str) -> BoxedStrategy<String> {
    let of =
        |values: &'static [&'static str]| proptest::sample::select(values).prop_map(str::to_owned);
    let text =
        proptest::string::string_regex("[\\PC\\n\\t\\r\\\\\u{8}\u{1f}'\"{},]{0,30}").unwrap();
    let quote = |text: String| format!("'{}'", text.replace('\'', "''"));
    match kind {
        "b" => of(&["true", "false"]).boxed(),
        "i2" => any::<i16>().prop_map(|n| format!("'{n}'")).boxed(),
        "i4" => any::<i32>().prop_map(|n| format!("'{n}'")).boxed(),
        "i8" => any::<i64>().prop_map(|n| format!("'{n}'")).boxed(),
        "f4" => prop_oneof![
            of(&[
                "'NaN'",
                "'Infinity'",
                "'-Infinity'",
                "'-0'",
                "'1e-45'",
                "'3.4028235e38'"
            ]),
            any::<f32>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| format!("'{n:?}'"))
        ]
        .boxed(),
        "f8" => prop_oneof![
            of(&[
                "'NaN'",
                "'Infinity'",
                "'-Infinity'",
                "'-0'",
                "'5e-324'",
                "'1.7976931348623157e308'",
                "'0.1'"
            ]),
            any::<f64>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| format!("'{n:?}'"))
        ]
        .boxed(),
        "n9" => prop_oneof![
            of(&["999999.999", "-999999.999", "0.001", "-0.001", "0"]),
            (-999_999_999_i64..=999_999_999).prop_map(|n| format!("{n} / 1000.0"))
        ]
        .boxed(),
        "n18" => prop_oneof![
            of(&["999999999999999999", "-999999999999999999", "0", "10000"]),
            (-999_999_999_999_999_999_i64..=999_999_999_999_999_999).prop_map(|n| n.to_string())
        ]
        .boxed(),
        "n38" => prop_oneof![
            of(&[
                "9999999999999999999999999999.9999999999",
                "-9999999999999999999999999999.9999999999",
                "0.0000000001",
                "1e27"
            ]),
            (any::<i64>(), 0_u64..1_000_000_000).prop_map(|(a, b)| format!("{a}.{b:010}"))
        ]
        .boxed(),
        "n0" => of(&["0.999", "-0.999", "0.001", "0"]).boxed(),
        "n" => of(&[
            "'NaN'",
            "'Infinity'",
            "1.50",
            "1.5",
            "1e100",
            "-0.00000000000000000001",
            "0.000",
        ])
        .boxed(),
        "neg" => of(&["12300", "-9999900", "0"]).boxed(),
        "t" | "v" | "c" => {
            let most = match kind {
                "v" => 40,
                "c" => 7,
                _ => 1000,
            };
            text.prop_map(move |text| quote(text.chars().take(most).collect()))
                .boxed()
        }
        "u" => any::<u128>().prop_map(|n| format!("'{n:032x}'")).boxed(),
        "x" => proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| {
                format!(
                    "'\\x{}'",
                    bytes
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<String>()
                )
            })
            .boxed(),
        "d" => of(&[
            "'0001-01-01'",
            "'9999-12-31'",
            "'1969-12-31'",
            "'2000-02-29'",
        ])
        .boxed(),
        "ts" => of(&[
            "'0001-01-01 00:00:00'",
            "'9999-12-31 23:59:59.999999'",
            "'1969-12-31 23:59:59.999999'",
            "'2024-03-31 02:30:00.000001'",
        ])
        .boxed(),
        "tz" => of(&[
            "'0001-01-01 00:00:00+00'",
            "'9999-12-31 23:59:59.999999+00'",
            "'1969-12-31 23:59:59.999999+00'",
            "'2024-10-27 02:30:00.5+02'",
        ])
        .boxed(),
        "j" => (any::<i32>(), text)
            .prop_map(move |(n, text)| {
                let text: String = text.chars().filter(|letter| *letter != '\0').collect();
                quote(serde_json::json!({"n": n, "t": text, "l": [], "nada": null}).to_string())
            })
            .boxed(),
        "a" => of(&["'{}'", "'{1,null,-3}'", "'{{1,2},{3,4}}'", "'[0:1]={7,8}'"]).boxed(),
        "ta" => of(&["'{}'", r#"'{"",null,"null","a,b","c\"d","e\\f"}'"#]).boxed(),
        "iv" => of(&["'1 mon -2 days 03:04:05.000006'", "'-1 year'", "'0'"]).boxed(),
        "e" => of(&["'rojo'", "'verde''s'"]).boxed(),
        "ip" => of(&["'10.0.0.1/8'", "'::1'"]).boxed(),
        other => panic!("{other}"),
    }
}

const COLUMNS: [&str; 26] = [
    "b", "i2", "i4", "i8", "f4", "f8", "n9", "n18", "n38", "n0", "n", "neg", "t", "v", "c", "u",
    "x", "d", "ts", "tz", "j", "a", "ta", "iv", "e", "ip",
];

fn row(runner: &mut TestRunner, day: &str, id: usize) -> String {
    let values: Vec<_> = COLUMNS
        .iter()
        .map(|kind| {
            let value = proptest::option::weighted(0.8, column(kind))
                .new_tree(runner)
                .unwrap()
                .current();
            value.unwrap_or_else(|| "null".to_owned())
        })
        .collect();
    format!("('{day}', {id}, {})", values.join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_comes_back_as_it_was() {
    let platform = Platform::new().await;
    platform.execute(TABLE).await;
    let archive = Archive {
        platform,
        depot: Depot::new(),
    };
    let platform = &archive.platform;
    let mut runner = TestRunner::new(Config::default());
    let days = ["2024-02-28", "2024-02-29", "2024-12-31"];
    for day in days {
        let rows: Vec<_> = (0..150).map(|id| row(&mut runner, day, id)).collect();
        let insert = format!(
            "insert into consumo.todo (dia, id, {}) values {}",
            COLUMNS.join(", "),
            rows.join(",\n")
        );
        platform.execute(&insert).await;
    }
    // Values that the file's own types have no place for, and a day without rows.
    platform
        .execute(
            "insert into consumo.todo (dia, id, n9, n38, d, ts, tz) values
                ('2024-12-31', 1000, 'NaN', 'NaN', 'infinity', '-infinity', 'infinity'),
                ('2024-12-31', 1001, 1.5, null, '4713-01-01 BC', '294276-12-31 23:59:59.999999', '4713-01-02 BC'),
                ('2024-12-31', 1002, null, 7, '5874897-12-31', null, '294276-12-31 23:59:59.999999+00');
             select core.partition_by_day('consumo.todo', '2024-03-01')",
        )
        .await;
    let all = "select fila::text from consumo.todo fila order by dia, id";
    let before = platform.texts(all).await;
    assert_eq!(before.len(), 453);
    let structure = "select string_agg(pg_get_indexdef(i.indexrelid) || ' ' || pg_get_expr(c.relpartbound, c.oid), '' order by 1)
        from pg_inherits h join pg_class c on c.oid = h.inhrelid left join pg_index i on i.indrelid = c.oid where h.inhparent = 'consumo.todo'::regclass and c.relname ~ '_p'";
    let report = archive.json("archive --table consumo.todo").await;
    assert_eq!(
        (&report["rows"], &report["partitions"]),
        (&453.into(), &4.into()),
        "{report}"
    );
    assert_eq!(
        platform.number("select count(*) from consumo.todo").await,
        0
    );
    assert!(
        archive
            .depot
            .files()
            .iter()
            .any(|file| file.starts_with("consumo.todo/y=2024/m=02/d=29/part-"))
    );
    archive.done("archive verify").await;
    archive
        .done("restore --table consumo.todo --from 2024-02-01 --to 2024-12-31 --hold 0s")
        .await;
    let after = platform.texts(all).await;
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after, before);
    }
    assert_eq!(after.len(), before.len());
    let restored = platform.texts(structure).await;
    assert_eq!(
        restored[0].matches("CREATE UNIQUE INDEX").count(),
        4,
        "{restored:?}"
    );

    // A column that came later is null in earlier archives; one that is gone is asked for.
    archive.done("archive --table consumo.todo").await;
    platform
        .execute("alter table consumo.todo add column nueva text default 'x'")
        .await;
    archive
        .done("restore --table consumo.todo --from 2024-02-28 --to 2024-02-28")
        .await;
    assert_eq!(
        platform
            .number("select count(*) from consumo.todo where nueva = 'x'")
            .await,
        150
    );
    platform
        .execute("alter table consumo.todo drop column i2")
        .await;
    let refused = archive
        .run("restore --table consumo.todo --from 2024-02-29 --to 2024-02-29")
        .await;
    assert!(refused.stderr.contains("no column i2"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_comes_back_into_a_table_whose_key_has_changed() {
    let archive = Archive::of("--clients 3 --days 35 --start 2014-08-20 --suspicious 0").await;
    let before = archive.readings().await;
    archive.done("archive").await;
    archive
        .platform
        .execute(
            "alter table consumo.lecturas drop constraint lecturas_pkey, add primary key (propietario_id, instante)",
        )
        .await;
    let restore = "restore --table consumo.lecturas --from 2014-08 --to 2014-09";
    archive.done(restore).await;
    assert_eq!(archive.readings().await, before);
    archive.done("archive verify").await;
}
