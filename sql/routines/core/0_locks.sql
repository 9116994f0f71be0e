-- Locks between processes, as rows that only the owner of the database can lock (ADR 31). Taking one
-- is a write: a loop that polls first checks whether there is work.

create or replace function core.take_lock(p_name text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from core.locks l where l.name = p_name for update;
    if not found then
        insert into core.locks (name) values (p_name) on conflict do nothing;
        perform from core.locks l where l.name = p_name for update;
    end if;
end
$$;
comment on function core.take_lock(text) is 'Takes a lock until the transaction ends; waits for its holder, lock_timeout at most';

create or replace function core.try_lock(p_name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from core.locks l where l.name = p_name for update skip locked;
    if not found and not exists (select from core.locks l where l.name = p_name) then
        insert into core.locks (name) values (p_name) on conflict do nothing;
        perform from core.locks l where l.name = p_name for update skip locked;
    end if;
    return found;
exception when serialization_failure then
    return false; -- somebody made it since the snapshot of this transaction
end
$$;
comment on function core.try_lock(text) is 'Takes a lock until the transaction ends, unless another transaction has it';

create or replace function core.is_held(p_key bigint) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
    -- In the hands of a role that may not take locks it says nothing.
    select exists (
        select from pg_locks l
        join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid <> pg_backend_pid()
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and (l.classid::bigint << 32) | l.objid::bigint = p_key
          and has_function_privilege(a.usesysid, 'core.hold_lock(text)', 'execute'))
$$;
comment on function core.is_held(bigint) is 'Whether another session of a role that may take locks has an advisory lock';

create or replace function core.hold_lock(p_name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- The lock that programs before version 11 of the schema take.
    v_old bigint := hashtextextended('acequia.' || p_name, 0);
    v_key bigint;
begin
    if not core.try_lock(p_name) then
        return false; -- another session is about to take it
    end if;
    if exists (select from core.session_locks s where s.name = p_name and core.is_held(s.key)) then
        return false;
    end if;
    if not pg_try_advisory_lock(v_old) and core.is_held(v_old) then
        return false;
    end if;
    v_key := hashtextextended(gen_random_uuid()::text, 0);
    perform pg_advisory_lock(v_key);
    insert into core.session_locks as s (name, key) values (p_name, v_key)
    on conflict (name) do update set key = excluded.key, taken_at = clock_timestamp();
    return true;
end
$$;
comment on function core.hold_lock(text) is 'Takes a lock until the session ends; false when another session has it';
