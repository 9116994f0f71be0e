-- Retention, in steps that are transactions of their own. A step is short and waits for a lock for 100 ms at most: a
-- table that is busy is tried again a minute later.

create or replace function core.retention_end(p_keep interval, p_now timestamptz) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
    select least(p_now, now()) - p_keep
$$;
comment on function core.retention_end(interval, timestamptz) is 'Rows older than this have been kept long enough';

drop function if exists core.drop_days(text, date);
create or replace function core.drop_day(p_partition text, p_end timestamptz) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    v_parent text;
    v_partition text;
    v_day date;
    v_needed text;
    v_busy boolean;
begin
    select format('%I.%I', pn.nspname, p.relname), format('%I.%I', pn.nspname, c.relname), to_date(right(c.relname, 8), 'YYYYMMDD')
    into v_parent, v_partition, v_day
    from pg_class c
    join pg_inherits i on i.inhrelid = c.oid
    join pg_class p on p.oid = i.inhparent
    join pg_namespace pn on pn.oid = p.relnamespace
    where c.oid = to_regclass(p_partition) and c.relname ~ '_p[0-9]{8}$' and pn.nspname in ('stg', 'raw');
    -- Also when nobody says how long it is kept: that is for good.
    if (v_day < (p_end at time zone 'UTC')::date) is not true then
        return false;
    end if;
    -- Late messages fall into days that are about to go. What has not been promoted is nowhere else.
    v_needed := case v_parent
        when 'raw.quarantine' then format('exists (select from %s q where q.last_seen_at >= %L or q.status = ''open'')', v_partition, p_end)
        else format($sql$
            exists (
                select from core.entities e
                where e.staging = %1$L and (
                    exists (select from core.pending p where p.entity = e.domain || '.' || e.entity and p.day = %2$L)
                    or (select max(s.batch_id) from %3$s s) >= (
                        select min(b.batch_id) from core.batches b where b.domain = e.domain and b.state = 'staged')))
            $sql$, v_parent, v_day, v_partition) end;
    execute 'select ' || v_needed into v_busy;
    if v_busy then
        return false;
    end if;
    -- With the lock, earlier writers have committed and nobody writes until this ends: the second look is the one that counts.
    execute format('lock table only %s in access exclusive mode', v_parent);
    execute 'select ' || v_needed into v_busy;
    if v_busy then
        return false;
    end if;
    execute format('drop table %s', v_partition);
    if v_parent = 'raw.quarantine' then
        delete from core.quarantine_open o where o.day = v_day;
    end if;
    return true;
end
$$;
comment on function core.drop_day(text, timestamptz) is 'Drops a partition whose day ended before an instant; false when rows in it are still needed: staged ones that wait, quarantined ones that came later or are open. Gives up after 100 ms without the lock';

create or replace function core.prune_staging(p_partition text, p_end timestamptz, p_from bigint, p_max integer,
    out removed bigint, out next bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_domain text;
    v_entity text;
begin
    select e.domain, e.domain || '.' || e.entity into strict v_domain, v_entity
    from core.entities e where p_partition in (e.staging || '_undated', e.staging || '_default');
    -- In the order of the batches, which is that of arrival: a look at the oldest rows, whatever lies behind them.
    execute format($sql$
        with oldest as (
            select s.ctid, s.message_id, s.day, s.batch_id, s.ts_ingesta from %1$s s
            where s.batch_id >= coalesce($1, -9223372036854775808)
              and s.batch_id < coalesce((select min(b.batch_id) from core.batches b where b.domain = $2 and b.state = 'staged'), 9223372036854775807)
            order by s.batch_id limit $3
        ), gone as (
            delete from %1$s d using oldest o
            where d.ctid = o.ctid and o.ts_ingesta < $4
              and not exists (select from core.pending p where p.entity = $5 and p.message_id = o.message_id and p.day = o.day)
            returning 1
        )
        select (select count(*) from gone),
               case when count(*) = $3 and bool_and(o.ts_ingesta < $4)
                   -- More of the same batch, unless all that was seen of it waits.
                   then max(o.batch_id) + (max(o.batch_id) = $1 and not exists (select from gone))::int end
        from oldest o
        $sql$, p_partition)
    into removed, next using p_from, v_domain, p_max, p_end, v_entity;
end
$$;
comment on function core.prune_staging(text, timestamptz, bigint, integer) is 'Deletes promoted rows that came before an instant from a partition that is not dropped by day, beginning with a batch, the oldest when null; next is the batch to go on with, null at the end';

create or replace function core.prune_quarantine(p_partition text, p_end timestamptz, p_from bigint, p_max integer,
    out removed bigint, out next bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_partition not in ('raw.quarantine_undated', 'raw.quarantine_default') then
        raise exception '% is not a partition of quarantine that rows are deleted from', p_partition;
    end if;
    -- Not through the parent, so its triggers do not see it.
    execute format($sql$
        with oldest as (
            select q.ctid, q.quarantine_id, q.received_at, q.last_seen_at from %1$s q
            where q.quarantine_id >= coalesce($1, 0) order by q.quarantine_id limit $2
        ), gone as (
            delete from %1$s d using oldest o
            where d.ctid = o.ctid and o.last_seen_at < $3 and d.status <> 'open' returning d.message_id, d.day
        ), closed as (
            delete from core.quarantine_open o using gone g where o.message_id = g.message_id and o.day = g.day
        )
        select (select count(*) from gone),
               case when count(*) = $2 and bool_and(o.received_at < $3) then max(o.quarantine_id) + 1 end
        from oldest o
        $sql$, p_partition)
    into removed, next using p_from, p_max, p_end;
end
$$;
comment on function core.prune_quarantine(text, timestamptz, bigint, integer) is 'Deletes messages that are not open and were last seen before an instant from a partition of quarantine that is not dropped by day, beginning with a number, the first when null; next is the number to go on with, null at the end';

create or replace function core.retain_batches(p_domain text, p_end timestamptz, p_max integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- Trace says of a batch who took it and when it was promoted; after a failover, workers look whether theirs are there.
    c_least constant interval := '2 hours';
    -- The newest batches, this many numbers back, are kept as long as staging keeps rows.
    c_newest constant bigint := 200000;
    v_newest bigint;
    v_behind timestamptz[];
    v_gone bigint[];
begin
    select b.batch_id into v_newest from core.batches b where b.domain = p_domain order by b.received_at desc limit 1;
    -- The state of all marts takes longer than this look.
    if not exists (
        select from core.batches b
        where b.domain = p_domain and b.state = 'promoted' and b.received_at < now() - c_least
          and (b.batch_id <= v_newest - c_newest or coalesce(b.promoted_at, b.received_at) < p_end))
    then
        return 0;
    end if;
    -- A mart that is not refreshed lacks the data since one of them.
    v_behind := array(select s.behind_since from core.mart_status s where s.domain = p_domain and s.behind_since is not null);
    select array_agg(o.batch_id) into v_gone
    from (
        select b.batch_id from core.batches b
        where b.domain = p_domain and b.state = 'promoted' and b.received_at < now() - c_least
          and coalesce(b.promoted_at, b.received_at) < now() - c_least
          and (b.batch_id <= v_newest - c_newest or coalesce(b.promoted_at, b.received_at) < p_end)
          and (b.promoted_at is null or b.promoted_at <> all (v_behind))
          and not exists (
              select from core.batch_entities e
              where e.batch_id = b.batch_id and (not e.settled or e.staged > 0 or e.pending > 0))
        order by b.received_at
        limit p_max
        for update skip locked
    ) o;
    delete from core.batch_entities e where e.batch_id = any (v_gone);
    delete from core.batches b where b.batch_id = any (v_gone);
    return coalesce(cardinality(v_gone), 0);
end
$$;
comment on function core.retain_batches(text, timestamptz, integer) is 'Deletes batches whose rows are all accounted for in core.settled_totals: those before an instant, and those that 200,000 newer ones followed; none that is younger than two hours';

create or replace function core.thin(p_table text, p_max integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_removed bigint;
begin
    if p_table not in ('etl_run_log', 'dq_results', 'mart_refresh_log') then
        raise exception 'core.% is not a log that is thinned', p_table;
    end if;
    -- The hours that have just passed that age. Of equal results in a row the first and the last of an hour stay.
    execute format($sql$
        delete from core.%1$I d
        where d.%2$I in (
            select x.id from (
                select r.%2$I as id, %5$s = lag(%5$s) over w and %5$s = lead(%5$s) over w as same
                from core.%1$I r
                where r.%3$I >= date_trunc('hour', now() - $1) - interval '3 hours' and r.%3$I < date_trunc('hour', now() - $1)
                window w as (partition by %4$s, date_trunc('hour', r.%3$I) order by r.%2$I)
            ) x where x.same limit $2)
        $sql$, p_table,
        case p_table when 'etl_run_log' then 'run_id' else 'id' end,
        case p_table when 'dq_results' then 'check_time' else 'started_at' end,
        case p_table when 'dq_results' then 'r.check_name' when 'mart_refresh_log' then 'r.mart' else 'r.domain, r.loop' end,
        case p_table when 'dq_results' then 'concat_ws(''|'', r.outcome, r.measured)' else 'nullif(r.status, ''failed'')' end)
    using case p_table when 'etl_run_log' then interval '2 hours' else interval '1 day' end, p_max;
    get diagnostics v_removed = row_count;
    return v_removed;
end
$$;
comment on function core.thin(text, integer) is 'Thins core.etl_run_log (after two hours), core.dq_results or core.mart_refresh_log (after a day): of equal results in a row the first and the last of an hour stay, and every failure';

create or replace function core.retain_log(p_table text, p_end timestamptz, p_max integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_which text;
    v_removed bigint;
begin
    v_which := case p_table
        when 'raw.quarantine_versions' then '$1 is not null and not exists (select from raw.quarantine q where q.quarantine_id = l.quarantine_id)'
        when 'core.audit_log' then 'l.at < $1'
        when 'core.api_calls' then 'l.at < $1'
        when 'core.operations' then 'l.finished_at < $1'
        when 'core.outbox' then 'l.published_at < $1'
        when 'core.etl_run_log' then 'l.started_at < $1'
        when 'core.archive_runs' then 'l.finished_at < $1 and exists (select from core.archive_runs n
            where n.domain is not distinct from l.domain and n.kind = l.kind and n.run_id > l.run_id and n.status = ''ok'')'
        when 'core.mart_refresh_log' then 'l.started_at < $1 and exists (
            select from core.mart_refresh_log n where n.mart = l.mart and n.id > l.id and n.status = ''ok'')'
        when 'core.gate_openings' then 'l.ended_at < $1'
        when 'core.dq_results' then 'l.check_time < $1 and exists (
            select from core.dq_results n where n.check_name = l.check_name and n.id > l.id)'
    end;
    if v_which is null then
        raise exception '% is not a log of retention', p_table;
    end if;
    execute format('delete from %1$s d where d.ctid = any (array(select l.ctid from %1$s l where %2$s limit $2))', p_table, v_which)
    using p_end, p_max;
    get diagnostics v_removed = row_count;
    return v_removed;
end
$$;
comment on function core.retain_log(text, timestamptz, integer) is 'Deletes entries of a log that are older than an instant';

create or replace function core.retention_steps(p_staging interval, p_quarantine interval, p_now timestamptz)
returns table (step text, what text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with tables as (
        select e.staging as name, core.retention_end(core.kept('staging', p_staging), p_now) as before from core.entities e
        union all
        select 'raw.quarantine', core.retention_end(core.kept('quarantine', p_quarantine), p_now)
    )
    select s.step, s.what
    from (
        select 1 as position, 'rows' as step, t.name || s.suffix as what
        from tables t cross join (values ('_undated'), ('_default')) s (suffix)
        union all
        select 2, 'log', l.name
        from (values ('core.audit_log'), ('core.api_calls'), ('core.operations'), ('core.outbox'), ('core.etl_run_log'), ('core.archive_runs'),
            ('core.mart_refresh_log'), ('core.gate_openings'), ('core.dq_results')) l (name)
        union all
        select 3, 'thin', t.name from (values ('etl_run_log'), ('mart_refresh_log'), ('dq_results')) t (name)
        union all
        select 4, 'batches', d.domain from (select distinct e.domain from core.entities e) d
        union all
        select 5, 'day', n.nspname || '.' || c.relname
        from tables t
        join pg_inherits i on i.inhparent = t.name::regclass
        join pg_class c on c.oid = i.inhrelid and c.relname ~ '_p[0-9]{8}$'
        join pg_namespace n on n.oid = c.relnamespace
        where to_date(right(c.relname, 8), 'YYYYMMDD') < (t.before at time zone 'UTC')::date
        union all
        select 6, 'log', 'raw.quarantine_versions'
    ) s
    order by s.position, case s.step when 'day' then right(s.what, 8) end, s.what
$$;
comment on function core.retention_steps(interval, interval, timestamptz) is 'Work list of retention: rows of partitions that stay, logs, batches, partitions of days that are over';

create or replace function core.retain_step(p_step text, p_what text, p_staging interval, p_quarantine interval, p_logs interval,
    p_now timestamptz, p_from bigint default null, out removed bigint, out next bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_rows constant integer := 10000;
    -- A caller may ask for a longer time than the owner's period, never for a shorter one.
    v_staging timestamptz := core.retention_end(core.kept('staging', p_staging), p_now);
    v_quarantine timestamptz := core.retention_end(core.kept('quarantine', p_quarantine), p_now);
    v_logs timestamptz := core.retention_end(core.kept('logs', p_logs), p_now);
begin
    removed := 0;
    if not core.try_lock('retain') then
        return; -- another process is at it
    end if;
    case p_step
        when 'day' then
            removed := core.drop_day(p_what, case when p_what like 'raw.%' then v_quarantine else v_staging end)::int;
        when 'rows' then
            if p_what like 'raw.%' then
                select r.* into removed, next from core.prune_quarantine(p_what, v_quarantine, p_from, c_rows) r;
            else
                select r.* into removed, next from core.prune_staging(p_what, v_staging, p_from, c_rows) r;
            end if;
        when 'batches' then
            removed := core.retain_batches(p_what, v_staging, c_rows);
        when 'thin' then
            removed := core.thin(p_what, c_rows);
        when 'log' then
            -- Logs about messages stay as long as these may be there, and not shorter than the other logs.
            removed := core.retain_log(p_what,
                case when p_what in ('core.audit_log', 'core.api_calls', 'core.operations', 'core.gate_openings') then least(v_quarantine, v_logs) else v_logs end, c_rows);
    end case;
    if p_step in ('batches', 'thin', 'log') and removed = c_rows then
        next := 0;
    end if;
end
$$;
comment on function core.retain_step(text, text, interval, interval, interval, timestamptz, bigint) is 'Makes one step of core.retention_steps, in a transaction of its own; next: call it again with that, null when nothing is left of it';

-- Called once a minute by older workers: every step once, and a partition at most.
create or replace function core.retain(p_staging interval, p_quarantine interval, p_logs interval)
returns table (what text, removed bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_step record;
begin
    for v_step in select s.step, s.what from core.retention_steps(p_staging, p_quarantine, now()) s loop
        begin
            select r.removed into removed
            from core.retain_step(v_step.step, v_step.what, p_staging, p_quarantine, p_logs, now()) r;
        exception when lock_not_available or deadlock_detected then
            continue;
        end;
        if removed > 0 then
            what := v_step.what;
            return next;
            exit when v_step.step = 'day'; -- its lock is held until this transaction ends
        end if;
    end loop;
end
$$;
comment on function core.retain(interval, interval, interval) is 'Makes every step of retention once, in one transaction; returns what went. For programs before core.retain_step';
