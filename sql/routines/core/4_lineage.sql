-- From message type to mart. The tables of a mart are read from PostgreSQL's catalog; a test compares them
-- with core.marts, in both directions.

create or replace view core.lineage as
with recursive reads as (
    select m.mart, to_regclass(m.mart)::oid as relation from core.marts m
    union
    select r.mart, d.refobjid
    from reads r
    join pg_catalog.pg_rewrite w on w.ev_class = r.relation
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
        and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> r.relation
), sources as (
    -- A mart that reads a derived table depends on the tables it was derived from.
    select distinct r.mart, coalesce(t.core_table, n.nspname || '.' || c.relname) as core_table
    from reads r
    join pg_catalog.pg_class c on c.oid = r.relation and c.relkind in ('r', 'p', 'f')
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join core.derived_tables t on t.table_name = n.nspname || '.' || c.relname
)
select coalesce(e.domain, m.domain) as domain, e.domain || '.' || e.entity as message_type, e.staging as staging_table,
       e.merge as merge_function, coalesce(e.core_table, s.core_table) as core_table, s.mart, m.kind as mart_kind
from core.entities e
full join sources s on s.core_table = e.core_table
left join core.marts m on m.mart = s.mart
order by 1, e.position, 6;
comment on view core.lineage is 'The way from message type to mart, one row per pair; a message type that no mart reads has one row, and so has a table that a mart reads and no message type fills';
comment on column core.lineage.domain is 'Domain';
comment on column core.lineage.message_type is 'Message type as <domain>.<entity>; null for a table that no messages fill';
comment on column core.lineage.staging_table is 'Where its valid messages wait';
comment on column core.lineage.merge_function is 'Function that merges the messages';
comment on column core.lineage.core_table is 'Where they are merged into';
comment on column core.lineage.mart is 'Mart that reads this table, directly or through other marts; null when none does';
comment on column core.lineage.mart_kind is 'view or materialized';
