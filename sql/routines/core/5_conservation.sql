-- The ledger as a view: the settled totals and the batches that are not settled yet. Its cost does not grow with the number of batches.

create or replace function core.settle_changes() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into core.settled_totals as t (domain, entity, received, duplicates, staged, inserted, updated, unchanged, stale,
        pending, quarantined, written_off, deleted, newest_published_at)
    select n.domain, n.entity, sum(n.received - b.known * o.received), sum(n.duplicates - b.known * o.duplicates),
           sum(n.staged - b.known * o.staged), sum(n.inserted - b.known * o.inserted), sum(n.updated - b.known * o.updated),
           sum(n.unchanged - b.known * o.unchanged), sum(n.stale - b.known * o.stale), sum(n.pending - b.known * o.pending),
           sum(n.quarantined - b.known * o.quarantined), sum(n.written_off - b.known * o.written_off),
           sum(n.deleted - b.known * o.deleted), max(n.newest_published_at)
    from after n
    join before o on o.batch_id = n.batch_id and o.entity = n.entity
    cross join lateral (select o.settled::int as known) b
    where n.settled
    group by n.domain, n.entity
    on conflict (domain, entity) do update
    set received = t.received + excluded.received, duplicates = t.duplicates + excluded.duplicates,
        staged = t.staged + excluded.staged, inserted = t.inserted + excluded.inserted, updated = t.updated + excluded.updated,
        unchanged = t.unchanged + excluded.unchanged, stale = t.stale + excluded.stale, pending = t.pending + excluded.pending,
        quarantined = t.quarantined + excluded.quarantined, written_off = t.written_off + excluded.written_off,
        deleted = t.deleted + excluded.deleted,
        newest_published_at = greatest(t.newest_published_at, excluded.newest_published_at);
    return null;
end
$$;
comment on function core.settle_changes() is 'Trigger: adds what becomes settled in core.batch_entities to core.settled_totals, and each later change of it';

create or replace trigger settle after update on core.batch_entities
referencing old table as before new table as after
for each statement execute function core.settle_changes();
-- Promotion switches the ordinary triggers of its session off (0_references.sql).
alter table core.batch_entities enable always trigger settle;
comment on trigger settle on core.batch_entities is 'Keeps core.settled_totals';

create or replace function core.settle(p_domain text, p_max integer default 10000) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_settled integer;
begin
    -- Called at every poll. The check comes first because an update of no rows still fires the statement triggers.
    if not exists (select from core.batch_entities u where u.domain = p_domain and not u.settled) then
        return 0;
    end if;
    update core.batch_entities e set settled = true
    from (
        select u.batch_id, u.entity from core.batch_entities u
        where u.domain = p_domain and not u.settled limit p_max for update skip locked
    ) u
    where e.batch_id = u.batch_id and e.entity = u.entity;
    get diagnostics v_settled = row_count;
    return v_settled;
end
$$;
comment on function core.settle(text, integer) is 'Settles ledger rows that are not in core.settled_totals yet; returns how many. To be called under the lock of promotion: the totals of a domain change in one transaction at a time';

create or replace function core.settle_alone(p_domain text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Promotion settles by itself. This is for when it fails for long.
    if not core.try_lock('promote.' || p_domain) then
        return 0;
    end if;
    return core.settle(p_domain);
end
$$;
comment on function core.settle_alone(text) is 'Settles ledger rows of a domain unless a promotion of it runs; returns how many';

create or replace view core.conservation as
select c.domain, c.entity, c.received, c.duplicates, c.staged,
       c.inserted + c.updated + c.unchanged + c.deleted as promoted, c.inserted, c.updated, c.unchanged,
       c.stale, coalesce(p.waiting, 0) as pending, c.quarantined,
       c.received - c.duplicates - c.staged - c.inserted - c.updated - c.unchanged - c.deleted - c.stale
           - coalesce(p.waiting, 0) - c.quarantined - c.written_off as difference,
       c.written_off,
       c.received - c.duplicates - c.staged - c.inserted - c.updated - c.unchanged - c.deleted - c.stale
           - coalesce(p.waiting, 0) - c.quarantined - c.written_off as unaccounted,
       c.deleted
from (
    select a.domain, a.entity, sum(a.received)::bigint as received, sum(a.duplicates)::bigint as duplicates,
           sum(a.staged)::bigint as staged, sum(a.inserted)::bigint as inserted, sum(a.updated)::bigint as updated,
           sum(a.unchanged)::bigint as unchanged, sum(a.stale)::bigint as stale, sum(a.quarantined)::bigint as quarantined,
           sum(a.written_off)::bigint as written_off, sum(a.deleted)::bigint as deleted
    from (
        select e.domain, e.entity, e.received, e.duplicates, e.staged, e.inserted, e.updated, e.unchanged, e.stale, e.quarantined,
               e.written_off, e.deleted
        from core.batch_entities e
        where not e.settled
        union all
        select t.domain, t.entity, t.received, t.duplicates, t.staged, t.inserted, t.updated, t.unchanged, t.stale, t.quarantined,
               t.written_off, t.deleted
        from core.settled_totals t
    ) a
    group by a.domain, a.entity
) c
-- Pending rows are counted in core.pending, not taken from the counts of the batches.
left join (
    select w.entity, count(*) as waiting from core.pending w group by w.entity
) p on p.entity = c.domain || '.' || c.entity
order by c.domain, c.entity;
comment on view core.conservation is 'received = duplicates + staged + promoted + stale + pending + quarantined + written_off, per entity; unaccounted is always 0';
comment on column core.conservation.domain is 'Domain';
comment on column core.conservation.entity is 'Entity; (unknown) when it could not be determined';
comment on column core.conservation.received is 'Messages taken from the queue';
comment on column core.conservation.duplicates is 'Messages seen before';
comment on column core.conservation.staged is 'Rows that wait for promotion';
comment on column core.conservation.promoted is 'Rows merged: inserted, updated, unchanged or deleted';
comment on column core.conservation.inserted is 'Rows that made a new core row';
comment on column core.conservation.updated is 'Rows that changed a core row';
comment on column core.conservation.unchanged is 'Newer rows with the same values as the core row';
comment on column core.conservation.stale is 'Rows superseded by a newer version';
comment on column core.conservation.pending is 'Rows that wait for the row they refer to';
comment on column core.conservation.quarantined is 'Messages put in quarantine';
comment on column core.conservation.difference is 'The same as unaccounted, under the name that programs and queries of earlier releases read';
comment on column core.conservation.written_off is 'Rows that were removed from staging before their promotion, and given up by worker ledger write-off';
comment on column core.conservation.unaccounted is 'Messages that are not accounted for: always 0';
comment on column core.conservation.deleted is 'Rows that deleted their key (_op: delete)';

create or replace function core.staged_rows(p_domain text) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Asked before every batch: PostgreSQL keeps the plans of plpgsql, and makes those of sql anew at each call.
    return coalesce((select sum(t.staged) from core.settled_totals t where t.domain = p_domain), 0)::bigint
         + coalesce((select sum(e.staged) from core.batch_entities e where e.domain = p_domain and not e.settled), 0)::bigint;
end
$$;
comment on function core.staged_rows(text) is 'Rows of a domain that wait for promotion, without a look at each batch';
