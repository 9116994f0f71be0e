-- Partitions by day of the staging tables and of quarantine.

create or replace function core.partition_by_day(p_table text, p_day date) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_schema text := split_part(p_table, '.', 1);
    v_name text := split_part(p_table, '.', 2);
    v_partition text := v_name || to_char(p_day, '"_p"YYYYMMDD');
    v_from text;
    v_to text;
    v_key text;
begin
    if to_regclass(format('%I.%I', v_schema, v_partition)) is not null
        or exists (select from core.archives a where a.partition_name = v_schema || '.' || v_partition and a.state in ('archived', 'purged')) then
        return false; -- an archived day comes back by a restore only
    end if;
    select a.attname into strict v_key
    from pg_partitioned_table t
    join pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
    where t.partrelid = format('%I.%I', v_schema, v_name)::regclass;
    v_from := core.archive_bound(p_table, p_day::timestamp at time zone 'UTC');
    v_to := core.archive_bound(p_table, (p_day + 1)::timestamp at time zone 'UTC');
    -- No row may enter the default partition between the move and the attachment. The default partition is small: ids without
    -- a day have a partition of their own.
    execute format('lock table only %I.%I in access exclusive mode', v_schema, v_name || '_default');
    execute format('create table %I.%I (like %I.%I including defaults including constraints including comments)',
        v_schema, v_partition, v_schema, v_name);
    -- Rows of that day that came while there was no partition for them (a publisher whose clock
    -- is ahead) move over; attaching would refuse while they are in the default partition.
    execute format('with moved as (delete from %I.%I where %I >= %L and %I < %L returning *) insert into %I.%I select * from moved',
        v_schema, v_name || '_default', v_key, v_from, v_key, v_to, v_schema, v_partition);
    execute format('alter table %I.%I attach partition %I.%I for values from (%L) to (%L)',
        v_schema, v_name, v_schema, v_partition, v_from, v_to);
    return true;
end
$$;
comment on function core.partition_by_day(text, date) is 'Makes the partition of one day; false when it is there already';

create or replace function core.ensure_partitions(p_ahead integer default 3) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    v_today date := (now() at time zone 'UTC')::date; -- as the days inside ids
    v_made integer := 0;
    v_target record;
begin
    -- One maker at a time: two processes would both see the partition missing.
    if not core.try_lock('partitions') then
        return 0;
    end if;
    for v_target in
        select t.name, d::date as day
        from (select staging as name from core.entities union all select 'raw.quarantine') t,
             -- At most 31 days ahead: each partition is a table.
             generate_series(v_today - 1, v_today + least(p_ahead, 31), interval '1 day') d
        order by t.name, d
    loop
        begin
            v_made := v_made + core.partition_by_day(v_target.name, v_target.day)::int;
        exception when lock_not_available or deadlock_detected then
            null; -- somebody reads for long, as a dump does: nobody is to wait behind us, and there is time until that day
        end;
    end loop;
    return v_made;
end
$$;
comment on function core.ensure_partitions(integer) is 'Makes the partitions from yesterday to some days ahead (31 at most); skips those that another session''s lock prevents; returns how many were made';

create or replace function core.partition_by_month(p_table text, p_month date) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_schema text := split_part(p_table, '.', 1);
    v_name text := split_part(p_table, '.', 2);
    v_from date := date_trunc('month', p_month::timestamp)::date;
    v_to date := (v_from + interval '1 month')::date;
    v_partition text := v_name || to_char(v_from, '"_m"YYYYMM');
    v_key text;
begin
    if to_regclass(format('%I.%I', v_schema, v_partition)) is not null
        or exists (select from core.archives a where a.partition_name = v_schema || '.' || v_partition and a.state in ('archived', 'purged')) then
        return false; -- an archived month comes back by a restore only
    end if;
    -- The column it is partitioned by; months are of UTC.
    select a.attname into strict v_key
    from pg_partitioned_table t
    join pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
    where t.partrelid = format('%I.%I', v_schema, v_name)::regclass;
    execute format('create table %I.%I (like %I.%I including defaults including constraints including comments)',
        v_schema, v_partition, v_schema, v_name);
    execute format('with moved as (delete from %I.%I where %I >= %L and %I < %L returning *) insert into %I.%I select * from moved',
        v_schema, v_name || '_default', v_key, v_from || ' 00:00+00', v_key, v_to || ' 00:00+00', v_schema, v_partition);
    execute format('alter table %I.%I attach partition %I.%I for values from (%L) to (%L)',
        v_schema, v_name, v_schema, v_partition, v_from || ' 00:00+00', v_to || ' 00:00+00');
    return true;
end
$$;
comment on function core.partition_by_month(text, date) is 'Makes the partition of one month of a table partitioned by an instant; false when it is there already';
