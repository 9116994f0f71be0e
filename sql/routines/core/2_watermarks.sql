-- How far each message type has come, kept beside the accounts: whoever accounts for merged rows
-- moves the marks, and nobody has to look at the rows themselves.

create or replace function core.note_merged() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into core.entity_state as s (domain, entity, newest_published_at, changed_at, merged_at)
    select n.domain, n.entity, max(n.newest_published_at),
           case when bool_or(n.inserted + n.updated > o.inserted + o.updated) then clock_timestamp() end, clock_timestamp()
    from after n
    join before o on o.batch_id = n.batch_id and o.entity = n.entity
    where n.inserted + n.updated + n.unchanged + n.stale > o.inserted + o.updated + o.unchanged + o.stale
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
