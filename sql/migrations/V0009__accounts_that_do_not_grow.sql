-- Accounts in running totals, a partition of its own for ids without a day, and an outcome for rows that somebody removed.

-- A running worker has some of these tables and wants the next: all locks at once, and briefly asked for.
do $$
declare
    v_list text := (
        select string_agg(format('only %s', p.partrelid::regclass), ', ' order by p.partrelid)
        from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
        where c.relnamespace = 'stg'::regnamespace or c.oid = 'raw.quarantine'::regclass);
begin
    for v_attempt in 1 .. 1200 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            execute 'lock table core.batches, core.batch_entities, core.settled_totals, core.pending, core.audit_log, '
                'core.mart_refresh_log, ' || v_list || ' in access exclusive mode';
            perform set_config('lock_timeout', '0', true);
            return;
        exception when lock_not_available or deadlock_detected then
            if v_attempt = 1200 then
                raise;
            end if;
        end;
        perform pg_sleep(0.1);
    end loop;
end
$$;

-- --- accounts ------------------------------------------------------------------------------------------------------

alter table core.batch_entities
    add column written_off integer not null default 0,
    add column settled boolean not null default false;
comment on table core.batch_entities is 'Where the messages of a batch are now, per entity; the sum is checked by constraint. Kept for hours: core.settled_totals has the sums';
comment on column core.batch_entities.written_off is 'Rows that were removed from staging before their promotion, and given up by worker ledger write-off';
comment on column core.batch_entities.settled is 'Its counts are in core.settled_totals, which follows each later change';
alter table core.batch_entities
    drop constraint every_message_is_accounted_for,
    drop constraint no_count_is_negative,
    add constraint every_message_is_accounted_for
        check (received = duplicates + staged + inserted + updated + unchanged + stale + pending + quarantined + written_off),
    add constraint no_count_is_negative
        check (least(received, duplicates, staged, inserted, updated, unchanged, stale, pending, quarantined, written_off) >= 0);
create index batch_entities_open on core.batch_entities (domain) where not settled;
-- Each row changes twice and goes: what is dead must not pile up in the index of those that are open.
alter table core.batch_entities set (autovacuum_vacuum_scale_factor = 0.05);
-- Sums come from the totals now, and so does the newest publish time.
drop index core.batch_entities_entity;
drop index core.batch_entities_newest;

alter table core.settled_totals
    add column staged bigint not null default 0,
    add column pending bigint not null default 0,
    add column written_off bigint not null default 0,
    add column newest_published_at timestamptz,
    drop constraint every_message_is_accounted_for,
    add constraint every_message_is_accounted_for
        check (received = duplicates + staged + inserted + updated + unchanged + stale + pending + quarantined + written_off);
comment on table core.settled_totals is 'Accounts of all settled rows of core.batch_entities, also of those that are gone, summed up per message type; kept by trigger settle';
comment on column core.settled_totals.staged is 'Rows that wait for promotion';
comment on column core.settled_totals.pending is 'Rows that wait for the row they refer to';
comment on column core.settled_totals.written_off is 'Rows that were removed from staging before their promotion, and given up by worker ledger write-off';
comment on column core.settled_totals.newest_published_at is 'Newest publish time of their valid messages';

-- The oldest batches of a domain, its newest, and what it has promoted since a mart was refreshed.
drop index core.batches_promoted;
create index batches_promoted on core.batches (domain, promoted_at) where state = 'promoted';
create index batches_received on core.batches (domain, received_at);
comment on table core.batches is 'One row per batch of messages taken from a queue, written in the transaction that stages them; kept for two hours at least, see core.retain_batches';

create index mart_refresh_log_started on core.mart_refresh_log (started_at);
-- Whether a day of staging has rows that wait.
create index pending_day on core.pending (entity, day);

alter table core.audit_log drop constraint audit_log_action_check;
alter table core.audit_log
    add constraint audit_log_action_check check (action in ('replay', 'discard', 'edit', 'open_gate', 'close_gate', 'write_off'));
comment on table core.audit_log is 'What people did to quarantined messages, to gates and to the accounts; written in the transaction that did it, never changed';
comment on column core.audit_log.action is 'replay, discard or edit of quarantined messages; open_gate or close_gate of marts; write_off of rows that are not in staging any more';
comment on column core.audit_log.filters is 'The filters they were chosen by; for gates the rules and the time; for write_off what was given up';

-- --- ids without a day -----------------------------------------------------------------------------------------------

create or replace function core.prepare_staging(p_table regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_schema text;
    v_name text;
begin
    select n.nspname, c.relname into strict v_schema, v_name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_table;
    execute format('alter table %I.%I add primary key (message_id, day)', v_schema, v_name);
    execute format('create index on %I.%I (batch_id)', v_schema, v_name);
    -- Rows leave it one by one as long as it lives.
    execute format('create table %I.%I partition of %I.%I for values from (''1970-01-01'') to (''1970-01-02'') with (autovacuum_vacuum_scale_factor = 0.05)',
        v_schema, v_name || '_undated', v_schema, v_name);
    execute format('create table %I.%I partition of %I.%I default', v_schema, v_name || '_default', v_schema, v_name);
end
$$;
comment on function core.prepare_staging(regclass) is 'Adds primary key, batch index, the partition of ids without a day and the default partition to a staging table partitioned by day';

-- Up to now ids without a day lay in the default partition, all of which PostgreSQL reads, under a lock that nobody passes,
-- whenever a partition is added. That table becomes their own partition, so no such row moves; the few
-- with a day, whose partition was missing when they came, move to a new default partition.
do $$
declare
    v_tables oid[] := array(
        select p.partrelid from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
        where c.relnamespace = 'stg'::regnamespace or c.oid = 'raw.quarantine'::regclass order by 1);
    v_parent oid;
    v_schema text;
    v_name text;
begin
    foreach v_parent in array v_tables loop
        select n.nspname, c.relname into strict v_schema, v_name
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = v_parent;
        execute format('alter table %1$I.%2$I detach partition %1$I.%3$I', v_schema, v_name, v_name || '_default');
        execute format('alter table %1$I.%2$I rename to %3$I', v_schema, v_name || '_default', v_name || '_undated');
        execute format('create table %1$I.%2$I partition of %1$I.%3$I default', v_schema, v_name || '_default', v_name);
        execute format('with moved as (delete from %1$I.%2$I where day <> ''1970-01-01'' returning *) insert into %1$I.%3$I select * from moved',
            v_schema, v_name || '_undated', v_name || '_default');
        execute format('alter table %1$I.%2$I attach partition %1$I.%3$I for values from (''1970-01-01'') to (''1970-01-02'')',
            v_schema, v_name, v_name || '_undated');
        execute format('alter table %I.%I set (autovacuum_vacuum_scale_factor = 0.05)', v_schema, v_name || '_undated');
    end loop;
end
$$;
