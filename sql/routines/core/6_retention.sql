-- Retention: what has served its time goes, by partition where it can.

create or replace function core.drop_days(p_table text, p_before date) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_partition record;
    v_busy boolean;
    v_dropped integer := 0;
begin
    for v_partition in
        select c.oid, n.nspname, c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid
        join pg_namespace n on n.oid = c.relnamespace
        where i.inhparent = p_table::regclass and c.relname ~ '_p[0-9]{8}$'
        order by c.relname
    loop
        continue when v_partition.day >= p_before;
        -- A row that still waits, for promotion or for its parent, keeps its partition.
        if p_table like 'stg.%' then
            execute format($sql$
                select exists (select from %I.%I s join core.batches b on b.batch_id = s.batch_id where b.state = 'staged')
                    or exists (select from core.pending p join %I.%I s on s.message_id = p.message_id and s.day = p.day)
                $sql$, v_partition.nspname, v_partition.relname, v_partition.nspname, v_partition.relname)
            into v_busy;
            continue when v_busy;
        end if;
        execute format('drop table %I.%I', v_partition.nspname, v_partition.relname);
        if p_table = 'raw.quarantine' then
            delete from core.quarantine_open o where o.day = v_partition.day;
        end if;
        v_dropped := v_dropped + 1;
    end loop;
    return v_dropped;
end
$$;
comment on function core.drop_days(text, date) is 'Drops the day partitions of a table before a day, except those with rows that still wait';

create or replace function core.retain(p_staging interval, p_quarantine interval, p_logs interval)
returns table (what text, removed bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_rows constant integer := 50000; -- most rows deleted from one table in one call
    v_table text;
begin
    if not core.try_lock('retain') then
        return; -- another process is at it
    end if;

    for v_table in select e.staging from core.entities e order by e.position loop
        what := v_table;
        removed := core.drop_days(v_table, (now() - p_staging)::date);
        if removed > 0 then
            what := v_table || ' (partitions)';
            return next;
        end if;
        -- Ids without a day share the default partition: it is pruned by row.
        execute format($sql$
            delete from %1$s_default d
            where d.ctid = any (array(
                select s.ctid from %1$s_default s
                where s.ts_ingesta < now() - $1
                  and not exists (select from core.batches b where b.batch_id = s.batch_id and b.state = 'staged')
                  and not exists (select from core.pending p where p.message_id = s.message_id and p.day = s.day)
                limit $2))
            $sql$, v_table)
        using p_staging, c_rows;
        get diagnostics removed = row_count;
        if removed > 0 then
            what := v_table;
            return next;
        end if;
    end loop;

    what := 'raw.quarantine (partitions)';
    removed := core.drop_days('raw.quarantine', (now() - p_quarantine)::date);
    if removed > 0 then
        return next;
    end if;
    what := 'raw.quarantine';
    -- Not through the parent, so its triggers do not see it.
    with gone as (
        delete from raw.quarantine_default d where d.ctid = any (array(
            select s.ctid from raw.quarantine_default s where s.last_seen_at < now() - p_quarantine limit c_rows))
        returning d.message_id, d.day
    ), closed as (
        delete from core.quarantine_open o using gone g where o.message_id = g.message_id and o.day = g.day
    )
    select count(*) into removed from gone;
    if removed > 0 then
        return next;
    end if;

    what := 'raw.quarantine_versions';
    delete from raw.quarantine_versions v
    where not exists (select from raw.quarantine q where q.quarantine_id = v.quarantine_id);
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
    -- As long as the rows it tells of may be there, and not shorter than the other logs.
    what := 'core.audit_log';
    delete from core.audit_log l where l.at < now() - greatest(p_quarantine, p_logs);
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;

    -- Accounts of old batches are summed up; a batch with pending rows stays.
    what := 'core.batches';
    with old as (
        select b.batch_id from core.batches b
        where b.state = 'promoted' and coalesce(b.promoted_at, b.received_at) < now() - p_staging
          and not exists (select from core.batch_entities e where e.batch_id = b.batch_id and e.pending > 0)
        order by b.batch_id
        limit c_rows
    ), gone as (
        delete from core.batch_entities e using old o where e.batch_id = o.batch_id returning e.*
    ), summed as (
        insert into core.settled_totals as t
            (domain, entity, received, duplicates, inserted, updated, unchanged, stale, quarantined)
        select g.domain, g.entity, sum(g.received), sum(g.duplicates), sum(g.inserted), sum(g.updated),
               sum(g.unchanged), sum(g.stale), sum(g.quarantined)
        from gone g group by g.domain, g.entity
        on conflict (domain, entity) do update set
            received = t.received + excluded.received, duplicates = t.duplicates + excluded.duplicates,
            inserted = t.inserted + excluded.inserted, updated = t.updated + excluded.updated,
            unchanged = t.unchanged + excluded.unchanged, stale = t.stale + excluded.stale,
            quarantined = t.quarantined + excluded.quarantined
    )
    select count(*) into removed from old;
    delete from core.batches b
    where b.state = 'promoted' and coalesce(b.promoted_at, b.received_at) < now() - p_staging
      and not exists (select from core.batch_entities e where e.batch_id = b.batch_id);
    if removed > 0 then
        return next;
    end if;

    what := 'core.outbox';
    delete from core.outbox o where o.published_at < now() - p_logs;
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
    what := 'core.etl_run_log';
    delete from core.etl_run_log l where l.started_at < now() - p_logs;
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
    what := 'core.archive_runs';
    delete from core.archive_runs r where r.finished_at < now() - p_logs
        and exists (select from core.archive_runs n where n.domain is not distinct from r.domain and n.kind = r.kind
            and n.run_id > r.run_id and n.status = 'ok');
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
    what := 'core.mart_refresh_log';
    delete from core.mart_refresh_log l where l.started_at < now() - p_logs
        and exists (select from core.mart_refresh_log n where n.mart = l.mart and n.id > l.id and n.status = 'ok');
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
    what := 'core.gate_openings';
    delete from core.gate_openings o where o.ended_at < now() - greatest(p_quarantine, p_logs);
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
    what := 'core.dq_results';
    delete from core.dq_results r where r.check_time < now() - p_logs
        and exists (select from core.dq_results n where n.check_name = r.check_name and n.id > r.id);
    get diagnostics removed = row_count;
    if removed > 0 then
        return next;
    end if;
end
$$;
comment on function core.retain(interval, interval, interval) is 'Drops and deletes what is older than the given intervals: staging, quarantine, logs; returns what went. Accounts of old batches are summed up in core.settled_totals';
