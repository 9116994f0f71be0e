-- Foreign keys checked once per statement instead of once per row.
--
-- PostgreSQL checks a foreign key with one look-up and one row lock for each inserted row, which
-- costs more than the merge itself. The promote loop therefore works in a session whose ordinary
-- triggers are off (session_replication_role = replica), and these triggers, which fire in such a
-- session only, check all new rows of a statement with one anti-join. Everybody else meets the
-- foreign keys as always.
--
-- Where a foreign key is part of the primary key, an update is checked only when it sets one of its columns, which no
-- merge does; then all rows of the table are checked.

create or replace function core.check_reference() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_rows text := coalesce(tg_argv[5], 'new_rows'); -- not given in triggers made before version 21
    v_missing text;
begin
    if v_rows = 'new_rows' then
        if not exists (select from new_rows) then
            return null;
        end if;
    end if;
    -- A deletion from the parent waits for this transaction, and the other way round.
    execute format('lock table only %s in row share mode', tg_argv[0]);
    -- The least of all: with `limit 1` the planner expects to find one soon, and looks the rows up one by one.
    execute format('select min((%s)::text) from %s n where %s and not exists (select from %s p where %s)',
        tg_argv[2], v_rows, tg_argv[3], tg_argv[0], tg_argv[4])
    into v_missing;
    if v_missing is not null then
        raise exception 'a row of %.% refers to % %, which does not exist', tg_table_schema, tg_table_name, tg_argv[0], v_missing
            using errcode = 'foreign_key_violation', schema = tg_table_schema, table = tg_table_name, constraint = tg_argv[1];
    end if;
    return null;
end
$$;
comment on function core.check_reference() is 'Trigger: refuses a statement whose new rows refer to a missing row. Arguments: parent, constraint, columns, condition that they are set, condition of the join, and the table whose rows are checked (the new rows of the statement)';

create or replace function core.await_references() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('lock table only %I.%I in exclusive mode', tg_table_schema, tg_table_name);
    return null;
end
$$;
comment on function core.await_references() is 'Trigger: before rows are deleted, waits for statements that may refer to them';

create or replace function core.guard_references() returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_key record;
    v_event text;
    v_all boolean;
    v_made integer := 0;
begin
    for v_key in
        select f.conname, format('%I.%I', cn.nspname, c.relname) as child, format('%I.%I', pn.nspname, p.relname) as parent,
               string_agg(format('n.%I', a.attname), ', ' order by k.n) as columns,
               string_agg(format('n.%I is not null', a.attname), ' and ' order by k.n) as given,
               string_agg(format('p.%I = n.%I', b.attname, a.attname), ' and ' order by k.n) as matches,
               string_agg(format('%I', a.attname), ', ' order by k.n) as names, count(*) as width,
               exists (
                   select from pg_constraint i
                   where i.conrelid = f.conrelid and i.contype = 'p' and f.conkey <@ i.conkey) as of_key
        from pg_constraint f
        join pg_class c on c.oid = f.conrelid
        join pg_namespace cn on cn.oid = c.relnamespace
        join pg_class p on p.oid = f.confrelid
        join pg_namespace pn on pn.oid = p.relnamespace
        cross join lateral unnest(f.conkey, f.confkey) with ordinality as k (child, parent, n)
        join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.child
        join pg_attribute b on b.attrelid = f.confrelid and b.attnum = k.parent
        where f.contype = 'f' and f.conparentid = 0
          and f.conrelid in (select e.core_table::regclass from core.entities e)
        group by f.oid, f.conname, f.conrelid, f.conkey, cn.nspname, c.relname, pn.nspname, p.relname
    loop
        foreach v_event in array array['insert', 'update'] loop
            continue when exists (
                select from pg_trigger t
                where t.tgrelid = v_key.child::regclass and t.tgname = 'check_' || v_event || '_' || v_key.conname);
            v_all := v_event = 'update' and v_key.of_key;
            execute format('create trigger %I after %s on %s %s for each statement '
                'execute function core.check_reference(%L, %L, %L, %L, %L, %L)',
                'check_' || v_event || '_' || v_key.conname,
                v_event || case when v_all then ' of ' || v_key.names else '' end,
                v_key.child, case when v_all then '' else 'referencing new table as new_rows' end,
                v_key.parent, v_key.conname,
                case v_key.width when 1 then v_key.columns else 'row(' || v_key.columns || ')' end, v_key.given, v_key.matches,
                case when v_all then v_key.child else 'new_rows' end);
            execute format('alter table %s enable replica trigger %I', v_key.child, 'check_' || v_event || '_' || v_key.conname);
            v_made := v_made + 1;
        end loop;
        continue when exists (select from pg_trigger t where t.tgrelid = v_key.parent::regclass and t.tgname = 'await_references');
        execute format('create trigger await_references before delete on %s for each statement execute function core.await_references()',
            v_key.parent);
    end loop;
    return v_made;
end
$$;
comment on function core.guard_references() is 'Gives every foreign key of the core tables its check per statement; repeatable, returns how many triggers were made';
