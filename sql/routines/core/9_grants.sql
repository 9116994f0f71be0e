-- Rights. No role has a right that is not listed here; the purpose of each stands beside it.
-- A new function is for the owner alone until it gets its line.

alter default privileges revoke execute on functions from public;

create or replace view core.granted as
with ours as materialized (
    select n.oid, n.nspname
    from pg_catalog.pg_namespace n
    where n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select e.domain from core.entities e)
), acl as (
    select 'schema' as kind, format('%I', o.nspname) as object, false as partition, x.grantee, x.privilege_type
    from ours o
    join pg_catalog.pg_namespace n on n.oid = o.oid
    cross join lateral aclexplode(n.nspacl) x
    union all
    select case c.relkind when 'S' then 'sequence' else 'table' end, format('%I.%I', o.nspname, c.relname), c.relispartition,
           x.grantee, x.privilege_type
    from ours o
    join pg_catalog.pg_class c on c.relnamespace = o.oid and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    cross join lateral aclexplode(c.relacl) x
    union all
    select 'column', format('%I.%I.%I', o.nspname, c.relname, a.attname), c.relispartition, x.grantee, x.privilege_type
    from ours o
    join pg_catalog.pg_class c on c.relnamespace = o.oid
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attacl is not null and not a.attisdropped
    cross join lateral aclexplode(a.attacl) x
    union all
    select 'function', format('%I.%I(%s)', o.nspname, p.proname, oidvectortypes(p.proargtypes)), false, x.grantee, x.privilege_type
    from ours o
    join pg_catalog.pg_proc p on p.pronamespace = o.oid
    cross join lateral aclexplode(p.proacl) x
)
select r.rolname::text as role, a.kind, a.object, lower(a.privilege_type) as privilege, a.partition
from acl a
join pg_catalog.pg_roles r on r.oid = a.grantee
where r.rolname in ('acequia_worker', 'acequia_archive', 'acequia_operator', 'acequia_analyst', 'acequia_api', 'acequia_publisher');
comment on view core.granted is 'The rights that the roles of the platform have in this database, from any grantor; compare core.rights';
comment on column core.granted.role is 'Role';
comment on column core.granted.kind is 'schema, table (also a view), column, sequence or function';
comment on column core.granted.object is 'Name with schema; a column as table.column, a function with the types of its arguments';
comment on column core.granted.privilege is 'Privilege, as PostgreSQL names it';
comment on column core.granted.partition is 'Whether it is a partition: what archives are made from is granted for the time of the copy';

create or replace function core.apply_rights() returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    -- Columns of a quarantine row that are evidence; the others may change when the message comes again.
    c_evidence constant text[] := '{quarantine_id,message_id,day,identity,batch_id,domain,queue,body,body_hash,properties,received_at}';
    v_right record;
    v_changed integer := 0;
begin
    delete from core.rights;
    insert into core.rights (role, kind, object, privilege, duty)
    select r.role, r.kind,
           case r.kind when 'function' then format('%s(%s)', split_part(o.object, '(', 1),
               (select oidvectortypes(p.proargtypes) from pg_proc p where p.oid = o.object::regprocedure)) else o.object end,
           p.privilege, r.duty
    from (
        values
        -- The worker: one process, and so one login, for its duties.
        ('acequia_worker', 'ingest', 'table', '{insert}'::text[], '{core.batches,raw.quarantine}'::text[]),
        -- The worker may not change the later fate of a message, nor settled ledger rows.
        ('acequia_worker', 'ingest', 'column', '{insert}', array[
            'core.batch_entities.batch_id', 'core.batch_entities.domain', 'core.batch_entities.entity', 'core.batch_entities.received',
            'core.batch_entities.duplicates', 'core.batch_entities.staged', 'core.batch_entities.quarantined',
            'core.batch_entities.oldest_published_at', 'core.batch_entities.newest_published_at']),
        ('acequia_worker', 'ingest', 'function', '{execute}', array[
            'core.staged_rows(text)', 'core.resolve_accepted(text, text, bigint, uuid[], date[])',
            'core.note_looks(text, timestamptz, jsonb)']),
        ('acequia_worker', 'failover', 'function', '{execute}', array[
            'core.note_server()',
            'core.note_lost_batches(text, uuid[], bigint[], text[], text[], bigint[], timestamptz[], timestamptz[], timestamptz[], bigint, integer)']),
        ('acequia_worker', 'ingest', 'sequence', '{usage}', '{raw.quarantine_id,core.batch_id}'),
        ('acequia_worker', 'promote', 'function', '{execute}', array[
            'core.promote(text, integer)', 'core.promote_domain(text, integer)', 'core.isolate(text, integer, boolean)']),
        ('acequia_worker', 'check', 'function', '{execute}', array[
            'core.run_checks(text)', 'core.run_due_checks(text, interval)', 'core.checks_due_in(text, interval)',
            'core.due_rules(text, interval)', 'core.check_rule(text)', 'core.rule_did_not_run(text, text)',
            'core.checks_done(text, timestamptz, bigint, bigint)']),
        ('acequia_worker', 'refresh', 'function', '{execute}', array[
            'core.audit_mart(text)', 'core.due_audit(text)', 'core.closed_gates(text)', 'core.refresh_mart(text)',
            'core.refresh_failed(text, timestamptz, text)']),
        ('acequia_worker', 'housekeeping', 'function', '{execute}', array[
            'core.ensure_partitions(integer)', 'core.expire_pending(text, interval)', 'core.retain(interval, interval, interval)',
            'core.retention_steps(interval, interval, timestamptz)',
            'core.retain_step(text, text, interval, interval, interval, timestamptz, bigint)',
            'core.settle_alone(text)', 'core.archive_wanted(text)', 'core.resolve_copies(text)']),
        ('acequia_worker', 'outbox relay', 'function', '{execute}', array[
            'core.outbox_waiting(text, integer)', 'core.outbox_due(text, integer)', 'core.outbox_take(text, integer)',
            'core.outbox_published(bigint[])', 'core.outbox_refused(bigint[], text[])']),
        ('acequia_worker', 'ticks', 'function', '{execute}', array[
            'core.take_tick(text)', 'core.run_tick(text)', 'core.tick_failed(text, text)']),
        -- Programs before version 11 lock the archive by an advisory lock. The lock counts only if its role may call this function.
        ('acequia_worker', 'archive before version 11', 'function', '{execute}', array['core.hold_lock(text)']),
        ('acequia_worker', 'doctor', 'function', '{execute}', array[
            'core.long_transactions(interval)', 'core.say_lost(text, bigint[])', 'core.lost_rows(text, bigint[])']),
        -- The archive: drops a partition that it has copied and read back.
        ('acequia_archive', 'archive', 'function', '{execute}', array[
            'core.archive_candidates(text, timestamptz)', 'core.archive_begin(bigint, text, timestamptz, text, text)',
            'core.archive_survey(bigint)', 'core.archive_drop(bigint, bigint, text)', 'core.archive_abandon(bigint, bigint, text, text)',
            'core.archive_verified(bigint, bigint, bigint, timestamptz, timestamptz, text, text, bigint, integer, jsonb, text)']),
        ('acequia_archive', 'restore', 'function', '{execute}', array[
            'core.archive_wanted(text)', 'core.restore_begin(bigint, bigint, text)',
            'core.restore_attach(bigint, bigint, bigint, text, interval, text)']),
        ('acequia_archive', 'archive', 'function', '{execute}', array[
            'core.hold_lock(text)', 'core.archive_run_begin(text, text, timestamptz, text, text)',
            'core.archive_run_by_hand(text, text, text, jsonb, text, bigint)',
            'core.archive_run_end(bigint, text, text, integer, bigint, bigint, bigint)',
            'core.archive_recover(bigint, text)', 'core.archive_deleted(bigint, bigint, text)']),
        -- The operator: what people decide.
        ('acequia_operator', 'quarantine', 'table', '{insert}', '{raw.quarantine_versions}'),
        ('acequia_operator', 'quarantine', 'column', '{update}', array[
            'raw.quarantine.status', 'raw.quarantine.resolved_at', 'raw.quarantine.resolved_by', 'raw.quarantine.note',
            'raw.quarantine.replays']),
        -- Neither the time nor the login of an entry can be chosen.
        ('acequia_operator', 'quarantine', 'column', '{insert}', array[
            'core.audit_log.who', 'core.audit_log.action', 'core.audit_log.quarantine_ids', 'core.audit_log.filters',
            'core.audit_log.reason', 'core.audit_log.operation_id']),
        ('acequia_operator', 'promote what the brake of isolation holds', 'function', '{execute}', array[
            'core.isolate(text, integer, boolean)']),
        ('acequia_operator', 'gates', 'function', '{execute}', array[
            'core.open_gate(text[], interval, text, text)', 'core.close_gate(text[], text, text)']),
        ('acequia_operator', 'streams', 'function', '{execute}', array[
            'core.pause_stream(text, text, text)', 'core.resume_stream(text, text, text)']),
        ('acequia_operator', 'feed of refused messages', 'function', '{execute}', array['core.feed_rejections(text, boolean, text)']),
        ('acequia_operator', 'purge', 'function', '{execute}', array[
            'core.purge(bigint, text, timestamptz, timestamptz, boolean, text, text)', 'core.hold_lock(text)',
            'core.archive_run_begin(text, text, timestamptz, text, text)',
            'core.archive_run_end(bigint, text, text, integer, bigint, bigint, bigint)',
            'core.archive_recover(bigint, text)', 'core.archive_deleted(bigint, bigint, text)']),
        ('acequia_operator', 'write-off', 'function', '{execute}', array[
            'core.write_off(text, bigint[], text, text)', 'core.lost_rows(text, bigint[])', 'core.say_lost(text, bigint[])']),
        ('acequia_operator', 'doctor', 'function', '{execute}', array['core.long_transactions(interval)']),
        -- The API: its callers and the record of their calls. Decisions are written with the operator's login.
        ('acequia_api', 'callers', 'table', '{insert,update,delete}', '{core.api_people,core.api_sessions}'),
        ('acequia_api', 'callers', 'table', '{insert}', '{core.api_tokens}'),
        ('acequia_api', 'callers', 'column', '{update}', array[
            'core.api_tokens.last_used_at', 'core.api_tokens.revoked_at', 'core.api_tokens.revoked_by']),
        ('acequia_api', 'audit', 'table', '{insert}', '{core.api_calls}'),
        ('acequia_api', 'idempotency', 'table', '{insert,update,delete}', '{core.api_idempotency}'),
        ('acequia_api', 'operations', 'table', '{insert,update}', '{core.operations}'),
        ('acequia_api', 'operations', 'function', '{execute}', array['core.archive_candidates(text, timestamptz)']),
        ('acequia_api', 'events', 'table', '{insert,delete}', '{core.api_events}'),
        -- The analyst, Grafana too.
        ('acequia_analyst', 'read', 'schema', '{usage}', '{core,marts}'),
        ('acequia_analyst', 'read', 'table', '{select}', array[
            'core.dq_results', 'core.dq_status', 'core.conservation', 'core.gates', 'core.lineage'])
    ) r (role, duty, kind, privileges, objects)
    cross join unnest(r.objects) o (object)
    cross join unnest(r.privileges) p (privilege);

    insert into core.rights (role, kind, object, privilege, duty)
    -- The worker, the operator and the API read every table, also to trace a message; the archive reads the tables of schema core.
    select r.role, 'schema', n.nspname, 'usage', 'look'
    from pg_namespace n cross join (values ('acequia_worker'), ('acequia_operator'), ('acequia_archive'), ('acequia_api')) r (role)
    where n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select e.domain from core.entities e)
    union all
    select r.role, 'table', format('%I.%I', n.nspname, c.relname), 'select', 'look'
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join (values ('acequia_worker'), ('acequia_operator'), ('acequia_archive'), ('acequia_api')) r (role)
    where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
      and case when r.role = 'acequia_archive' then n.nspname = 'core'
          else n.nspname in ('raw', 'stg', 'core', 'marts') or n.nspname in (select e.domain from core.entities e) end
      -- Only the API reads these: hashes of secrets, and answers that belong to one caller.
      and (r.role = 'acequia_api' or c.oid not in (
          'core.api_people'::regclass, 'core.api_sessions'::regclass, 'core.api_tokens'::regclass, 'core.api_idempotency'::regclass))
    union all
    select 'acequia_worker', 'table', e.staging, 'insert', 'ingest' from core.entities e
    union all
    select 'acequia_worker', 'column', 'raw.quarantine.' || a.attname, 'update', 'ingest'
    from pg_attribute a
    where a.attrelid = 'raw.quarantine'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> all (c_evidence)
    union all
    select 'acequia_analyst', 'table', format('%I.%I', n.nspname, c.relname), 'select', 'read'
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'marts' and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
    union all
    select 'acequia_analyst', 'function', format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)), 'execute', 'read'
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'marts' and p.prokind = 'f';

    -- Functions made by earlier versions may be executed by public: revoke it.
    for v_right in
        select p.oid::regprocedure as function
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where (n.nspname in ('raw', 'stg', 'core') or n.nspname in (select e.domain from core.entities e))
          and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x where x.grantee = 0)
    loop
        execute format('revoke execute on function %s from public', v_right.function);
    end loop;
    -- Rights that an administrator gave to analysts stay; a program has the listed ones.
    for v_right in
        select g.* from core.granted g
        where g.role in ('acequia_worker', 'acequia_archive', 'acequia_operator', 'acequia_api')
          and not (g.role = 'acequia_archive' and g.partition)
          and not exists (select from core.rights r
              where (r.role, r.kind, r.object, r.privilege) = (g.role, g.kind, g.object, g.privilege))
        order by g.kind desc
    loop
        execute core.right_statement('revoke', v_right.role, v_right.kind, v_right.object, v_right.privilege);
        v_changed := v_changed + 1;
    end loop;
    for v_right in
        select r.* from core.rights r
        where not exists (select from core.granted g
            where (r.role, r.kind, r.object, r.privilege) = (g.role, g.kind, g.object, g.privilege))
        order by r.role, r.kind, r.object
    loop
        execute core.right_statement('grant', v_right.role, v_right.kind, v_right.object, v_right.privilege);
        v_changed := v_changed + 1;
    end loop;

    -- Only a superuser, or a role that has the grant option, may grant this; without the right promotion is slower.
    begin
        if not has_parameter_privilege('acequia_worker', 'session_replication_role', 'set') then
            grant set on parameter session_replication_role to acequia_worker;
        end if;
    exception when insufficient_privilege then
        raise notice 'promotion checks foreign keys row by row: grant set on parameter session_replication_role to acequia_worker';
    end;
    return v_changed;
end
$$;
comment on function core.apply_rights() is 'Gives the roles of the platform the rights that it lists, writes them to core.rights, and takes from the programs'' roles all others; returns how many it changed';

create or replace function core.right_statement(p_verb text, p_role text, p_kind text, p_object text, p_privilege text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select format('%s %s%s on %s%s %s %I', p_verb, p_privilege,
        case p_kind when 'column' then format(' (%s)', regexp_replace(p_object, '^.*\.', '')) else '' end,
        case p_kind when 'column' then 'table ' else p_kind || ' ' end,
        case p_kind when 'column' then regexp_replace(p_object, '\.[^.]*$', '') else p_object end,
        case p_verb when 'grant' then 'to' else 'from' end, p_role)
$$;
comment on function core.right_statement(text, text, text, text, text) is 'The statement that grants or revokes a right of core.rights';

create or replace function core.long_transactions(p_older interval)
returns table (pid integer, login text, program text, since timestamptz, state text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select a.pid, a.usename::text, a.application_name, a.xact_start, a.state
    from pg_stat_activity a
    where a.datname = current_database() and a.backend_type = 'client backend' and a.xact_start < now() - p_older
    order by a.xact_start
$$;
comment on function core.long_transactions(interval) is 'Sessions whose transaction began longer ago: they keep vacuum and partitions waiting. Sees all of them where the owner is a member of pg_monitor';
