-- The promise as a view.

create or replace view core.conservation as
select c.domain, c.entity, c.received, c.duplicates, c.staged,
       c.inserted + c.updated + c.unchanged as promoted, c.inserted, c.updated, c.unchanged,
       c.stale, coalesce(p.waiting, 0) as pending, c.quarantined,
       c.received - c.duplicates - c.staged - c.inserted - c.updated - c.unchanged - c.stale
           - coalesce(p.waiting, 0) - c.quarantined as difference
from (
    select e.domain, e.entity, sum(e.received) as received, sum(e.duplicates) as duplicates, sum(e.staged) as staged,
           sum(e.inserted) as inserted, sum(e.updated) as updated, sum(e.unchanged) as unchanged,
           sum(e.stale) as stale, sum(e.quarantined) as quarantined
    from core.batch_entities e
    group by e.domain, e.entity
) c
-- Counted from the rows that really wait, not from the batches' counts.
left join (
    select w.entity, count(*) as waiting from core.pending w group by w.entity
) p on p.entity = c.domain || '.' || c.entity
order by c.domain, c.entity;
comment on view core.conservation is 'received = duplicates + staged + promoted + stale + pending + quarantined, per entity; difference is always 0';
