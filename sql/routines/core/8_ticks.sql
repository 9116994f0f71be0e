-- Ticks: functions of a domain that the worker calls by the clock (ADR 63). Registered in core.ticks by the domain's file
-- of rules. The row of core.tick_state is the lock: a tick runs in one process at a time.

create or replace function core.check_tick() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_stranger text;
begin
    if not exists (select from core.entities e where e.domain = new.domain) then
        raise exception 'core.ticks: there is no domain %', new.domain;
    end if;
    if not exists (
        select from pg_proc p
        where p.oid = to_regprocedure(new.function || '(timestamptz)')
          and p.prokind = 'f' and not p.proretset and p.prorettype = 'integer'::regtype) then
        raise exception 'core.ticks: there is no function %(timestamptz) that returns integer', new.function
            using errcode = 'undefined_function',
                  hint = 'A tick takes the time of the call and returns the number of rows that it changed.';
    end if;
    select c.name into v_stranger
    from unnest(new.changes) c (name)
    where not exists (select from core.entities e where e.domain = new.domain and e.core_table = c.name)
      and not exists (select from core.derived_tables d where d.table_name = c.name and split_part(d.table_name, '.', 1) = new.domain)
    limit 1;
    if found then
        raise exception 'core.ticks: % of tick % is neither a core table nor a derived table of domain %', v_stranger, new.function, new.domain
            using hint = 'Leave tables out that no mart reads; list the others in core.derived_tables first.';
    end if;
    return new;
end
$$;
comment on function core.check_tick() is 'Trigger: refuses a tick whose function is missing or has another signature, or that changes tables that no mart can depend on';

create or replace trigger check_tick before insert or update on core.ticks
for each row execute function core.check_tick();
comment on trigger check_tick on core.ticks is 'Refuses what the worker could not call';

create or replace function core.announce_ticks() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- Not left to the conflict: a row that a worker has written since the snapshot of worker migrate would fail it.
    insert into core.tick_state (function)
    select t.function from core.ticks t where not exists (select from core.tick_state s where s.function = t.function);
    perform pg_notify('acequia', 'ticks ' || e.domain) from (select distinct domain from core.entities) e;
    return null;
end
$$;
comment on function core.announce_ticks() is 'Trigger: gives each tick its row of core.tick_state, and has the workers read core.ticks again';

create or replace trigger announce_ticks after insert or update or delete on core.ticks
for each statement execute function core.announce_ticks();
comment on trigger announce_ticks on core.ticks is 'Makes a new tick due, and wakes the loops of the ticks';
alter table core.ticks enable always trigger check_tick, enable always trigger announce_ticks;

create or replace view core.tick_status as
select t.domain, t.function, t.every, t.at_most, s.ran_at, s.changed, s.duration_ms,
       -- No pause is longer than this: the clock was set back, or the interval is a shorter one now.
       case when s.due_at <= clock_timestamp() + greatest(t.every, interval '5 minutes') then s.due_at
            when s.due_at is not null then clock_timestamp() end as due_at,
       greatest(clock_timestamp() - (coalesce(s.ran_at, t.registered_at) + t.every), interval '0') as late,
       coalesce(s.failures, 0) as failures, s.failed_at, s.error
from core.ticks t
left join core.tick_state s using (function);
comment on view core.tick_status is 'Each tick: when it ran, how it went, when it is due';
comment on column core.tick_status.domain is 'Domain';
comment on column core.tick_status.function is 'Function';
comment on column core.tick_status.every is 'Interval between two calls';
comment on column core.tick_status.at_most is 'Time limit of a call';
comment on column core.tick_status.ran_at is 'Time that its last successful call was given; null before the first';
comment on column core.tick_status.changed is 'Rows that this call changed';
comment on column core.tick_status.duration_ms is 'How long it took';
comment on column core.tick_status.due_at is 'When it is to be called next: after its interval, or sooner after a failure';
comment on column core.tick_status.late is 'How long ago it should have succeeded: time since its last success, or since it was registered, less its interval; 0 when it is on time';
comment on column core.tick_status.failures is 'Calls that failed since its last success';
comment on column core.tick_status.failed_at is 'Last call that failed';
comment on column core.tick_status.error is 'Its error; null after a success';

create or replace function core.take_tick(p_domain text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_function text;
    v_at_most interval;
begin
    -- Due as in core.tick_status. The row of a tick that another process has just run is looked at again as it is now.
    select t.function, t.at_most into v_function, v_at_most
    from core.tick_state s
    join core.ticks t using (function)
    where t.domain = p_domain
      and (s.due_at <= clock_timestamp() or s.due_at > clock_timestamp() + greatest(t.every, interval '5 minutes'))
    order by s.due_at, s.function
    limit 1
    for update of s skip locked;
    if v_function is null then
        return null;
    end if;
    -- Merges read the core before they write it: nobody else writes it meanwhile.
    perform core.take_lock('promote.' || p_domain);
    perform set_config('statement_timeout', (extract(epoch from v_at_most) * 1000)::integer::text, true);
    return v_function;
end
$$;
comment on function core.take_tick(text) is 'Locks the tick of a domain that has been due for longest, and promotion of the domain, until the transaction ends, whose statements get the time limit of the tick; null when none is due that no other process runs';

create or replace function core.run_tick(p_function text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tick core.ticks;
    v_at timestamptz;
    v_changed integer;
begin
    -- Held since core.take_tick, if the caller began with it.
    perform from core.tick_state s where s.function = p_function for update;
    select t.* into v_tick from core.ticks t where t.function = p_function;
    if not found then
        return 0; -- worker migrate has removed it a moment ago
    end if;
    perform core.take_lock('promote.' || v_tick.domain);
    v_at := clock_timestamp();
    execute format('select %s($1)', v_tick.function) into v_changed using v_at;
    -- A constraint that is checked at the end of the transaction is checked here, so that it fails the tick alone.
    set constraints all immediate;
    v_changed := greatest(coalesce(v_changed, 0), 0);
    if v_changed > 0 then
        perform core.note_changed(v_tick.changes);
        insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count, detail)
        values ('ticks', v_tick.domain, v_at, clock_timestamp(), 'ok', v_changed, 0, p_function);
        if exists (
            select from core.pending p
            where p.ready and p.entity in (select c.domain || '.' || c.entity from core.entities c where c.domain = v_tick.domain)) then
            perform pg_notify('acequia', 'staged ' || v_tick.domain);
        end if;
    end if;
    update core.tick_state s
    set ran_at = v_at, changed = v_changed, duration_ms = extract(epoch from clock_timestamp() - v_at) * 1000,
        failures = 0, error = null,
        -- In step with its interval; calls that were missed are not made up for. One that takes long leaves promotion half of the time.
        due_at = greatest(
            case when s.due_at + v_tick.every between v_at and v_at + v_tick.every then s.due_at + v_tick.every
                 else v_at + v_tick.every end,
            clock_timestamp() + (clock_timestamp() - v_at))
    where s.function = p_function;
    return v_changed;
end
$$;
comment on function core.run_tick(text) is 'Calls a tick with the time, once, however many calls were missed; returns the number of rows that it changed, and lets the marts that depend on them be refreshed';

create or replace function core.note_changed(p_tables text[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into core.entity_state as s (domain, entity, changed_at, merged_at)
    select e.domain, e.entity, clock_timestamp(), clock_timestamp()
    from core.entities e
    where e.core_table = any (p_tables)
       or e.core_table in (select d.core_table from core.derived_tables d where d.table_name = any (p_tables))
    on conflict (domain, entity) do update
    -- Later for each change, also when the clock was set back: marts are compared with it.
    set changed_at = greatest(excluded.changed_at, s.changed_at + interval '1 microsecond')
$$;
comment on function core.note_changed(text[]) is 'Notes that core tables, or what derived tables are made from, have changed otherwise than by a merge';

create or replace function core.tick_failed(p_function text, p_error text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_failures integer;
begin
    -- Soon, then more and more rarely.
    update core.tick_state s
    set failures = s.failures + 1, failed_at = clock_timestamp(), error = p_error,
        due_at = clock_timestamp() + least(interval '1 second' * 2 ^ least(s.failures, 9), interval '5 minutes')
    where s.function = p_function
    returning s.failures into v_failures;
    insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count, detail)
    select 'ticks', t.domain, now(), clock_timestamp(), 'failed', 0, 1, p_function || ': ' || p_error
    from core.ticks t where t.function = p_function;
    return coalesce(v_failures, 0);
end
$$;
comment on function core.tick_failed(text, text) is 'Notes that a call of a tick failed, which is tried again after 1 s to 5 minutes; returns the number of failures since its last success';
