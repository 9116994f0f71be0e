-- From staging to quarantine: rows whose parent never comes, rows that a domain table refuses.

create or replace function core.set_aside(p_domain text, p_entity text, p_waited boolean, p_rows core.refusal[])
returns table (code text, rows bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_entity core.entities;
begin
    select e.* into strict v_entity from core.entities e where e.domain = p_domain and e.entity = p_entity;
    return query execute format($sql$
        with refused as (
            select r.* from unnest($4) r
        ), settled as (
            delete from core.pending p using refused r
            where p.entity = $1 || '.' || $2 and p.message_id = r.message_id and p.day = r.day
        ), unstaged as (
            -- It leaves staging: a replay must be staged again, not be taken for a copy.
            delete from %s s using refused r
            where s.message_id = r.message_id and s.day = r.day
            returning s.*
        ), rebuilt as (
            -- The original bytes were acknowledged long ago: the body is made from the columns.
            select r.message_id, r.day, s.batch_id, s.body_hash, coalesce(b.queue, 'acequia.' || $1) as queue, r.code, r.field_path,
                   r.message, r.explanation, r.sqlstate,
                   convert_to((jsonb_build_object('entity', $2, 'ts', s.event_at)
                       || (select jsonb_object_agg(f.key, f.value) from jsonb_each(to_jsonb(s)) f where f.key = any ($5))
                       -- Of a message that deletes only the key counts.
                       || case when to_jsonb(s) -> 'deleted' = 'true' then '{"_op": "delete"}' else '{}' end::jsonb)::text, 'UTF8') as body,
                   -- A message of another entity may have the row of this id.
                   coalesce(q.domain <> $1 or q.entity <> $2, false) as taken
            from refused r
            join unstaged s on s.message_id = r.message_id and s.day = r.day
            left join core.batches b on b.batch_id = s.batch_id
            left join lateral (
                select o.domain, o.entity from raw.quarantine o where o.message_id = r.message_id and o.day = r.day offset 0
            ) q on true
        ), named as (
            select b.*, case when b.taken then md5(concat_ws('|', $1, $2, b.message_id))::uuid else b.message_id end as row_id,
                   case when b.taken then '1970-01-01' else b.day end as row_day
            from rebuilt b
        ), kept as (
            insert into raw.quarantine as q (message_id, day, identity, batch_id, domain, entity, queue, stage, code, field_path,
                message, violations, sqlstate, body, properties, fingerprint)
            select r.row_id, r.row_day, case when r.taken then r.message_id end, r.batch_id, $1, $2, r.queue, 'merge', r.code, r.field_path, r.message,
                   jsonb_build_array(jsonb_build_object('code', r.code, 'path', r.field_path, 'message', r.explanation)),
                   r.sqlstate, r.body,
                   jsonb_strip_nulls(jsonb_build_object('message_id', r.message_id, 'rebuilt', true, 'body_hash', r.body_hash)),
                   md5(concat_ws('|', $1, $2, r.code, r.field_path))
            from named r
            -- It was here before: a replay, or a message sent again. What was replayed or resolved is open again, for the
            -- new reason; what was discarded stays so.
            on conflict (message_id, day) do update
            set occurrences = q.occurrences + 1, last_seen_at = now(),
                (status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations, sqlstate, fingerprint) = (
                    select c.status, c.resolved_at, c.resolved_by, c.entity, c.stage, c.code, c.field_path, c.message,
                           c.violations, c.sqlstate, c.fingerprint
                    from (values
                        (false, q.status, q.resolved_at, q.resolved_by, q.entity, q.stage, q.code, q.field_path, q.message,
                         q.violations, q.sqlstate, q.fingerprint),
                        (true, 'open', null, null, excluded.entity, excluded.stage, excluded.code, excluded.field_path,
                         excluded.message, excluded.violations, excluded.sqlstate, excluded.fingerprint)
                    ) c (again, status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations, sqlstate, fingerprint)
                    where c.again = (q.status in ('replayed', 'resolved')))
            returning q.quarantine_id, q.message_id, q.day, q.occurrences, q.body, q.code
        ), other_body as (
            -- The row keeps its first body; if another one left staging now, a replay must send that.
            insert into raw.quarantine_versions (quarantine_id, version, body, by, note)
            select k.quarantine_id, coalesce(v.version, 0) + 1, r.body, 'acequia', 'made from its staged columns'
            from kept k
            join named r on r.row_id = k.message_id and r.row_day = k.day
            left join lateral (
                select o.version, o.body from raw.quarantine_versions o
                where o.quarantine_id = k.quarantine_id order by o.version desc limit 1
            ) v on true
            where k.occurrences > 1 and r.body <> coalesce(v.body, k.body)
        ), counted as (
            update core.batch_entities e
            set pending = e.pending - case when $3 then n.rows else 0 end, staged = e.staged - case when $3 then 0 else n.rows end,
                quarantined = e.quarantined + n.first, duplicates = e.duplicates + n.again
            from (
                select r.batch_id, count(*)::int as rows, (count(*) filter (where k.occurrences = 1))::int as first,
                       (count(*) filter (where k.occurrences > 1))::int as again
                from named r
                join kept k on k.message_id = r.row_id and k.day = r.row_day
                group by r.batch_id
            ) n
            where e.batch_id = n.batch_id and e.entity = $2
        )
        select k.code, count(*) from kept k where k.occurrences = 1 group by k.code
        $sql$, v_entity.staging)
    using p_domain, p_entity, p_waited, p_rows, v_entity.fields;
end
$$;
comment on function core.set_aside(text, text, boolean, core.refusal[]) is 'Moves rows from staging to quarantine, bodies made of their columns; waited: they are accounted as pending rather than staged. One that was there before counts as a duplicate. Returns how many were not, by code';

create or replace function core.expire_pending(p_domain text, p_older_than interval)
returns table (entity text, code text, expired bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_entity record;
    v_rows core.refusal[];
begin
    -- The lock is a write, and each statement below is planned anew: neither when nothing waits.
    if not exists (
        select from core.pending p
        where not p.ready and p.entity in (select c.domain || '.' || c.entity from core.entities c where c.domain = p_domain)) then
        return;
    end if;
    perform core.take_lock('promote.' || p_domain);
    for v_entity in
        select c.entity, c.staging from core.entities c where c.domain = p_domain order by c.position
    loop
        execute format($sql$
            select array_agg(x.refusal)
            from (
                select case when p.parent = 'core.archives'
                    then row(p.message_id, p.day, 'purged', null, format('belongs to %%s, which was archived and purged', p.parent_key),
                        'it came for a range that was archived and purged', null)::core.refusal
                    else row(p.message_id, p.day, 'orphan', p.parent, format('refers to %%s, which did not arrive within %%s', p.parent, $2),
                        'the row it refers to did not arrive in time', null)::core.refusal end as refusal
                from core.pending p
                where p.entity = $1 and not p.ready
                  -- A row that somebody removed has no body to keep: see core.lost_rows.
                  and exists (select from %s s where s.message_id = p.message_id and s.day = p.day)
                  -- What waits for an archive waits as long as it takes, unless the archive was purged.
                  and case when p.parent = 'core.archives'
                      then exists (select from core.archives a where a.partition_name = p.parent_key and a.state = 'purged')
                      else p.since < now() - $2 end
                for update
            ) x
            $sql$, v_entity.staging)
        into v_rows using p_domain || '.' || v_entity.entity, p_older_than;
        continue when v_rows is null;
        return query select v_entity.entity, a.code, a.rows from core.set_aside(p_domain, v_entity.entity, true, v_rows) a;
    end loop;
end
$$;
comment on function core.expire_pending(text, interval) is 'Moves rows that waited too long for their parent from staging to quarantine, code orphan, and those of a purged range, code purged; one that was there before counts as a duplicate. Returns how many were not';

-- A message that is accepted settles what was refused under its id.

create or replace function core.resolve_accepted(p_domain text, p_entity text, p_batch bigint, p_ids uuid[], p_days date[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
    v_staging text;
    v_found record;
    v_rows bigint;
begin
    select array_agg(f.row_id) as row_ids, array_agg(f.row_day) as row_days, array_agg(f.id) as ids, array_agg(f.day) as days
    into v_found
    from (
        select o.message_id as row_id, o.day as row_day, a.id, a.day
        from unnest(p_ids, p_days) a (id, day)
        join core.quarantine_open o on o.message_id = a.id and o.day = a.day
        where o.domain = p_domain and (o.entity = p_entity or o.entity is null) and o.identity is null
        union all
        select o.message_id, o.day, a.id, a.day
        from unnest(p_ids, p_days) a (id, day)
        join core.quarantine_open o on o.identity = a.id
        where o.identity is not null -- these are few, and have an index
          and o.domain = p_domain and (o.entity = p_entity or o.entity is null)
    ) f;
    if v_found.ids is null then
        return 0;
    end if;
    select e.staging into strict v_staging from core.entities e where e.domain = p_domain and e.entity = p_entity;
    execute format($sql$
        with free as (
            -- A row that somebody is replaying or discarding is left to them. An id that another message has is not
            -- settled by that message, and nothing is settled by a copy.
            select q.message_id, q.day
            from unnest($2, $3, $4, $5) f (row_id, row_day, id, day)
            join raw.quarantine q on q.message_id = f.row_id and q.day = f.row_day
            where q.status = 'open' and (q.identity is null or q.code <> 'id_reused')
              and exists (select from %s s where s.message_id = f.id and s.day = f.day and s.batch_id = $1)
            for update of q skip locked
        ), resolved as (
            update raw.quarantine q
            set status = 'resolved', resolved_at = now(), resolved_by = 'acequia', accepted_batch_id = $1,
                note = 'a message of the same id was accepted'
            from free f
            where q.message_id = f.message_id and q.day = f.day
            returning 1
        )
        select count(*) from resolved
        $sql$, v_staging)
    into v_rows using p_batch, v_found.row_ids, v_found.row_days, v_found.ids, v_found.days;
    return v_rows;
end
$$;
comment on function core.resolve_accepted(text, text, bigint, uuid[], date[]) is 'Resolves the open rows of quarantine under the ids of those messages that a batch has staged; returns how many';

create or replace function core.resolve_copies(p_domain text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_within constant interval := '10 minutes'; -- longer than two transactions can run side by side
    c_rows constant integer := 10000;
    v_entity record;
    v_rows bigint;
    v_all bigint := 0;
begin
    for v_entity in select e.entity, e.staging from core.entities e where e.domain = p_domain order by e.position loop
        continue when not exists (
            select from core.quarantine_open o
            where o.domain = p_domain and o.entity = v_entity.entity and o.received_at > now() - c_within);
        execute format($sql$
            with recent as materialized (
                select q.message_id, q.day, q.body_hash
                from core.quarantine_open o
                join raw.quarantine q on q.message_id = o.message_id and q.day = o.day
                where o.domain = $1 and o.entity = $2 and o.received_at > now() - $3 and o.identity is null and q.body_hash is not null
                order by o.received_at desc
                limit $4
            ), free as (
                select q.message_id, q.day, s.batch_id
                from recent r
                cross join lateral (
                    select c.batch_id from %s c where c.message_id = r.message_id and c.day = r.day and c.body_hash = r.body_hash limit 1
                ) s
                join raw.quarantine q on q.message_id = r.message_id and q.day = r.day and q.status = 'open'
                for update of q skip locked
            ), resolved as (
                update raw.quarantine q
                set status = 'resolved', resolved_at = now(), resolved_by = 'acequia', accepted_batch_id = f.batch_id,
                    note = 'a copy of it was accepted'
                from free f
                where q.message_id = f.message_id and q.day = f.day
                returning 1
            )
            select count(*) from resolved
            $sql$, v_entity.staging)
        into v_rows using p_domain, v_entity.entity, c_within, c_rows;
        v_all := v_all + v_rows;
    end loop;
    return v_all;
end
$$;
comment on function core.resolve_copies(text) is 'Resolves rows that came into quarantine just now, of which a copy was accepted in a transaction that ran beside; returns how many';
