-- How far each message type has come, kept beside the ledger: whoever accounts for merged rows
-- moves the marks, and nobody has to look at the rows themselves.

create or replace function core.note_merged() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into core.entity_state as s (domain, entity, newest_published_at, changed_at, merged_at)
    select n.domain, n.entity, max(n.newest_published_at),
           case when bool_or(n.inserted + n.updated + n.deleted > o.inserted + o.updated + o.deleted) then clock_timestamp() end, clock_timestamp()
    from after n
    join before o on o.batch_id = n.batch_id and o.entity = n.entity
    where n.inserted + n.updated + n.unchanged + n.deleted + n.stale > o.inserted + o.updated + o.unchanged + o.deleted + o.stale
    group by n.domain, n.entity
    on conflict (domain, entity) do update
    set newest_published_at = greatest(s.newest_published_at, excluded.newest_published_at),
        -- Later for each change, also when the clock was set back: marts are compared with it.
        changed_at = case when excluded.changed_at is null then s.changed_at
                          else greatest(excluded.changed_at, s.changed_at + interval '1 microsecond') end,
        merged_at = excluded.merged_at;
    return null;
end
$$;
comment on function core.note_merged() is 'Moves the marks of core.entity_state when a promotion accounts for merged rows';

create or replace trigger note_merged after update on core.batch_entities
referencing old table as before new table as after
for each statement execute function core.note_merged();
-- Promotion switches the ordinary triggers of its session off (0_references.sql).
alter table core.batch_entities enable always trigger note_merged;
comment on trigger note_merged on core.batch_entities is 'Keeps core.entity_state';

-- From what changed alone: raw.quarantine has a partition for each day.
create or replace function core.note_open() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' then
        delete from core.quarantine_open o using before b
        where o.message_id = b.message_id and o.day = b.day
          and not exists (select from after n where n.message_id = b.message_id and n.day = b.day and n.status = 'open');
    elsif tg_op = 'DELETE' then
        delete from core.quarantine_open o using before b where o.message_id = b.message_id and o.day = b.day;
        return null;
    end if;
    insert into core.quarantine_open as o (message_id, day, identity, domain, entity, received_at)
    select n.message_id, n.day, n.identity, n.domain, n.entity, n.received_at from after n where n.status = 'open'
    on conflict (message_id, day) do update set entity = excluded.entity where o.entity is distinct from excluded.entity;
    return null;
end
$$;
comment on function core.note_open() is 'Keeps core.quarantine_open equal to the open rows of raw.quarantine';

create or replace trigger note_open_inserted after insert on raw.quarantine
referencing new table as after for each statement execute function core.note_open();
comment on trigger note_open_inserted on raw.quarantine is 'Keeps core.quarantine_open';
create or replace trigger note_open_updated after update on raw.quarantine
referencing old table as before new table as after for each statement execute function core.note_open();
comment on trigger note_open_updated on raw.quarantine is 'Keeps core.quarantine_open';
create or replace trigger note_open_deleted after delete on raw.quarantine
referencing old table as before for each statement execute function core.note_open();
comment on trigger note_open_deleted on raw.quarantine is 'Keeps core.quarantine_open';
alter table raw.quarantine enable always trigger note_open_inserted;
alter table raw.quarantine enable always trigger note_open_updated;
alter table raw.quarantine enable always trigger note_open_deleted;
