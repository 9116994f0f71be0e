-- Archiving: the worker copies rows to the object store, these functions change the database.

create or replace function core.archive_candidates(p_table text, p_before timestamptz)
returns table (partition_name text, from_at timestamptz, to_at timestamptz, bytes_hot bigint, held_until timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_policy core.lifecycle_policies;
    v_instant text;
begin
    select p.* into strict v_policy from core.lifecycle_policies p where p.table_name = p_table;
    v_instant := core.archive_instant(p_table, v_policy.time_column);
    return query execute format($sql$
        with found as (
            -- Partitions, and what closed periods have in the default partition.
            select to_date(substring(c.relname from %L), %L)::timestamp at time zone 'UTC' as begin_at,
                   pg_total_relation_size(c.oid) as bytes
            from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = %L::regclass and c.relname ~ %L
            union all
            select x.begin_at, 0 from (
                select distinct date_trunc(%L, %s, 'UTC') as begin_at from %s_default
                where %s >= '0001-01-01' and %s < $1
            ) x
        )
        select %L || to_char(f.begin_at at time zone 'UTC', %L), f.begin_at,
               (f.begin_at at time zone 'UTC' + interval '1 %s') at time zone 'UTC', sum(f.bytes)::bigint, max(a.hold_until)
        from found f
        left join core.archives a on a.table_name = %L and a.from_at = f.begin_at and a.state = 'restored'
        where (f.begin_at at time zone 'UTC' + interval '1 %s') at time zone 'UTC' <= $1
          and not exists (select from core.archives p where p.table_name = %L and p.from_at = f.begin_at and p.state in ('archived', 'purged'))
        group by f.begin_at order by f.begin_at
        $sql$,
        case v_policy.granularity when 'month' then '_m([0-9]{6})$' else '_p([0-9]{8})$' end,
        case v_policy.granularity when 'month' then 'YYYYMM' else 'YYYYMMDD' end,
        p_table, case v_policy.granularity when 'month' then '_m[0-9]{6}$' else '_p[0-9]{8}$' end,
        v_policy.granularity, v_instant, p_table, v_instant, v_instant,
        p_table, case v_policy.granularity when 'month' then '"_m"YYYYMM' else '"_p"YYYYMMDD' end,
        v_policy.granularity, p_table, v_policy.granularity, p_table)
    using least(p_before, now());
end
$$;
comment on function core.archive_candidates(text, timestamptz) is 'Partitions of a table that end before an instant, oldest first; held_until says until when a restored one stays';

create or replace function core.archive_note_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into core.archive_changes (partition_name) values (format('%I.%I', tg_table_schema, tg_table_name))
    on conflict do nothing;
    return null;
end
$$;
comment on function core.archive_note_change() is 'Trigger: notes that a partition changed while it is being archived';

create or replace function core.archive_begin(p_run bigint, p_table text, p_from timestamptz, p_object text, p_who text)
returns setof core.archives
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_policy core.lifecycle_policies;
    v_archive core.archives;
    v_day date := (p_from at time zone 'UTC')::date;
    v_folder text;
begin
    select p.* into strict v_policy from core.lifecycle_policies p where p.table_name = p_table;
    v_archive.partition_name := p_table || to_char(v_day, case v_policy.granularity when 'month' then '"_m"YYYYMM' else '"_p"YYYYMMDD' end);
    v_archive.to_at := (v_day::timestamp + ('1 ' || v_policy.granularity)::interval) at time zone 'UTC';
    if v_archive.to_at > now() then
        raise exception '% has not ended', v_archive.partition_name;
    end if;
    v_folder := p_table || to_char(v_day, '"/y="YYYY"/m="MM') || case v_policy.granularity when 'day' then to_char(v_day, '"/d="DD') else '' end;

    perform set_config('lock_timeout', '1s', true);
    -- Takes along the rows of the default partition; does nothing when the partition is there.
    if v_policy.granularity = 'month' then
        perform core.partition_by_month(p_table, v_day);
    else
        perform core.partition_by_day(p_table, v_day);
    end if;
    -- Waits for running writers, and records all later writes, also those of promotions.
    execute format('create or replace trigger archive_watch after insert or update or delete on %s
        for each row execute function core.archive_note_change()', v_archive.partition_name);
    execute format('create or replace trigger archive_watch_truncate after truncate on %s
        for each statement execute function core.archive_note_change()', v_archive.partition_name);
    execute format('alter table %s enable always trigger archive_watch, enable always trigger archive_watch_truncate',
        v_archive.partition_name);
    delete from core.archive_changes c where c.partition_name = v_archive.partition_name;
    execute format('grant select on %s to acequia_archive', v_archive.partition_name);

    select array_agg(a.attname::text order by k.position) into v_archive.key_columns
    from pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, position)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = v_archive.partition_name::regclass and i.indisprimary;
    if v_archive.key_columns is null then
        raise exception '% has no primary key, so its rows have no order to be written in', v_archive.partition_name;
    end if;

    insert into core.archives (table_name, domain, partition_name, key_columns, granularity, from_at, to_at, object_path, manifest_path, bytes_hot)
    values (p_table, v_policy.domain, v_archive.partition_name, v_archive.key_columns, v_policy.granularity, p_from, v_archive.to_at,
        v_folder || '/part-' || p_object || '.parquet',
        -- Elsewhere: there are readers that take every file of a folder for one of Parquet.
        '_manifests/' || v_folder || '/part-' || p_object || '.json',
        pg_total_relation_size(v_archive.partition_name::regclass))
    returning * into v_archive;
    perform core.archive_note(v_archive, p_run, 'begun', p_who,
        jsonb_build_object('object', v_archive.object_path, 'bytes_hot', v_archive.bytes_hot));
    return next v_archive;
end
$$;
comment on function core.archive_begin(bigint, text, timestamptz, text, text) is 'Begins to archive a closed partition: writes down which files will be written, and watches it for changes';

drop function if exists core.archive_query(text, jsonb);
create or replace function core.archive_query(p_partition text, p_columns jsonb, p_key text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_columns text;
    v_order text;
begin
    -- Text comes as it is, everything else that has no form of its own by its output function.
    select string_agg(case when c.e ->> 'form' = 'text' and t.typname not in ('text', 'varchar', 'bpchar')
               then format('%I::text', a.attname) else format('%I', a.attname) end, ', ' order by c.n)
    into v_columns
    from jsonb_array_elements(p_columns) with ordinality c (e, n)
    join pg_attribute a on a.attrelid = p_partition::regclass and a.attname = c.e ->> 'name'
    join pg_type t on t.oid = a.atttypid;
    -- The same order on every server, whatever its collations are.
    select string_agg(case when a.attcollation <> 0 then format('%I collate "C"', a.attname) else format('%I', a.attname) end,
        ', ' order by k.position)
    into v_order
    from unnest(p_key) with ordinality k (name, position)
    join pg_attribute a on a.attrelid = p_partition::regclass and a.attname = k.name;
    return format('copy (select %s from %s order by %s) to stdout (format binary)', v_columns, p_partition, v_order);
end
$$;
comment on function core.archive_query(text, jsonb, text[]) is 'The statement that reads a partition, in the order of a key and the forms of its archive';

create or replace function core.archive_survey(p_archive bigint)
returns table (row_count bigint, first_at timestamptz, last_at timestamptz, columns jsonb, query text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
    v_time text;
    v_strange text;
    v_texts text[];
begin
    select a.* into strict v_archive from core.archives a where a.archive_id = p_archive;
    select p.time_column into strict v_time from core.lifecycle_policies p where p.table_name = v_archive.table_name;
    -- Columns with values that the column type of the file has no place for are written as text.
    select string_agg(format('case when bool_or(%s) then %L end',
            case when t.typname = 'numeric' then format('%I = ''NaN''', a.attname)
                else format('not isfinite(%I) or %I < ''0001-01-01'' or %I >= ''10000-01-01''', a.attname, a.attname, a.attname) end,
            a.attname), ', ')
    into v_strange
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = v_archive.partition_name::regclass and a.attnum > 0 and not a.attisdropped
      and t.typname in ('numeric', 'date', 'timestamp', 'timestamptz') and t.typnamespace = 'pg_catalog'::regnamespace;
    execute format('select count(*), min(i), max(i), array_remove(array[%s]::text[], null) from (select *, %s as i from %s) x',
        v_strange, core.archive_instant(v_archive.table_name, v_time), v_archive.partition_name)
    into row_count, first_at, last_at, v_texts;

    select jsonb_agg(jsonb_build_object('name', c.attname, 'type', format_type(c.atttypid, c.atttypmod), 'form', c.form) order by c.attnum)
    into columns
    from (
        select a.*,
               case when a.attname = any (v_texts) or t.typnamespace <> 'pg_catalog'::regnamespace then 'text'
                   when t.typname in ('bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'uuid', 'bytea', 'date', 'timestamp', 'timestamptz') then t.typname
                   -- A precision of at most 38 digits, and a scale within it.
                   when t.typname = 'numeric' and a.atttypmod >= 0 and (a.atttypmod - 4) >> 16 & 65535 <= 38
                       and (a.atttypmod - 4) & 2047 <= ((a.atttypmod - 4) >> 16 & 65535)
                       then format('decimal(%s,%s)', (a.atttypmod - 4) >> 16 & 65535, (a.atttypmod - 4) & 2047)
                   else 'text' end as form
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = v_archive.partition_name::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    ) c;
    query := core.archive_query(v_archive.partition_name, columns, v_archive.key_columns);
    return next;
end
$$;
comment on function core.archive_survey(bigint) is 'Contents of a partition, which form each column gets in the file, and the statement that reads it';

create or replace function core.archive_extent(p_table text, p_partition text)
returns table (row_count bigint, first_at timestamptz, last_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return query execute format('select count(*), min(x.i), max(x.i) from (select %s as i from %s) x',
        (select core.archive_instant(p_table, p.time_column) from core.lifecycle_policies p where p.table_name = p_table), p_partition);
end
$$;
comment on function core.archive_extent(text, text) is 'How many rows a partition has, and the first and last instants of its time column';

create or replace function core.archive_verified(p_run bigint, p_archive bigint, p_rows bigint, p_first timestamptz, p_last timestamptz,
    p_checksum text, p_sha256 text, p_bytes bigint, p_schema_version integer, p_columns jsonb, p_who text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
    v_there record;
begin
    select a.* into strict v_archive from core.archives a where a.archive_id = p_archive and a.state = 'writing';
    -- A caller that confirms a copy must have seen these rows. A partition changed meanwhile is not dropped anyway.
    if not exists (select from core.archive_changes c where c.partition_name = v_archive.partition_name) then
        v_there := core.archive_extent(v_archive.table_name, v_archive.partition_name);
        if (p_rows, p_first, p_last) is distinct from (v_there.row_count, v_there.first_at, v_there.last_at)
            or p_checksum !~ '^[0-9a-f]{64}$' or p_sha256 !~ '^[0-9a-f]{64}$' then
            raise exception '% has % rows from % to %, but the copy is said to have % from % to %', v_archive.partition_name,
                v_there.row_count, v_there.first_at, v_there.last_at, p_rows, p_first, p_last
                using errcode = 'data_corrupted';
        end if;
    end if;
    update core.archives a
    set row_count = p_rows, first_at = p_first, last_at = p_last, checksum = p_checksum, object_sha256 = p_sha256, bytes_archived = p_bytes,
        schema_version = p_schema_version, columns = p_columns
    where a.archive_id = p_archive and a.state = 'writing'
    returning a.* into strict v_archive;
    perform core.archive_note(v_archive, p_run, 'verified', p_who,
        jsonb_build_object('rows', p_rows, 'checksum', p_checksum, 'bytes_archived', p_bytes));
end
$$;
comment on function core.archive_verified(bigint, bigint, bigint, timestamptz, timestamptz, text, text, bigint, integer, jsonb, text) is 'Notes what was read back from the object store and found right; refuses what cannot be a copy of the partition: its rows are counted, its first and last instants compared';

create or replace function core.archive_drop(p_run bigint, p_archive bigint, p_who text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
begin
    select a.* into strict v_archive from core.archives a
    where a.archive_id = p_archive and a.state = 'writing' and a.checksum is not null;
    -- Readers and merges queue behind this lock, so it is asked for with little patience.
    perform set_config('lock_timeout', '1s', true);
    execute format('lock table %s in access exclusive mode', v_archive.table_name);
    -- Nobody writes now: what was written since the copy began has committed and is noted.
    if exists (select from core.archive_changes c where c.partition_name = v_archive.partition_name) then
        perform core.archive_note(v_archive, p_run, 'changed', p_who, '{}');
        perform core.archive_abandon(p_run, p_archive, 'it changed meanwhile', p_who);
        return 'changed';
    end if;
    update core.archives a set state = 'superseded', ended_at = clock_timestamp()
    where a.table_name = v_archive.table_name and a.from_at = v_archive.from_at and a.state = 'restored';
    execute format('alter table %s detach partition %s', v_archive.table_name, v_archive.partition_name);
    execute format('drop table %s', v_archive.partition_name);
    update core.archives a set state = 'archived', archived_at = clock_timestamp() where a.archive_id = p_archive;
    perform core.archive_note(v_archive, p_run, 'archived', p_who,
        jsonb_build_object('rows', v_archive.row_count, 'bytes_hot', v_archive.bytes_hot, 'bytes_archived', v_archive.bytes_archived));
    return 'archived';
end
$$;
comment on function core.archive_drop(bigint, bigint, text) is 'Drops a partition whose copy is verified, unless it changed since the copy began: archived or changed';

create or replace function core.archive_abandon(p_run bigint, p_archive bigint, p_reason text, p_who text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_archive core.archives;
begin
    update core.archives a set state = 'abandoned', ended_at = clock_timestamp()
    where a.archive_id = p_archive and a.state = 'writing'
    returning a.* into v_archive;
    if found then
        perform core.archive_unwatch(v_archive.partition_name);
        perform core.archive_note(v_archive, p_run, 'abandoned', p_who, jsonb_build_object('reason', p_reason));
    end if;
end
$$;
comment on function core.archive_abandon(bigint, bigint, text, text) is 'Gives up an attempt to archive a partition, which stays as it is';
