//! Failures for which no single row is to blame are not isolated.

use acequia_ops::doctor::{Finding, Verdict};
use acequia_store::promotion::promote;

use super::stage_by_hand;
use crate::operations::{doctor, failed};
use crate::support::Platform;
use crate::support::school::{DOMAIN, alumno, alumnos};

/// When nothing fits any more, the data are not at fault: promotion stops and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_refuses_everything_stops_promotion_and_says_so() {
    let platform = Platform::new().await;
    platform.declare().await;
    // Some are taken for bad rows, however many come after them.
    platform
        .execute("alter table academico.alumnos add constraint nobody check (id > 10000)")
        .await;
    let worker = platform.worker(&["--stall-after", "1s"]);
    worker.ready().await;
    platform.publish_all(&alumnos(1..51)).await;
    platform.settled(50).await;
    assert_eq!(platform.total().await.quarantined, 50);
    platform.publish_all(&alumnos(51..81)).await;
    platform.received(80).await;
    let words = ["academico.alumno", "23514", "nobody", "AQ001"];
    worker.not_ready_because("promote", &words).await;
    let entry = platform.ledger_entry(DOMAIN, "alumno").await;
    assert_eq!(
        (entry.staged, entry.quarantined, entry.unaccounted),
        (30, 50, 0)
    );
    // So does the doctor, once it has lasted.
    let (database, broker) = (platform.database_url(), platform.broker_url());
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), Vec::<&str>::new());
    let open =
        |finding: &&Finding| finding.verdict == Verdict::Warn && finding.check == "quarantine";
    let open = findings.iter().find(open).unwrap();
    assert!(open.found.contains("50 merge_refused"), "{open:?}");
    platform
        .execute(
            "update core.batches set received_at = now() - interval '10 minutes';
             update core.domain_state set promoted_at = now() - interval '10 minutes'",
        )
        .await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), ["staged rows"]);
    platform
        .execute("alter table academico.alumnos drop constraint nobody")
        .await;
    platform.settled(80).await;
    assert_eq!(platform.total().await.inserted, 30);
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refused_rows_among_many_more_good_ones_do_not_stop_it() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform
        .execute("alter table academico.alumnos add constraint few check (id % 10 <> 3)")
        .await;
    platform.publish_all(&alumnos(1..701)).await;
    let worker = platform.worker(&[]);
    platform.settled(700).await;
    let total = platform.total().await;
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (630, 70, 0)
    );
    // Now they are most of a promotion, but few of what came within minutes.
    platform
        .publish_all(&(0..30).map(|n| alumno(1003 + 10 * n)).collect::<Vec<_>>())
        .await;
    platform.settled(730).await;
    assert_eq!(platform.total().await.quarantined, 100);
    worker.ready().await;
    worker.stop().await;
}

/// Somebody who knows better may insist.
#[tokio::test(flavor = "multi_thread")]
async fn the_brake_can_be_lifted_by_hand() {
    let platform = Platform::new().await;
    platform
        .execute("alter table academico.alumnos add constraint nobody check (id > 10000)")
        .await;
    stage_by_hand(&platform, 1, 60).await;
    let mut connection = platform.connect().await;
    let error = promote(&mut connection, DOMAIN, 1000).await.unwrap_err();
    assert!(error.to_string().contains("true)"), "{error}");
    assert_eq!(platform.total().await.staged, 60);
    platform
        .execute("select * from core.isolate('academico', 1000, true)")
        .await;
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.staged, total.unaccounted),
        (60, 0, 0)
    );
}

/// A fault of schema, program or server is no reason to quarantine anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_fault_of_a_row_isolates_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let original = platform
        .texts("select pg_get_functiondef('academico.merge_alumnos'::regproc)")
        .await;
    let raising = |options: &str| {
        format!(
            "create or replace function academico.merge_alumnos(p_batches bigint[]) returns setof core.merge_outcome
             language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
             begin raise exception 'no merge today' using {options}; end $$"
        )
    };
    platform.execute(&raising("errcode = 'P0001'")).await;
    platform.publish_all(&alumnos(1..4)).await;
    platform.received(3).await;
    worker.stop().await;
    let mut connection = platform.connect().await;
    for options in [
        "errcode = '42703'",
        "errcode = '42883'",
        "errcode = '42501'",
        "errcode = 'XX000'",
        "errcode = '40001'",
        "errcode = '55P03'",
        "errcode = '57014'",
        // A partition that is missing, and a check of the platform's own.
        "errcode = '23514', schema = 'academico', table = 'inscripciones'",
        "errcode = '23514', schema = 'core', table = 'batch_entities', constraint = 'no_count_is_negative'",
        "errcode = '23502', schema = 'core', table = 'pending', column = 'parent_key'",
    ] {
        platform.execute(&raising(options)).await;
        let outcome = promote(&mut connection, DOMAIN, 1000).await;
        assert!(outcome.is_err(), "{options}: {outcome:?}");
        let total = platform.total().await;
        assert_eq!((total.staged, total.quarantined), (3, 0), "{options}");
    }
    platform.execute(&original[0]).await;
    promote(&mut connection, DOMAIN, 1000).await.unwrap();
    assert_eq!(platform.total().await.inserted, 3);
}
