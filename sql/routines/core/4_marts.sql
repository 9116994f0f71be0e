-- Refresh of the materialized marts.

drop view if exists marts.freshness;
drop view if exists core.mart_status;
create view core.mart_status as
select m.mart, m.domain, m.kind, m.position, m.objective, s.changed_at,
       case m.kind when 'view' then now() else l.finished_at end as refreshed_at,
       case m.kind when 'view' then s.changed_at else l.data_as_of end as data_as_of,
       d.needs_refresh,
       case when d.needs_refresh then coalesce((
           select min(b.promoted_at) from core.batches b
           where b.state = 'promoted' and b.domain = m.domain and b.promoted_at > coalesce(l.data_as_of, '-infinity')
       ), s.changed_at) end as behind_since
from core.marts m
left join core.domain_state s on s.domain = m.domain
left join lateral (
    select r.finished_at, r.data_as_of from core.mart_refresh_log r
    where r.mart = m.mart and r.status = 'ok' order by r.id desc limit 1
) l on true
cross join lateral (
    select m.kind = 'materialized' and s.changed_at is not null
        and (l.data_as_of is null or l.data_as_of < s.changed_at) as needs_refresh
) d;
comment on view core.mart_status is 'Each mart: refreshed when, showing the core as of when, and since when it has lacked a change of the core';
comment on column core.mart_status.mart is 'Mart';
comment on column core.mart_status.domain is 'Domain';
comment on column core.mart_status.kind is 'view or materialized';
comment on column core.mart_status.position is 'Order of the refresh';
comment on column core.mart_status.objective is 'How old its data may be';
comment on column core.mart_status.changed_at is 'Last change of the core';
comment on column core.mart_status.refreshed_at is 'Last refresh; now for a view';
comment on column core.mart_status.data_as_of is 'Last change of the core that the mart shows';
comment on column core.mart_status.needs_refresh is 'Whether the core has changed since';
comment on column core.mart_status.behind_since is 'Since when it has lacked a change of the core; null when it shows everything';

create or replace function core.refresh_mart(p_mart text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_started timestamptz := clock_timestamp();
    v_schema text := split_part(p_mart, '.', 1);
    v_name text := split_part(p_mart, '.', 2);
    v_domain text;
    v_as_of timestamptz;
    v_rows bigint;
begin
    select m.domain into v_domain from core.marts m where m.mart = p_mart and m.kind = 'materialized';
    if not found then
        raise exception '% is not a materialized mart', p_mart;
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended('acequia.refresh.' || p_mart, 0)) then
        return null; -- another process is at it
    end if;
    select s.changed_at into v_as_of from core.domain_state s where s.domain = v_domain;
    if (select relispopulated from pg_class where oid = format('%I.%I', v_schema, v_name)::regclass) then
        execute format('refresh materialized view concurrently %I.%I', v_schema, v_name);
    else
        execute format('refresh materialized view %I.%I', v_schema, v_name);
    end if;
    execute format('select count(*) from %I.%I', v_schema, v_name) into v_rows;
    insert into core.mart_refresh_log (mart, started_at, finished_at, status, row_count, data_as_of)
    values (p_mart, v_started, clock_timestamp(), 'ok', v_rows, v_as_of);
    insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count)
    values ('refresh', v_domain, v_started, clock_timestamp(), 'ok', 1, 0);
    return v_rows;
end
$$;
comment on function core.refresh_mart(text) is 'Refreshes one materialized mart without blocking its readers; null when another process is doing it';

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

create view marts.freshness as
select s.mart, s.domain, s.kind, s.data_as_of, s.refreshed_at, s.objective,
       case when s.changed_at is null then 'no data yet'
            when now() - s.behind_since > s.objective then 'stale'
            else 'fresh' end as status,
       s.behind_since
from core.mart_status s
order by s.domain, s.position, s.mart;
comment on view marts.freshness is 'How fresh each mart is';
comment on column marts.freshness.mart is 'Mart';
comment on column marts.freshness.domain is 'Domain';
comment on column marts.freshness.kind is 'view: always live; materialized: refreshed when the core has changed';
comment on column marts.freshness.data_as_of is 'Last change of the core that the mart shows';
comment on column marts.freshness.refreshed_at is 'Last refresh; now for a view';
comment on column marts.freshness.objective is 'How old its data may be';
comment on column marts.freshness.status is 'fresh, stale or no data yet';
comment on column marts.freshness.behind_since is 'Since when it has lacked a change of the core; null when it shows everything';
