-- Promotion of batches that hold rows which a domain table refuses: the refused rows go to quarantine, all others are merged.

create or replace function core.is_bad_data(p_sqlstate text, p_constraint text, p_schema text, p_table text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    -- The classes of crates/store/src/failure.rs. A broken check of the platform's own tables is a defect; so is a missing
    -- partition, which has the code of a broken check, but no constraint.
    select left(p_sqlstate, 2) in ('22', '23', '54')
       and p_schema not in ('core', 'stg', 'raw', 'marts')
       and not (p_sqlstate = '23514' and p_constraint = '' and exists (
           select from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where n.nspname = p_schema and c.relname = p_table and c.relkind = 'p'))
$$;
comment on function core.is_bad_data(text, text, text, text) is 'Whether an error of a merge is the fault of a row rather than of schema, program or server';

create or replace function core.merge_part(p_merge text, p_staging text, p_name text, p_entity text, p_ids uuid[], p_batches bigint[], p_staged integer,
    out inserted bigint, out updated bigint, out unchanged bigint, out stale bigint, out pending bigint, out deleted bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c_few constant integer := 2000; -- rows, as in core.promote_domain
    v_staged bigint;
    v_aside bigint[] := (select array_agg(-b) from unnest(p_batches) b);
begin
    perform set_config('plan_cache_mode',
        case when cardinality(p_ids) < c_few then 'force_generic_plan' else 'force_custom_plan' end, true);
    execute format('update %s s set batch_id = -s.batch_id where s.batch_id = any ($1) and s.message_id = any ($2)', p_staging)
    using v_aside, p_ids;
    update core.pending p set ready = true where p.entity = p_name and p.message_id = any (p_ids);

    select m.staged, m.inserted, m.updated, m.unchanged, m.stale, m.pending, m.deleted
    into v_staged, inserted, updated, unchanged, stale, pending, deleted
    from core.merge_entity(p_merge, p_entity, p_batches) m;
    if v_staged <> p_staged then
        raise exception 'a merge function gave % of % rows of % an outcome', v_staged, p_staged, p_name;
    end if;
    -- Whatever is checked at the end of the transaction otherwise: now it is known whose fault it is.
    set constraints all immediate;
    execute format('update %s s set batch_id = -s.batch_id where s.batch_id = any ($1)', p_staging) using p_batches;
end
$$;
comment on function core.merge_part(text, text, text, text, uuid[], bigint[], integer) is 'Merges some rows of an entity, of those that core.isolate has put aside, and puts them aside again';

create or replace function core.isolate(p_domain text, p_max_rows integer, p_insist boolean default false)
returns table (
    entity text, inserted bigint, updated bigint, unchanged bigint, stale bigint, pending bigint,
    batches integer, oldest_published_at timestamptz, refused bigint, deleted bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- The brake. This number of rows of an entity may be refused with one SQLSTATE within this time; beyond it, this
    -- share of its rows; never more than c_most. More than that is a defect of schema or routines, not of data.
    c_within constant interval := '10 minutes';
    c_free constant integer := 50;
    c_share constant numeric := 0.2;
    c_most constant integer := 1000;
    v_started timestamptz := clock_timestamp();
    v_batches bigint[];
    v_aside bigint[];
    v_entity record;
    v_name text;
    v_ids uuid[];
    v_days date[];
    v_of bigint[];      -- batches of the rows; null for one that waited for its parent
    v_waited uuid[];    -- those that waited
    v_again uuid[];     -- those that are ready once more: left to the next promotion
    v_from integer[];   -- ranges of rows that are still to be merged, the next one last
    v_to integer[];
    v_first integer;
    v_last integer;
    v_middle integer;
    v_released record;
    v_part record;
    v_sqlstate text;
    v_constraint text;
    v_schema text;
    v_table text;
    v_column text;
    v_before jsonb;     -- rows refused within the time before this call, by SQLSTATE
    v_done bigint;      -- rows that had an outcome within it
    v_now jsonb;        -- rows refused in this call, by SQLSTATE
    v_count bigint;
    v_rows bigint := 0;
    v_changed bigint := 0;
    v_deferred bigint := 0;
    v_refused bigint := 0;
begin
    perform core.take_lock('promote.' || p_domain);
    select coalesce(n.batches, '{}'), n.oldest_published_at into v_batches, oldest_published_at
    from core.next_batches(p_domain, p_max_rows) n;
    v_aside := array(select -b from unnest(v_batches) b);
    batches := cardinality(v_batches);

    for v_entity in
        select c.entity, c.merge, c.staging from core.entities c where c.domain = p_domain order by c.position
    loop
        v_name := p_domain || '.' || v_entity.entity;
        entity := v_entity.entity;
        inserted := 0; updated := 0; unchanged := 0; stale := 0; pending := 0; deleted := 0; refused := 0;
        v_waited := '{}';
        v_again := '{}';
        v_before := null;
        v_now := '{}';
        -- All rows are put aside, under the negative number of their batch: a merge sees those whose turn it is and no
        -- others. The numbers are restored below, so nobody else ever sees a negative one.
        execute format($sql$
            with aside as (
                update %s s set batch_id = -s.batch_id where s.batch_id = any ($1)
                returning s.message_id, s.day, -s.batch_id as batch_id
            )
            select coalesce(array_agg(a.message_id order by a.batch_id, a.message_id), '{}'),
                   coalesce(array_agg(a.day order by a.batch_id, a.message_id), '{}'),
                   coalesce(array_agg(a.batch_id order by a.batch_id, a.message_id), '{}')
            from aside a
            $sql$, v_entity.staging)
        into v_ids, v_days, v_of using v_batches;
        v_from := case when cardinality(v_ids) > 0 then array[1] else '{}' end;
        v_to := case when cardinality(v_ids) > 0 then array[cardinality(v_ids)] else '{}' end;

        loop
            -- So are the rows whose parent has come, before or meanwhile.
            with released as (
                update core.pending p set ready = false where p.entity = v_name and p.ready returning p.message_id, p.day
            )
            select array_agg(w.message_id order by w.message_id) filter (where w.taken is null) as ids,
                   array_agg(w.day order by w.message_id) filter (where w.taken is null) as days,
                   count(*) filter (where w.taken is null)::integer as rows,
                   array_agg(w.message_id) filter (where w.taken is not null) as again
            into v_released
            from (select k.*, t.id as taken from released k left join unnest(v_waited) t (id) on t.id = k.message_id) w;
            v_again := v_again || v_released.again;
            if v_released.rows > 0 then
                v_waited := v_waited || v_released.ids;
                v_from := v_from || (cardinality(v_ids) + 1);
                v_ids := v_ids || v_released.ids;
                v_days := v_days || v_released.days;
                v_of := v_of || array_fill(null::bigint, array[v_released.rows]);
                v_to := v_to || cardinality(v_ids);
            end if;
            exit when cardinality(v_from) = 0;
            v_first := v_from[cardinality(v_from)];
            v_last := v_to[cardinality(v_to)];
            v_from := trim_array(v_from, 1);
            v_to := trim_array(v_to, 1);

            v_sqlstate := null;
            begin
                select m.* into v_part
                from core.merge_part(v_entity.merge, v_entity.staging, v_name, v_entity.entity, v_ids[v_first:v_last],
                    array(select distinct b from unnest(v_of[v_first:v_last]) b where b is not null),
                    (select count(b)::integer from unnest(v_of[v_first:v_last]) b)) m;
            exception when others then
                get stacked diagnostics v_sqlstate = returned_sqlstate, v_constraint = constraint_name,
                    v_schema = schema_name, v_table = table_name, v_column = column_name;
                if not core.is_bad_data(v_sqlstate, v_constraint, v_schema, v_table) then
                    raise;
                end if;
            end;

            if v_sqlstate is null then
                inserted := inserted + v_part.inserted;
                updated := updated + v_part.updated;
                unchanged := unchanged + v_part.unchanged;
                deleted := deleted + v_part.deleted;
                stale := stale + v_part.stale;
                pending := pending + v_part.pending;
            elsif v_first < v_last then
                v_middle := (v_first + v_last) / 2;
                v_from := v_from || array[v_middle + 1, v_first];
                v_to := v_to || array[v_last, v_middle];
            else
                if v_before is null then
                    select coalesce(jsonb_object_agg(q.sqlstate, q.rows), '{}') into v_before
                    from (
                        select r.sqlstate, count(*) as rows from raw.quarantine r
                        where r.domain = p_domain and r.entity = v_entity.entity and r.code = 'merge_refused'
                          and r.received_at > now() - c_within and r.received_at < now()
                        group by r.sqlstate
                    ) q;
                    select coalesce(sum(e.inserted + e.updated + e.unchanged + e.deleted + e.stale), 0) into v_done
                    from core.batches b
                    join core.batch_entities e on e.batch_id = b.batch_id and e.entity = v_entity.entity
                    where b.domain = p_domain and b.state = 'promoted' and b.promoted_at > now() - c_within;
                end if;
                v_now := v_now || jsonb_build_object(v_sqlstate, coalesce((v_now ->> v_sqlstate)::bigint, 0) + 1);
                v_count := (v_now ->> v_sqlstate)::bigint + coalesce((v_before ->> v_sqlstate)::bigint, 0);
                if not p_insist and v_count > c_free
                    and (v_count > c_most or v_count > c_share * (v_done + coalesce((v_before ->> v_sqlstate)::bigint, 0) + cardinality(v_ids))) then
                    raise exception 'more than % rows of % were refused with SQLSTATE % within %: % is at fault rather than the data. '
                        'Nothing of this promotion was put in quarantine. Mend it; or, if all these rows are to go to quarantine: '
                        'select * from core.isolate(%, %, true)',
                        v_count - 1, v_name, v_sqlstate, c_within,
                        case when v_constraint = '' then 'the schema or ' || v_entity.merge else 'constraint ' || v_constraint || ' or ' || v_entity.merge end,
                        quote_literal(p_domain), p_max_rows
                        using errcode = 'AQ001';
                end if;
                execute format('update %s s set batch_id = -s.batch_id where s.message_id = $1 and s.day = $2 and s.batch_id < 0',
                    v_entity.staging)
                using v_ids[v_first], v_days[v_first];
                select refused + coalesce(sum(a.rows), 0) into refused
                from core.set_aside(p_domain, v_entity.entity, v_of[v_first] is null, array[row(v_ids[v_first], v_days[v_first],
                    'merge_refused', nullif(v_column, ''),
                    'the core refused the row: ' || case when v_constraint = '' then 'SQLSTATE ' || v_sqlstate else 'constraint ' || v_constraint end,
                    'the core refused the row', v_sqlstate)::core.refusal]) a;
                v_refused := v_refused + 1;
                pending := pending - (v_of[v_first] is null)::integer;
            end if;
        end loop;

        execute format('update %s s set batch_id = -s.batch_id where s.batch_id = any ($1)', v_entity.staging) using v_aside;
        update core.pending p set ready = true where p.entity = v_name and p.message_id = any (v_again);
        v_rows := v_rows + inserted + updated + unchanged + deleted + stale;
        v_changed := v_changed + inserted + updated + deleted;
        v_deferred := v_deferred + pending;
        if cardinality(v_ids) > 0 then
            return next;
        end if;
    end loop;

    perform core.close_promotion(p_domain, v_batches, v_started, v_rows, v_changed, greatest(v_deferred, 0) + v_refused,
        v_refused || ' rows were refused and put in quarantine');
end
$$;
comment on function core.isolate(text, integer, boolean) is 'Promotes like core.promote_domain, but row by row where a domain table refuses one: the refused rows go to quarantine, code merge_refused. Stops when more rows are refused than bad data can explain, unless p_insist is true';
