-- Restoring and purging archives.

create or replace function core.restore_begin(p_run bigint, p_archive bigint, p_who text)
returns table (partition_name text, columns jsonb, copy_in text, copy_out text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
    v_time text;
    v_missing text;
begin
    select a.* into strict v_archive from core.archives a where a.archive_id = p_archive and a.state = 'archived';
    select p.time_column into strict v_time from core.lifecycle_policies p where p.table_name = v_archive.table_name;
    if to_regclass(v_archive.partition_name) is not null then
        raise exception '% is there already', v_archive.partition_name;
    end if;
    select string_agg(c ->> 'name', ', ') into v_missing
    from jsonb_array_elements(v_archive.columns) c
    where not exists (select from pg_attribute a where a.attrelid = v_archive.table_name::regclass
        and a.attname = c ->> 'name' and not a.attisdropped and a.attgenerated = '');
    if v_missing is not null then
        raise exception '% has no column % any more, which the archive of % has', v_archive.table_name, v_missing, v_archive.partition_name;
    end if;
    execute format('create table %s (like %s including all)', v_archive.partition_name, v_archive.table_name);
    -- Spares the look at every row when it is attached.
    execute format('alter table %s add constraint archive_range check (%I is not null and %I >= %L and %I < %L)',
        v_archive.partition_name, v_time, v_time, core.archive_bound(v_archive.table_name, v_archive.from_at),
        v_time, core.archive_bound(v_archive.table_name, v_archive.to_at));
    execute format('grant select, insert on %s to acequia_archive', v_archive.partition_name);
    update core.archives a set restoring_at = clock_timestamp() where a.archive_id = p_archive;
    perform core.archive_note(v_archive, p_run, 'restore_begun', p_who, '{}');

    partition_name := v_archive.partition_name;
    columns := v_archive.columns;
    select format('copy %s (%s) from stdin', v_archive.partition_name, string_agg(format('%I', c.e ->> 'name'), ', ' order by c.n))
    into copy_in
    from jsonb_array_elements(v_archive.columns) with ordinality c (e, n);
    copy_out := core.archive_query(v_archive.partition_name, v_archive.columns, v_archive.key_columns);
    return next;
end
$$;
comment on function core.restore_begin(bigint, bigint, text) is 'Makes an empty table for an archived partition, not yet attached, and the statements that fill and read it';

create or replace function core.restore_attach(p_run bigint, p_archive bigint, p_rows bigint, p_checksum text, p_hold interval, p_who text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
    v_there record;
    v_waiting bigint;
begin
    select a.* into strict v_archive from core.archives a
    where a.archive_id = p_archive and a.state = 'archived' and a.restoring_at is not null for update;
    if (p_rows, p_checksum) is distinct from (v_archive.row_count, v_archive.checksum) then
        raise exception '% has % rows with checksum % after the restore, but % with % when it was archived',
            v_archive.partition_name, p_rows, p_checksum, v_archive.row_count, v_archive.checksum;
    end if;
    execute format('revoke all on %s from acequia_archive', v_archive.partition_name);
    v_there := core.archive_extent(v_archive.table_name, v_archive.partition_name);
    if (v_there.row_count, v_there.first_at, v_there.last_at) is distinct from (v_archive.row_count, v_archive.first_at, v_archive.last_at) then
        raise exception '% has % rows from % to % after the restore, but % from % to % when it was archived', v_archive.partition_name,
            v_there.row_count, v_there.first_at, v_there.last_at, v_archive.row_count, v_archive.first_at, v_archive.last_at;
    end if;
    perform set_config('lock_timeout', '1s', true);
    execute format('alter table %s attach partition %s for values from (%L) to (%L)', v_archive.table_name, v_archive.partition_name,
        core.archive_bound(v_archive.table_name, v_archive.from_at), core.archive_bound(v_archive.table_name, v_archive.to_at));
    execute format('alter table %s drop constraint archive_range', v_archive.partition_name);
    update core.archives a
    set state = 'restored', restored_at = clock_timestamp(), restoring_at = null, hold_until = clock_timestamp() + p_hold
    where a.archive_id = p_archive;
    update core.pending p set ready = true
    where p.parent = 'core.archives' and p.parent_key = v_archive.partition_name and not p.ready;
    get diagnostics v_waiting = row_count;
    perform pg_notify('acequia', 'staged ' || d.domain)
    from (
        select distinct split_part(p.entity, '.', 1) as domain
        from core.pending p where p.parent = 'core.archives' and p.parent_key = v_archive.partition_name and p.ready
    ) d;
    perform core.archive_note(v_archive, p_run, 'restored', p_who,
        jsonb_build_object('rows', p_rows, 'checksum', p_checksum, 'hold_until', clock_timestamp() + p_hold, 'late_rows', v_waiting));
    return v_waiting;
end
$$;
comment on function core.restore_attach(bigint, bigint, bigint, text, interval, text) is 'Attaches a restored partition if it is what was archived, and wakes the rows that waited for it; returns how many';

create or replace function core.archive_wanted(p_domain text) returns setof bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Parked while their range came back: nobody else wakes them.
    update core.pending p set ready = true
    where p.parent = 'core.archives' and not p.ready and split_part(p.entity, '.', 1) = p_domain
      and not exists (select from core.archives a where a.partition_name = p.parent_key and a.state in ('archived', 'purged'));
    if found then
        perform pg_notify('acequia', 'staged ' || p_domain);
    end if;
    return query
        select distinct a.archive_id
        from core.pending p
        join core.archives a on a.partition_name = p.parent_key and a.state = 'archived'
        where p.parent = 'core.archives' and not p.ready and split_part(p.entity, '.', 1) = p_domain;
end
$$;
comment on function core.archive_wanted(text) is 'Archives that rows of a domain wait for, because they came late';

create or replace function core.purge(p_run bigint, p_table text, p_from timestamptz, p_to timestamptz, p_early boolean, p_who text, p_reason text)
returns setof core.archives
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
begin
    for v_archive in
        update core.archives a set state = 'purged', ended_at = clock_timestamp()
        from core.lifecycle_policies p
        where a.table_name = p_table and p.table_name = p_table and a.state = 'archived' and a.restoring_at is null
          and a.from_at >= p_from and a.to_at <= p_to
          and (p_early or p.keep_archive is null or a.to_at <= now() - p.keep_archive)
        returning a.*
    loop
        perform core.archive_note(v_archive, p_run, 'purged', p_who, jsonb_build_object('rows', v_archive.row_count, 'reason', p_reason));
        return next v_archive;
    end loop;
end
$$;
comment on function core.purge(bigint, text, timestamptz, timestamptz, boolean, text, text) is 'Purges the archives of a range permanently; early: also those that the policy still keeps. Their files are deleted afterwards';
