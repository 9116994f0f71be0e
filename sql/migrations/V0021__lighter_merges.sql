-- Foreign keys that are part of a primary key are checked by an update only when it sets their columns (ADR 18). The triggers
-- that check every update go; core.guard_references makes the others.
do $$
declare
    v_trigger record;
    v_triggers constant text := $sql$
        select t.tgrelid::regclass as child, t.tgname
        from pg_trigger t
        join pg_constraint f on f.conrelid = t.tgrelid and f.contype = 'f' and t.tgname = 'check_update_' || f.conname
        join pg_constraint i on i.conrelid = f.conrelid and i.contype = 'p' and f.conkey <@ i.conkey
        where t.tgparentid = 0 and t.tgrelid in (select e.core_table::regclass from core.entities e)$sql$;
    v_tables text;
begin
    execute format('select string_agg(distinct ''only '' || t.child, '', '') from (%s) t', v_triggers) into v_tables;
    if v_tables is null then
        return; -- a new database
    end if;
    -- A running worker promotes into some of these tables and wants the next: all locks at once, and briefly asked for.
    for v_attempt in 1 .. 1200 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            execute 'lock table ' || v_tables || ' in access exclusive mode';
            perform set_config('lock_timeout', '0', true);
            exit;
        exception when lock_not_available or deadlock_detected then
            if v_attempt = 1200 then
                raise;
            end if;
        end;
        perform pg_sleep(0.1);
    end loop;
    for v_trigger in execute v_triggers loop
        execute format('drop trigger %I on %s', v_trigger.tgname, v_trigger.child);
    end loop;
end
$$;

-- Marks are corrected. A page with room takes the new version of a row beside the old one, and no index needs an entry for it.
-- With a fifth left free a merge in which half of the rows are corrections costs a tenth less.
do $$
declare
    v_partition regclass;
begin
    for v_partition in select i.inhrelid from pg_inherits i where i.inhparent = 'academico.calificaciones'::regclass loop
        execute format('alter table %s set (fillfactor = 80)', v_partition);
    end loop;
end
$$;
