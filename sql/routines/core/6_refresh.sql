-- Refresh of the materialized marts: first their rules, then, if none blocks it, the refresh.
-- The refresh loop calls both in one transaction of isolation level repeatable read, so that the
-- published rows are exactly the checked ones.

drop view if exists core.mart_shows; -- its name before
create or replace view core.mart_refresh_state as
select m.mart, p.changed_at, d.promoted_at, p.newest_published_at, p.complete_through,
       array(select g.rule from core.gates g where g.mart = m.mart and g.blocks order by g.rule) as blocking_rules
from core.marts m
join core.mart_progress p on p.mart = m.mart
left join core.domain_state d on d.domain = m.domain
where m.kind = 'materialized';
comment on view core.mart_refresh_state is 'State that each materialized mart would show after a refresh now';
comment on column core.mart_refresh_state.mart is 'Mart';
comment on column core.mart_refresh_state.changed_at is 'Last change of the tables that it reads';
comment on column core.mart_refresh_state.promoted_at is 'Last promotion of its domain';
comment on column core.mart_refresh_state.newest_published_at is 'Newest publish time of what was merged into these tables';
comment on column core.mart_refresh_state.complete_through is 'Everything published up to then is in them';
comment on column core.mart_refresh_state.blocking_rules is 'Rules that fail on them';

create or replace function core.due_audit(p_mart text) returns text[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_changed timestamptz;
begin
    if not core.try_lock('refresh.' || p_mart) then
        return null; -- another process is at it
    end if;
    select p.changed_at into v_changed from core.mart_progress p where p.mart = p_mart;
    return array(
        select g.rule from core.mart_rules g
        where g.mart = p_mart and g.blocks and not coalesce((
            select d.saw_change_at >= v_changed from core.dq_results d where d.check_name = g.rule order by d.id desc limit 1
        ), false)
        order by g.rule);
end
$$;
comment on function core.due_audit(text) is 'The rules of a mart that have not seen the last change of the core, to be run before its refresh in the same transaction; null when another process is refreshing it';

create or replace function core.audit_mart(p_mart text) returns text[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_rules text[] := core.due_audit(p_mart);
    v_rule text;
begin
    if v_rules is null then
        return null;
    end if;
    foreach v_rule in array v_rules loop
        perform core.run_rule(v_rule);
    end loop;
    return core.closed_gates(p_mart);
end
$$;
comment on function core.audit_mart(text) is 'For programs before schema version 11: runs the rules of core.due_audit in one statement; returns those that block the refresh, null when another process is refreshing it';

create or replace function core.closed_gates(p_mart text) returns text[]
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select array(select g.rule from core.gates g where g.mart = p_mart and g.gate = 'closed' order by g.rule)
$$;
comment on function core.closed_gates(text) is 'The rules that block the refresh of a mart';

create or replace function core.refresh_mart(p_mart text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_started timestamptz := clock_timestamp();
    v_name text := format('%I.%I', split_part(p_mart, '.', 1), split_part(p_mart, '.', 2));
    v_domain text;
    v_state record;
    v_rows bigint;
begin
    select m.domain into v_domain from core.marts m where m.mart = p_mart and m.kind = 'materialized';
    if not found then
        raise exception '% is not a materialized mart', p_mart;
    end if;
    if not core.try_lock('refresh.' || p_mart) then
        return null; -- another process is at it
    end if;
    -- Read before the refresh, so the mart shows at least this state.
    select s.* into v_state from core.mart_refresh_state s where s.mart = p_mart;
    if (select relispopulated from pg_class where oid = v_name::regclass) then
        execute 'refresh materialized view concurrently ' || v_name;
    else
        execute 'refresh materialized view ' || v_name;
    end if;
    execute 'select count(*) from ' || v_name into v_rows;
    insert into core.mart_refresh_log (mart, started_at, finished_at, status, row_count, data_as_of, promoted_through,
        newest_published_at, complete_through, blocking_rules)
    values (p_mart, v_started, clock_timestamp(), 'ok', v_rows, v_state.changed_at, v_state.promoted_at,
        v_state.newest_published_at, v_state.complete_through, v_state.blocking_rules);
    insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count)
    values ('refresh', v_domain, v_started, clock_timestamp(), 'ok', 1, 0);
    return v_rows;
end
$$;
comment on function core.refresh_mart(text) is 'Refreshes one materialized mart without blocking its readers, whatever its rules say; null when another process is doing it';

drop function if exists core.marts_rebuilt();
create or replace function core.marts_rebuilt(p_marts text[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into core.mart_refresh_log (mart, started_at, finished_at, status, data_as_of, promoted_through,
        newest_published_at, complete_through, blocking_rules)
    select s.mart, now(), clock_timestamp(), 'ok', s.changed_at, s.promoted_at, s.newest_published_at, s.complete_through, s.blocking_rules
    from core.mart_refresh_state s
    where s.changed_at is not null and s.mart = any (p_marts)
$$;
comment on function core.marts_rebuilt(text[]) is 'Notes that worker migrate, which calls it in the same snapshot, has built materialized marts anew';

create or replace function core.refresh_failed(p_mart text, p_started timestamptz, p_error text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with logged as (
        insert into core.mart_refresh_log (mart, started_at, finished_at, status, error)
        values (p_mart, p_started, clock_timestamp(), 'failed', p_error)
    )
    insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count, detail)
    select 'refresh', m.domain, p_started, clock_timestamp(), 'failed', 0, 1, p_error
    from core.marts m where m.mart = p_mart
$$;
comment on function core.refresh_failed(text, timestamptz, text) is 'Keeps the failure of a refresh, whose own transaction was rolled back';
