-- Promotion of staged batches.

-- In the transaction that also replaces the merges: one of an earlier version returns a column less.
do $$
begin
    if not exists (
        select from pg_attribute a where a.attrelid = 'core.merge_outcome'::regclass and a.attname = 'deleted' and not a.attisdropped) then
        alter type core.merge_outcome add attribute deleted integer;
    end if;
end
$$;
comment on type core.merge_outcome is 'What a merge function did with the rows of one batch: staged rows taken, their outcomes, and the change in the number of pending rows';

create or replace function core.next_batches(p_domain text, p_max_rows integer, out batches bigint[], out oldest_published_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- The oldest batches, up to the wanted number of rows and one more.
    select array_agg(b.batch_id order by b.batch_id), min(b.published_at)
    into batches, oldest_published_at
    from (
        select w.batch_id, w.published_at,
               sum(w.rows) over (order by w.batch_id rows between unbounded preceding and 1 preceding) as before
        from (
            select s.batch_id, s.published_at,
                   (select coalesce(sum(e.staged), 0) from core.batch_entities e where e.batch_id = s.batch_id) as rows
            from core.batches s
            where s.domain = p_domain and s.state = 'staged'
            order by s.batch_id
            limit 1000
        ) w
    ) b
    where coalesce(b.before, 0) < p_max_rows;
end
$$;
comment on function core.next_batches(text, integer) is 'The batches that the next promotion of a domain takes, null when none is staged, and the publish time of their oldest message';

create or replace function core.merge_entity(p_merge text, p_entity text, p_batches bigint[],
    out staged bigint, out inserted bigint, out updated bigint, out unchanged bigint, out stale bigint, out pending bigint,
    out deleted bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_outcomes core.merge_outcome[];
begin
    -- Only the call itself is planned anew each time: the name of the function is not known before.
    execute format('select array_agg(o) from %s($1) o', p_merge) into v_outcomes using p_batches;
    with counted as (
        update core.batch_entities e
        set settled = true, staged = e.staged - o.staged, inserted = e.inserted + o.inserted,
            updated = e.updated + o.updated, unchanged = e.unchanged + o.unchanged,
            stale = e.stale + o.stale, pending = e.pending + o.pending, deleted = e.deleted + o.deleted
        from unnest(v_outcomes) o
        where e.batch_id = o.batch_id and e.entity = p_entity
    )
    select coalesce(sum(o.staged), 0), coalesce(sum(o.inserted), 0), coalesce(sum(o.updated), 0), coalesce(sum(o.unchanged), 0),
           coalesce(sum(o.stale), 0), coalesce(sum(o.pending), 0), coalesce(sum(o.deleted), 0)
    into staged, inserted, updated, unchanged, stale, pending, deleted
    from unnest(v_outcomes) o;
end
$$;
comment on function core.merge_entity(text, text, bigint[]) is 'Calls the merge function of an entity for some batches and accounts for what it did';

create or replace function core.close_promotion(p_domain text, p_batches bigint[], p_started timestamptz,
    p_rows bigint, p_changed bigint, p_left bigint, p_detail text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from core.batch_entities e where e.batch_id = any (p_batches) and e.staged <> 0) then
        raise exception '%', coalesce(
            core.say_lost(p_domain, p_batches)
                || format('. Put them back, or give them up: worker ledger write-off --domain %s --reason TEXT', p_domain),
            format('a merge function of domain %s left staged rows without an outcome', p_domain));
    end if;

    update core.batches b set state = 'promoted', promoted_at = clock_timestamp() where b.batch_id = any (p_batches);

    insert into core.domain_state as d (domain, changed_at, promoted_at)
    values (p_domain, case when p_changed > 0 then clock_timestamp() end, clock_timestamp())
    on conflict (domain) do update
    set promoted_at = excluded.promoted_at, changed_at = coalesce(excluded.changed_at, d.changed_at);

    insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count, detail)
    values ('promote', p_domain, p_started, clock_timestamp(), 'ok', p_rows, greatest(p_left, 0), p_detail);

    -- Left to the next promotion: rows that became ready behind the merge of their entity, or were more than it takes.
    if exists (
        select from core.pending p
        where p.ready and p.entity in (select c.domain || '.' || c.entity from core.entities c where c.domain = p_domain)) then
        perform pg_notify('acequia', 'staged ' || p_domain);
    end if;
end
$$;
comment on function core.close_promotion(text, bigint[], timestamptz, bigint, bigint, bigint, text) is 'Ends a promotion: every row of its batches must have an outcome; notes how far the domain is';

create or replace function core.promote_domain(p_domain text, p_max_rows integer)
returns table (
    entity text, inserted bigint, updated bigint, unchanged bigint, stale bigint, pending bigint,
    batches integer, oldest_published_at timestamptz, deleted bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    c_few constant bigint := 2000; -- rows
    v_started timestamptz := clock_timestamp();
    v_batches bigint[];
    v_entities text[];
    v_oldest timestamptz;
    v_entity record;
    v_staged bigint;
    v_ready integer;
    v_changed bigint := 0;
    v_rows bigint := 0;
    v_deferred bigint := 0;
begin
    -- The lock is a write: it is not taken when there is nothing to do.
    if not exists (select from core.batches b where b.domain = p_domain and b.state = 'staged')
        and not exists (
            select from core.pending p
            where p.ready and p.entity in (select c.domain || '.' || c.entity from core.entities c where c.domain = p_domain))
        and not exists (select from core.batch_entities e where e.domain = p_domain and not e.settled) then
        return;
    end if;
    -- One promotion per domain at a time, in whichever process. Merges may therefore look at the
    -- core before they write it.
    perform core.take_lock('promote.' || p_domain);

    -- To plan a merge costs more than to merge a few rows: those go by a plan that the session keeps.
    perform set_config('plan_cache_mode', 'force_generic_plan', true);
    select n.batches, n.oldest_published_at into v_batches, v_oldest from core.next_batches(p_domain, p_max_rows) n;

    select array_agg(distinct e.entity), coalesce(sum(e.staged), 0) into v_entities, v_staged
    from core.batch_entities e
    where e.batch_id = any (v_batches) and e.staged > 0;

    -- Many rows are worth a plan of their own.
    if v_staged >= c_few then
        perform set_config('plan_cache_mode', 'force_custom_plan', true);
    end if;

    for v_entity in
        select c.entity, c.merge from core.entities c where c.domain = p_domain order by c.position
    loop
        -- Asked after the parents' merges: these may have made rows ready, and many of them.
        select count(*) into v_ready
        from (select from core.pending p where p.entity = p_domain || '.' || v_entity.entity and p.ready limit c_few) r;
        continue when not v_entity.entity = any (coalesce(v_entities, '{}')) and v_ready = 0;
        if v_ready >= c_few then
            perform set_config('plan_cache_mode', 'force_custom_plan', true);
        end if;

        select m.inserted, m.updated, m.unchanged, m.stale, m.pending, m.deleted
        into inserted, updated, unchanged, stale, pending, deleted
        from core.merge_entity(v_entity.merge, v_entity.entity, coalesce(v_batches, '{}')) m;

        entity := v_entity.entity;
        batches := coalesce(cardinality(v_batches), 0);
        oldest_published_at := v_oldest;
        v_rows := v_rows + inserted + updated + unchanged + deleted + stale;
        v_changed := v_changed + inserted + updated + deleted;
        v_deferred := v_deferred + pending;
        return next;
    end loop;

    -- What this promotion did not touch: copies, quarantined messages, batches that wait for the next one.
    perform core.settle(p_domain);
    if v_batches is null and v_rows = 0 and v_deferred = 0 then
        return;
    end if;
    perform core.close_promotion(p_domain, v_batches, v_started, v_rows, v_changed, v_deferred, null);
end
$$;
comment on function core.promote_domain(text, integer) is 'Merges the oldest staged batches of a domain, parents first, and accounts for every row; one row per entity merged';

-- A column more would end the prepared statements of running workers of an earlier version: theirs keeps its columns.
create or replace function core.promote(p_domain text, p_max_rows integer)
returns table (
    entity text, inserted bigint, updated bigint, unchanged bigint, stale bigint, pending bigint,
    batches integer, oldest_published_at timestamptz
)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select p.entity, p.inserted, p.updated, p.unchanged, p.stale, p.pending, p.batches, p.oldest_published_at
    from core.promote_domain(p_domain, p_max_rows) p
$$;
comment on function core.promote(text, integer) is 'core.promote_domain for workers of schema version 15 and before';
