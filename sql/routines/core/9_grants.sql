-- Who may do what. The worker stages rows and calls functions; it can neither change the core by
-- itself nor alter or drop anything. The analyst reads marts, data quality results, gates, lineage and freshness.

revoke execute on all functions in schema core from public;

grant usage on schema raw, stg, core, marts to acequia_worker;
grant select on all tables in schema raw, stg, core, marts to acequia_worker;
grant insert on all tables in schema stg to acequia_worker;
grant insert, update on raw.quarantine to acequia_worker;
grant insert on raw.quarantine_versions to acequia_worker;
-- Neither the time nor the login of an entry can be chosen.
grant insert (who, action, quarantine_ids, filters, reason) on core.audit_log to acequia_worker;
grant usage on sequence raw.quarantine_id, core.batch_id to acequia_worker;
grant insert on core.batches to acequia_worker;
-- What becomes of a message later, and what is settled, is not the worker's to say.
revoke insert on core.batch_entities from acequia_worker;
grant insert (batch_id, domain, entity, received, duplicates, staged, quarantined, oldest_published_at, newest_published_at)
    on core.batch_entities to acequia_worker;
grant execute on all functions in schema core to acequia_worker;
revoke execute on function core.guard_references(), core.prepare_staging(regclass), core.partition_by_day(text, date),
    core.partition_by_month(text, date), core.drop_day(text, timestamptz),
    core.prune_staging(text, timestamptz, bigint, integer), core.prune_quarantine(text, timestamptz, bigint, integer),
    core.retain_batches(text, timestamptz, integer), core.retain_log(text, timestamptz, integer), core.thin(text, integer),
    core.settle(text, integer), core.settle_changes(), core.archive_unwatch(text), core.archive_note_change(),
    core.archive_note(core.archives, bigint, text, text, jsonb), core.take_lock(text), core.try_lock(text), core.is_held(bigint),
    core.number_outbox()
from acequia_worker;

grant usage on schema core, marts to acequia_analyst;
grant select on all tables in schema marts to acequia_analyst;
grant execute on all functions in schema marts to acequia_analyst;
grant select on core.dq_results, core.dq_status, core.conservation, core.gates, core.lineage to acequia_analyst;

-- The core of each domain: readable for trace and support, written by merge functions only.
do $$
declare
    v_domain text;
begin
    for v_domain in select distinct e.domain from core.entities e loop
        execute format('revoke execute on all functions in schema %I from public', v_domain);
        execute format('grant usage on schema %I to acequia_worker', v_domain);
        execute format('grant select on all tables in schema %I to acequia_worker', v_domain);
    end loop;
end
$$;

-- Only a superuser, or who got it from one, may pass this on; without it promotion is slower.
do $$
begin
    if not has_parameter_privilege('acequia_worker', 'session_replication_role', 'set') then
        grant set on parameter session_replication_role to acequia_worker;
    end if;
exception when insufficient_privilege then
    raise notice 'promotion checks foreign keys row by row: grant set on parameter session_replication_role to acequia_worker';
end
$$;

-- Locks that are taken inside a snapshot must be there before it.
insert into core.locks (name)
select 'refresh.' || m.mart from core.marts m where m.kind = 'materialized'
on conflict do nothing;
