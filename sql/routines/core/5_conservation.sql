-- The promise as a view.

drop view if exists core.conservation;
create view core.conservation as
select c.domain, c.entity, c.received, c.duplicates, c.staged,
       c.inserted + c.updated + c.unchanged as promoted, c.inserted, c.updated, c.unchanged,
       c.stale, coalesce(p.waiting, 0) as pending, c.quarantined,
       c.received - c.duplicates - c.staged - c.inserted - c.updated - c.unchanged - c.stale
           - coalesce(p.waiting, 0) - c.quarantined as difference
from (
    select a.domain, a.entity, sum(a.received)::bigint as received, sum(a.duplicates)::bigint as duplicates,
           sum(a.staged)::bigint as staged, sum(a.inserted)::bigint as inserted, sum(a.updated)::bigint as updated,
           sum(a.unchanged)::bigint as unchanged, sum(a.stale)::bigint as stale, sum(a.quarantined)::bigint as quarantined
    from (
        select e.domain, e.entity, e.received, e.duplicates, e.staged, e.inserted, e.updated, e.unchanged, e.stale, e.quarantined
        from core.batch_entities e
        union all
        select t.domain, t.entity, t.received, t.duplicates, 0, t.inserted, t.updated, t.unchanged, t.stale, t.quarantined
        from core.settled_totals t
    ) a
    group by a.domain, a.entity
) c
-- Counted from the rows that really wait, not from the batches' counts.
left join (
    select w.entity, count(*) as waiting from core.pending w group by w.entity
) p on p.entity = c.domain || '.' || c.entity
order by c.domain, c.entity;
comment on view core.conservation is 'received = duplicates + staged + promoted + stale + pending + quarantined, per entity; difference is always 0';
comment on column core.conservation.domain is 'Domain';
comment on column core.conservation.entity is 'Entity, (unknown) when none could be told';
comment on column core.conservation.received is 'Messages taken from the queue';
comment on column core.conservation.duplicates is 'Messages seen before';
comment on column core.conservation.staged is 'Rows that wait for promotion';
comment on column core.conservation.promoted is 'Rows merged: inserted, updated or unchanged';
comment on column core.conservation.inserted is 'Rows that made a new core row';
comment on column core.conservation.updated is 'Rows that changed a core row';
comment on column core.conservation.unchanged is 'Newer rows with the same values as the core row';
comment on column core.conservation.stale is 'Rows superseded by a newer version';
comment on column core.conservation.pending is 'Rows that wait for the row they refer to';
comment on column core.conservation.quarantined is 'Messages put in quarantine';
comment on column core.conservation.difference is 'Messages that are not accounted for: always 0';
