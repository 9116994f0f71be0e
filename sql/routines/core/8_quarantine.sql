-- What becomes of rows whose parent never comes.

create or replace function core.expire_pending(p_domain text, p_older_than interval)
returns table (entity text, code text, expired bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_entity record;
begin
    perform core.take_lock('promote.' || p_domain);
    for v_entity in
        select c.entity, c.staging, c.fields from core.entities c where c.domain = p_domain order by c.position
    loop
        return query execute format($sql$
            with expired as (
                delete from core.pending p
                where p.entity = $1 and not p.ready
                  -- A row that somebody removed has no body to keep: see core.lost_rows.
                  and exists (select from %s s where s.message_id = p.message_id and s.day = p.day)
                  -- What waits for an archive waits as long as it takes, unless the archive was purged.
                  and case when p.parent = 'core.archives'
                      then exists (select from core.archives a where a.partition_name = p.parent_key and a.state = 'purged')
                      else p.since < now() - $2 end
                returning p.*, case when p.parent = 'core.archives' then 'purged' else 'orphan' end as code
            ), unstaged as (
                -- It leaves staging: a replay must be staged again, not be taken for a copy.
                delete from %s s using expired x
                where s.message_id = x.message_id and s.day = x.day
                returning s.*
            ), rebuilt as (
                -- The original bytes were acknowledged long ago: the body is made from the columns.
                select x.message_id, x.day, x.batch_id, b.queue, x.code,
                       case x.code when 'orphan' then x.parent end as path,
                       case x.code when 'orphan' then format('refers to %%s, which did not arrive within %%s', x.parent, $2)
                           else format('belongs to %%s, which was archived and purged', x.parent_key) end as reason,
                       case x.code when 'orphan' then 'the row it refers to did not arrive in time'
                           else 'it came for a range that was archived and purged' end as explanation,
                       convert_to((jsonb_build_object('entity', $4, 'ts', s.event_at)
                           || (select jsonb_object_agg(f.key, f.value) from jsonb_each(to_jsonb(s)) f where f.key = any ($5)))::text, 'UTF8') as body
                from expired x
                join unstaged s on s.message_id = x.message_id and s.day = x.day
                join core.batches b on b.batch_id = x.batch_id
            ), kept as (
                insert into raw.quarantine as q (message_id, day, batch_id, domain, entity, queue, stage, code, field_path,
                    message, violations, body, properties, fingerprint)
                select r.message_id, r.day, r.batch_id, $3, $4, r.queue, 'merge', r.code, r.path, r.reason,
                       jsonb_build_array(jsonb_build_object('code', r.code, 'path', r.path, 'message', r.explanation)),
                       r.body, jsonb_build_object('message_id', r.message_id, 'rebuilt', true),
                       md5(concat_ws('|', $3, $4, r.code, r.path))
                from rebuilt r
                -- It was here before: a replay, or a message sent again. What was replayed is open again,
                -- for the new reason; what was discarded stays so.
                on conflict (message_id, day) do update
                set occurrences = q.occurrences + 1, last_seen_at = now(),
                    (status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations, sqlstate, fingerprint) = (
                        select c.status, c.resolved_at, c.resolved_by, c.entity, c.stage, c.code, c.field_path, c.message,
                               c.violations, c.sqlstate, c.fingerprint
                        from (values
                            (false, q.status, q.resolved_at, q.resolved_by, q.entity, q.stage, q.code, q.field_path, q.message,
                             q.violations, q.sqlstate, q.fingerprint),
                            (true, 'open', null, null, excluded.entity, excluded.stage, excluded.code, excluded.field_path,
                             excluded.message, excluded.violations, null, excluded.fingerprint)
                        ) c (again, status, resolved_at, resolved_by, entity, stage, code, field_path, message, violations, sqlstate, fingerprint)
                        where c.again = (q.status = 'replayed'))
                returning q.quarantine_id, q.message_id, q.day, q.occurrences, q.body, q.code
            ), other_body as (
                -- The row keeps its first body; if another one expired now, a replay must send that.
                insert into raw.quarantine_versions (quarantine_id, version, body, by, note)
                select k.quarantine_id, coalesce(v.version, 0) + 1, r.body, 'acequia', 'made from its staged columns when it expired'
                from kept k
                join rebuilt r on r.message_id = k.message_id and r.day = k.day
                left join lateral (
                    select o.version, o.body from raw.quarantine_versions o
                    where o.quarantine_id = k.quarantine_id order by o.version desc limit 1
                ) v on true
                where k.occurrences > 1 and r.body <> coalesce(v.body, k.body)
            ), counted as (
                update core.batch_entities e
                set pending = e.pending - n.rows, quarantined = e.quarantined + n.first, duplicates = e.duplicates + n.again
                from (
                    select x.batch_id, count(*)::int as rows, (count(*) filter (where k.occurrences = 1))::int as first,
                           (count(*) filter (where k.occurrences > 1))::int as again
                    from expired x
                    left join kept k on k.message_id = x.message_id and k.day = x.day
                    group by x.batch_id
                ) n
                where e.batch_id = n.batch_id and e.entity = $4
            )
            select $4, k.code, count(*) from kept k where k.occurrences = 1 group by k.code
            $sql$, v_entity.staging, v_entity.staging)
        using p_domain || '.' || v_entity.entity, p_older_than, p_domain, v_entity.entity, v_entity.fields;
    end loop;
end
$$;
comment on function core.expire_pending(text, interval) is 'Moves rows that waited too long for their parent from staging to quarantine, code orphan, and those of a purged range, code purged; one that was there before counts as a duplicate. Returns how many were not';
