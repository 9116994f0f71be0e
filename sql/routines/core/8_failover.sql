-- Failover: which server this is, and which acknowledged batches it does not have.

create or replace function core.note_server()
returns table (system_identifier bigint, timeline integer, is_new boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    begin
        select c.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer
        into note_server.system_identifier, note_server.timeline
        from pg_control_system() c;
    exception when insufficient_privilege or feature_not_supported or undefined_function then
        return; -- a hosted server that does not tell
    end;
    is_new := false;
    if not exists (
        select from core.servers s
        where s.system_identifier = note_server.system_identifier and s.timeline = note_server.timeline
    ) then
        is_new := exists (select from core.servers);
        insert into core.servers (system_identifier, timeline)
        values (note_server.system_identifier, note_server.timeline)
        on conflict do nothing;
    end if;
    return next;
end
$$;
comment on function core.note_server() is 'Cluster and timeline of this server, and whether the database has moved here from another server; no row when the server does not report them';

create or replace function core.note_lost_batches(
    p_worker text, p_identities uuid[], p_batches bigint[], p_domains text[], p_queues text[], p_messages bigint[],
    p_acknowledged timestamptz[], p_oldest timestamptz[], p_newest timestamptz[], p_system bigint, p_timeline integer
) returns setof uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_gap constant bigint := 1000000;
    v_last bigint;
    v_next bigint;
begin
    return query
    insert into core.lost_batches (identity, batch_id, domain, queue, worker, messages, acknowledged_at,
        oldest_published_at, newest_published_at, noticed_by, system_identifier, timeline)
    select t.identity, t.batch_id, t.domain, t.queue, p_worker, t.messages, t.acknowledged_at, t.oldest, t.newest,
        session_user, p_system, p_timeline
    from unnest(p_identities, p_batches, p_domains, p_queues, p_messages, p_acknowledged, p_oldest, p_newest)
        t (identity, batch_id, domain, queue, messages, acknowledged_at, oldest, newest)
    where not exists (select from core.batches b where b.batch_id = t.batch_id and b.identity = t.identity)
    on conflict do nothing
    returning identity;
    -- No number that was given out twice from here on: logs and traces speak of batches by their numbers. They are
    -- taken one by one, since a sequence that is set can be set back by a neighbour.
    v_last := (select max(b) from unnest(p_batches) b);
    v_next := nextval('core.batch_id');
    if v_last between v_next and v_next + c_gap then
        perform nextval('core.batch_id') from generate_series(v_next, v_last);
    end if;
end
$$;
comment on function core.note_lost_batches(text, uuid[], bigint[], text[], text[], bigint[], timestamptz[], timestamptz[], timestamptz[], bigint, integer)
is 'Notes acknowledged batches that this server does not have, and takes their numbers out of use; returns those that nobody had noted';
