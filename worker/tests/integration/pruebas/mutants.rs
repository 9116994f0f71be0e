//! Mutants of generated merges: each is a plausible fault, and each must be seen by the property.

use super::bench::{Bench, merge_of};
use super::first_failure;

/// The fault, its merge, the text that is replaced, and the replacement.
const MUTANTS: [(&str, &str, &str, &str); 18] = [
    (
        "waiting rows are never released",
        "articulo",
        "update core.pending p set ready = true\n    from verdict n",
        "update core.pending p set ready = false\n    from verdict n",
    ),
    (
        "an unchanged row does not bring its version",
        "rebaja",
        "where n.outcome in ('updated', 'unchanged') and",
        "where n.outcome in ('updated') and",
    ),
    (
        "an unchanged row that may go does not bring its version",
        "articulo",
        "n.outcome in ('updated', 'unchanged', 'deleted')",
        "n.outcome in ('updated', 'deleted')",
    ),
    (
        "a column is never updated",
        "rebaja",
        "tanto = n.tanto,",
        "tanto = c.tanto,",
    ),
    (
        "the oldest version of a batch wins",
        "familia",
        "order by s.event_at desc, s.message_id desc",
        "order by s.event_at, s.message_id",
    ),
    (
        "of two versions of the same time the last to come wins",
        "familia",
        "(n.event_at, n.message_id) <= (c.event_at, c.message_id)",
        "n.event_at < c.event_at",
    ),
    (
        "another default",
        "articulo",
        "coalesce(s.estado, 'it''s new')",
        "coalesce(s.estado, 'old')",
    ),
    (
        "the day of the event is not filled in",
        "articulo",
        "coalesce(s.revisado_en, (s.event_at at time zone 'UTC')::date)",
        "s.revisado_en",
    ),
    (
        "a key that goes before it came is forgotten",
        "articulo",
        "case when n.deleted then 'deleted' else 'inserted' end",
        "case when n.deleted then 'stale' else 'inserted' end",
    ),
    (
        "a key that comes back stays deleted",
        "articulo",
        "batch_id = n.batch_id, deleted_at = case when n.deleted then n.event_at end",
        "batch_id = n.batch_id, deleted_at = coalesce(c.deleted_at, case when n.deleted then n.event_at end)",
    ),
    (
        "a stale version infers no parent",
        "articulo",
        "where n.outcome <> 'pending' and n.id_familia is not null",
        "where n.outcome not in ('pending', 'stale') and n.id_familia is not null",
    ),
    (
        "an inferred parent releases nothing",
        "articulo",
        "from inferred_1 i\n    where p.parent",
        "from inferred_1 i\n    where false and p.parent",
    ),
    (
        "a row that waits makes a complete one stale",
        "rebaja",
        "l.id_rebaja, l.missing is null order by",
        "l.id_rebaja order by",
    ),
    (
        "a key of two columns releases by one",
        "tarifa",
        "p.parent_key = (n.id_articulo, n.codigo)::text",
        "p.parent_key = n.codigo::text",
    ),
    (
        "a second message of a key is not appended",
        "movimiento",
        "t.id_articulo = n.id_articulo and t.message_id = n.message_id",
        "t.id_articulo = n.id_articulo",
    ),
    (
        "what was released keeps waiting",
        "movimiento",
        "v_waited is not null and n.waited and n.outcome <> 'pending'",
        "false and n.waited and n.outcome <> 'pending'",
    ),
    (
        "deletes are not counted",
        "tarifa",
        "(count(*) filter (where n.outcome = 'deleted'))::int",
        "0",
    ),
    (
        "the hook does not hear of deletes",
        "articulo",
        "from changed c where c.outcome in ('updated', 'deleted')",
        "from changed c where c.outcome = 'updated'",
    ),
];

/// Cases in which each mutant must show.
const CASES: u32 = 120;

#[test]
fn every_mutant_of_a_merge_is_seen() {
    let bench = Bench::new();
    assert_eq!(first_failure(&bench, 30), None, "the merges as they are");
    let mut survivors = Vec::new();
    for (what, entity, from, to) in MUTANTS {
        let right = merge_of(entity);
        assert!(right.contains(from), "{what}: {from} is not in\n{right}");
        bench.execute(&right.replace(from, to));
        match first_failure(&bench, CASES) {
            Some(failure) => println!("{what}: {}", failure.lines().next().unwrap_or("")),
            None => survivors.push(what),
        }
        bench.execute(&right);
    }
    assert!(survivors.is_empty(), "not seen: {survivors:#?}");
    assert_eq!(first_failure(&bench, 10), None, "mended");
}
