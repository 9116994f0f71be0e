-- Rows that the ledger has and staging has not: somebody truncated a table or dropped a partition.

create or replace function core.lost_rows(p_domain text, p_batches bigint[] default null)
returns table (entity text, batch_id bigint, queue text, worker text, received_at timestamptz, staged integer, pending integer)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_entity record;
begin
    for v_entity in
        select c.entity, c.staging from core.entities c where c.domain = p_domain order by c.position
    loop
        return query execute format($sql$
            with lost as (
                -- Also right in the middle of a promotion, which leaves the rows where they are.
                select e.batch_id, x.rows - f.rows as staged, 0 as pending
                from core.batches b
                join core.batch_entities e on e.batch_id = b.batch_id and e.entity = $2 and e.staged > 0
                cross join lateral (select e.received - e.duplicates - e.quarantined - e.written_off as rows) x
                cross join lateral (select count(*)::int as rows from %1$s s where s.batch_id = b.batch_id) f
                where b.domain = $1 and b.state = 'staged' and ($3 is null or b.batch_id = any ($3)) and f.rows < x.rows
                union all
                select p.batch_id, 0, count(*)::int
                from core.pending p
                where p.entity = $1 || '.' || $2 and ($3 is null or p.batch_id = any ($3))
                  and not exists (select from %1$s s where s.message_id = p.message_id and s.day = p.day)
                group by p.batch_id
            )
            select $2, l.batch_id, b.queue, b.worker, b.received_at, sum(l.staged)::int, sum(l.pending)::int
            from lost l
            left join core.batches b on b.batch_id = l.batch_id
            group by l.batch_id, b.queue, b.worker, b.received_at
            order by l.batch_id
            $sql$, v_entity.staging)
        using p_domain, v_entity.entity, p_batches;
    end loop;
end
$$;
comment on function core.lost_rows(text, bigint[]) is 'Rows of a domain, of all batches when null, that wait by the ledger, for promotion (staged) or for the row they refer to (pending), and are not in staging';

create or replace function core.say_lost(p_domain text, p_batches bigint[] default null) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with lost as (
        select r.entity, r.batch_id, r.received_at, r.staged + r.pending as rows from core.lost_rows(p_domain, p_batches) r
    )
    select format('%s rows of domain %s that wait by the ledger are not in staging: %s; batches %s to %s, received from %s to %s',
        sum(l.rows), p_domain,
        (select string_agg(format('%s %s', e.rows, e.entity), ', ' order by e.entity)
         from (select r.entity, sum(r.rows) as rows from lost r group by r.entity) e),
        min(l.batch_id), max(l.batch_id),
        to_char(min(l.received_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        to_char(max(l.received_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    from lost l
    having count(*) > 0
$$;
comment on function core.say_lost(text, bigint[]) is 'The result of core.lost_rows as text; null when nothing is lost';

create or replace function core.write_off(p_domain text, p_batches bigint[], p_who text, p_reason text)
returns table (entity text, batch_id bigint, queue text, worker text, received_at timestamptz, staged integer, pending integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_entity record;
    v_lost jsonb;
begin
    if coalesce(p_reason, '') !~ '\S' then
        raise exception 'a write-off needs a reason';
    end if;
    -- Nobody promotes meanwhile. Rows found lost here are lost: rows are staged with their ledger rows.
    perform core.take_lock('promote.' || p_domain);
    select jsonb_agg(to_jsonb(l)) into v_lost from core.lost_rows(p_domain, p_batches) l;
    if v_lost is null then
        return;
    end if;
    for v_entity in
        select c.entity, c.staging from core.entities c where c.domain = p_domain
    loop
        execute format($sql$
            delete from core.pending p
            where p.entity = $1 and ($2 is null or p.batch_id = any ($2))
              and not exists (select from %s s where s.message_id = p.message_id and s.day = p.day)
            $sql$, v_entity.staging)
        using p_domain || '.' || v_entity.entity, p_batches;
    end loop;
    update core.batch_entities e
    set staged = e.staged - l.staged, pending = e.pending - l.pending, written_off = e.written_off + l.staged + l.pending
    from jsonb_to_recordset(v_lost) as l (entity text, batch_id bigint, staged integer, pending integer)
    where e.batch_id = l.batch_id and e.entity = l.entity;
    update core.batches b set state = 'promoted', promoted_at = clock_timestamp()
    where b.state = 'staged' and b.batch_id in (select l.batch_id from jsonb_to_recordset(v_lost) as l (batch_id bigint))
      and not exists (select from core.batch_entities e where e.batch_id = b.batch_id and e.staged > 0);
    -- A thousand batches by name, all of them in the sums.
    insert into core.audit_log (who, action, filters, reason)
    select coalesce(p_who, session_user), 'write_off',
           jsonb_build_object('domain', p_domain, 'rows', sum(l.staged + l.pending), 'batches', count(distinct l.batch_id),
               'first_batch', min(l.batch_id), 'last_batch', max(l.batch_id),
               'received_from', min(l.received_at), 'received_to', max(l.received_at),
               'lost', jsonb_path_query_array(v_lost, '$[0 to 999]')),
           p_reason
    from jsonb_to_recordset(v_lost) as l (batch_id bigint, received_at timestamptz, staged integer, pending integer);
    return query
        select l.* from jsonb_to_recordset(v_lost)
            as l (entity text, batch_id bigint, queue text, worker text, received_at timestamptz, staged integer, pending integer);
end
$$;
comment on function core.write_off(text, bigint[], text, text) is 'Gives rows up that core.lost_rows finds, of all batches when null: they get the outcome written_off, with an entry in core.audit_log. Returns what was given up';
