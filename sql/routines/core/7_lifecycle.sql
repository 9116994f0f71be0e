-- Functions shared by archiving, restoring and purging, and by merges.

create or replace function core.archived(p_table text, p_first timestamptz, p_last timestamptz)
returns table (from_at timestamptz, to_at timestamptz, parent_key text)
language sql stable security definer rows 1 set search_path = pg_catalog, pg_temp as $$
    select a.from_at, a.to_at, a.partition_name
    from core.archives a
    where a.table_name = p_table and a.state in ('archived', 'purged') and a.from_at <= p_last and a.to_at > p_first
$$;
comment on function core.archived(text, timestamptz, timestamptz) is 'Ranges of a table between two instants whose rows are not in the database. A merge locks the table in row exclusive mode by a statement of its own, then parks rows of these ranges in core.pending with parent core.archives';

create or replace function core.archive_note(p_archive core.archives, p_run bigint, p_step text, p_who text, p_detail jsonb)
returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into core.archive_log (run_id, archive_id, table_name, partition_name, step, who, detail)
    values (p_run, p_archive.archive_id, p_archive.table_name, p_archive.partition_name, p_step,
            coalesce(p_who, session_user), jsonb_strip_nulls(p_detail))
$$;
comment on function core.archive_note(core.archives, bigint, text, text, jsonb) is 'Writes an entry of core.archive_log';

create or replace function core.archive_bound(p_table text, p_at timestamptz) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_type regtype;
begin
    select a.atttypid into strict v_type
    from pg_partitioned_table t
    join pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
    where t.partrelid = p_table::regclass;
    return to_char(p_at at time zone 'UTC', case v_type
        when 'timestamptz'::regtype then 'YYYY-MM-DD HH24:MI:SS"+00"'
        when 'date'::regtype then 'YYYY-MM-DD'
        else 'YYYY-MM-DD HH24:MI:SS' end);
end
$$;
comment on function core.archive_bound(text, timestamptz) is 'An instant as a bound of the partitions of a table, whatever the type of its time column';

create or replace function core.archive_instant(p_table text, p_column text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_type regtype;
begin
    select a.atttypid into strict v_type
    from pg_attribute a where a.attrelid = p_table::regclass and a.attname = p_column and not a.attisdropped;
    return case v_type
        when 'timestamptz'::regtype then format('%I', p_column)
        when 'date'::regtype then format('(%I::timestamp at time zone ''UTC'')', p_column)
        else format('(%I at time zone ''UTC'')', p_column) end;
end
$$;
comment on function core.archive_instant(text, text) is 'Expression that makes an instant of the time column of a table';

create or replace function core.archive_run_begin(p_kind text, p_domain text, p_scheduled timestamptz, p_worker text, p_who text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run bigint;
begin
    -- One run at a time, so a run that still counts as running was killed.
    update core.archive_runs r set status = 'interrupted', finished_at = clock_timestamp(), error = 'the process ended'
    where r.status = 'running';
    -- An attempt that follows a failed one is the same run.
    update core.archive_runs r
    set status = 'running', worker = p_worker, finished_at = null, error = null
    where p_scheduled is null and r.status = 'failed' and r.scheduled_for is null
      and r.run_id = (select max(l.run_id) from core.archive_runs l where l.domain = p_domain and l.kind = p_kind)
    returning r.run_id into v_run;
    if found then
        return v_run;
    end if;
    insert into core.archive_runs as r (kind, domain, scheduled_for, worker, who)
    values (p_kind, p_domain, p_scheduled, p_worker, coalesce(p_who, session_user))
    on conflict (domain, scheduled_for) where scheduled_for is not null do update
    set status = 'running', worker = excluded.worker, finished_at = null, error = null
    where r.status <> 'ok'
    returning r.run_id into v_run;
    return v_run;
end
$$;
comment on function core.archive_run_begin(text, text, timestamptz, text, text) is 'Begins a run, or takes up one of the schedule that did not end well; null when it has been done. To be called under the lock of the archive';

create or replace function core.archive_run_by_hand(p_kind text, p_worker text, p_who text, p_filters jsonb, p_reason text, p_operation bigint)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_run constant bigint := core.archive_run_begin(p_kind, null, null, p_worker, p_who);
    v_action constant text := case p_kind when 'restore' then 'restore_archive' else p_kind end;
begin
    update core.archive_runs r set operation_id = p_operation where r.run_id = v_run;
    -- An operation that another process resumes was decided once.
    insert into core.audit_log (who, action, filters, reason, operation_id)
    select coalesce(p_who, session_user), v_action, p_filters, p_reason, p_operation
    where not exists (select from core.audit_log l where l.operation_id = p_operation and l.action = v_action);
    return v_run;
end
$$;
comment on function core.archive_run_by_hand(text, text, text, jsonb, text, bigint) is 'Begins a run of kind archive or restore that a person decided on, and notes it in core.audit_log. To be called under the lock of the archive';

create or replace function core.archive_run_end(p_run bigint, p_status text, p_error text, p_partitions integer, p_rows bigint,
    p_hot bigint, p_archived bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update core.archive_runs r
    set status = p_status, error = p_error, finished_at = clock_timestamp(), partitions = r.partitions + p_partitions,
        row_count = r.row_count + p_rows, bytes_hot = r.bytes_hot + p_hot, bytes_archived = r.bytes_archived + p_archived
    where r.run_id = p_run
$$;
comment on function core.archive_run_end(bigint, text, text, integer, bigint, bigint, bigint) is 'Ends a run';

create or replace function core.archive_unwatch(p_partition text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_regclass(p_partition) is not null then
        perform set_config('lock_timeout', '1s', true);
        execute format('drop trigger if exists archive_watch on %s', p_partition);
        execute format('drop trigger if exists archive_watch_truncate on %s', p_partition);
        execute format('revoke select on %s from acequia_archive', p_partition);
    end if;
    delete from core.archive_changes c where c.partition_name = p_partition;
end
$$;
comment on function core.archive_unwatch(text) is 'Takes the triggers that notice changes from a partition';

create or replace function core.archive_recover(p_run bigint, p_who text)
returns table (archive_id bigint, object_path text, manifest_path text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
begin
    for v_archive in select a.* from core.archives a where a.state = 'writing' loop
        perform core.archive_abandon(p_run, v_archive.archive_id, 'the process ended', p_who);
    end loop;
    for v_archive in select a.* from core.archives a where a.restoring_at is not null loop
        if to_regclass(v_archive.partition_name) is not null
            and not exists (select from pg_inherits i where i.inhrelid = v_archive.partition_name::regclass) then
            execute format('drop table %s', v_archive.partition_name);
        end if;
        update core.archives a set restoring_at = null where a.archive_id = v_archive.archive_id;
        perform core.archive_note(v_archive, p_run, 'restore_abandoned', p_who, '{}');
    end loop;
    return query
        select a.archive_id, a.object_path, a.manifest_path from core.archives a
        where a.state in ('superseded', 'purged', 'abandoned') and a.object_deleted_at is null
        order by a.archive_id;
end
$$;
comment on function core.archive_recover(bigint, text) is 'Puts in order what a killed process left; returns the files that are to be deleted. To be called under the lock of the archive';

create or replace function core.archive_deleted(p_run bigint, p_archive bigint, p_who text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
begin
    update core.archives a set object_deleted_at = clock_timestamp()
    where a.archive_id = p_archive and a.state in ('superseded', 'purged', 'abandoned') and a.object_deleted_at is null
    returning a.* into v_archive;
    if found then
        perform core.archive_note(v_archive, p_run, 'object_deleted', p_who, jsonb_build_object('object', v_archive.object_path));
    end if;
end
$$;
comment on function core.archive_deleted(bigint, bigint, text) is 'Notes that the file of an archive that does not count any more is deleted';
