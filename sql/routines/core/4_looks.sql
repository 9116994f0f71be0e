-- Progress of the queues: up to when everything that was in them is staged (ADR 31).
--
-- A queue keeps its order. So of a look that saw R messages ready it is enough to follow two things:
-- until R more have been given to consumers, and until each consumer has acknowledged what it had been
-- given by then. What was in the queue at that look is then staged, whatever has come since, and
-- whether or not messages say when they were published.

create or replace function core.looks_live() returns interval
language sql immutable set search_path = pg_catalog, pg_temp as $$ select interval '15 seconds' $$;
comment on function core.looks_live() is 'Maximum age of the last look of a worker; after that the worker counts as not reporting its messages';

create or replace function core.note_look(p_worker text, p_queue text, p_since timestamptz, p_asked timestamptz,
    p_ready bigint, p_consumers integer, p_arrived bigint, p_held_since timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_queue core.queue_looks;
    v_before core.queue_consumers;
    v_live integer;
    v_newest timestamptz;
begin
    select q.* into strict v_queue from core.queue_looks q where q.queue = p_queue for update;
    select c.* into v_before from core.queue_consumers c where c.queue = p_queue and c.worker = p_worker;
    if v_before.looked_at >= p_asked then
        return; -- known
    end if;
    insert into core.queue_consumers as c (queue, worker, since, looked_at, arrived, held_since)
    values (p_queue, p_worker, p_since, p_asked, p_arrived, p_held_since)
    on conflict (queue, worker) do update
    set since = excluded.since, looked_at = excluded.looked_at, arrived = excluded.arrived, held_since = excluded.held_since;
    select count(*), max(c.since) into v_live, v_newest
    from core.queue_consumers c where c.queue = p_queue and c.looked_at > clock_timestamp() - core.looks_live();

    v_queue.ready := p_ready;
    v_queue.consumers := p_consumers;
    if p_consumers > v_live then
        v_queue.mark_at := null; -- somebody holds messages and does not tell
    else
        v_queue.looked_at := greatest(v_queue.looked_at, p_asked);
        -- Messages of a consumer that is gone went back to the queue: counting starts again.
        if v_queue.mark_live <> v_live or v_newest > v_queue.mark_at - interval '1 second' then
            v_queue.mark_at := null;
        end if;
        for i in 1..2 loop
            if v_queue.mark_at is null then
                v_queue.mark_at := p_asked;
                v_queue.mark_left := p_ready;
                v_queue.mark_due := null;
                v_queue.mark_live := v_live;
                update core.queue_consumers c set given_at = null where c.queue = p_queue;
            elsif v_before.looked_at >= v_queue.mark_at then
                v_queue.mark_left := v_queue.mark_left - (p_arrived - v_before.arrived);
            end if;
            if p_ready = 0 and p_asked >= v_queue.mark_at then
                v_queue.mark_left := 0;
            end if;
            if v_queue.mark_left <= 0 then
                -- All have left the queue. What of them was on its way to this consumer has arrived when
                -- it was asked after the last one left.
                if (p_ready = 0 and p_asked >= v_queue.mark_at) or p_asked >= v_queue.mark_due then
                    update core.queue_consumers c set given_at = clock_timestamp()
                    where c.queue = p_queue and c.worker = p_worker and c.given_at is null;
                end if;
                v_queue.mark_due := coalesce(v_queue.mark_due, clock_timestamp());
            end if;
            exit when v_queue.mark_due is null or exists (
                select from core.queue_consumers c
                where c.queue = p_queue and c.looked_at > clock_timestamp() - core.looks_live()
                  and (c.given_at is null or c.held_since <= c.given_at));
            v_queue.passed_at := greatest(v_queue.passed_at, v_queue.mark_at);
            exit when v_queue.mark_at = p_asked;
            v_queue.mark_at := null; -- followed to its end: the next one
        end loop;
    end if;
    update core.queue_looks q
    set looked_at = v_queue.looked_at, ready = v_queue.ready, consumers = v_queue.consumers, passed_at = v_queue.passed_at,
        mark_at = v_queue.mark_at, mark_left = v_queue.mark_left, mark_due = v_queue.mark_due, mark_live = v_queue.mark_live
    where q.queue = p_queue;
end
$$;
comment on function core.note_look(text, text, timestamptz, timestamptz, bigint, integer, bigint, timestamptz) is 'Keeps a look at a queue by a worker that consumes it, and concludes up to when everything that was in the queue is staged';

create or replace function core.note_looks(p_worker text, p_mark timestamptz, p_looks jsonb) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_look record;
begin
    for v_look in
        select l.queue, l.domain, p_mark + l.since * interval '1 second' as since, p_mark + l.asked * interval '1 second' as asked,
               l.ready, l.consumers, l.arrived, p_mark + l.held * interval '1 second' as held_since
        from jsonb_to_recordset(p_looks) as l (queue text, domain text, since double precision, asked double precision,
            ready bigint, consumers integer, arrived bigint, held double precision)
        order by l.queue
    loop
        insert into core.queue_looks (queue, domain) values (v_look.queue, v_look.domain) on conflict (queue) do nothing;
        if v_look.asked is null then
            delete from core.queue_consumers c where c.queue = v_look.queue and c.worker = p_worker;
        else
            perform core.note_look(p_worker, v_look.queue, v_look.since, v_look.asked, v_look.ready, v_look.consumers,
                v_look.arrived, v_look.held_since);
        end if;
    end loop;
    -- Queues that the catalog has no more.
    delete from core.queue_looks q
    where q.domain in (select l.domain from jsonb_to_recordset(p_looks) as l (domain text))
      and q.queue not in (select l.queue from jsonb_to_recordset(p_looks) as l (queue text));
    delete from core.queue_consumers c where c.looked_at < clock_timestamp() - interval '1 hour';
    return clock_timestamp();
end
$$;
comment on function core.note_looks(text, timestamptz, jsonb) is 'Keeps the looks of a worker at its queues: times are seconds from p_mark on, which is what the call before returned, a time of the clock of the database';

drop view if exists marts.freshness;
drop view if exists core.mart_status;
drop view if exists core.mart_refresh_state;
drop view if exists core.mart_shows; -- its name before
drop view if exists core.mart_progress;
drop view if exists core.queue_progress;

create view core.queue_progress as
select d.domain,
       case when count(q.domain) > 0 and bool_and(q.looked_at is not null) then min(q.looked_at) end as observed_at,
       case when count(q.domain) > 0 and bool_and(q.passed_at is not null) filter (where q.domain is not null)
            then min(q.passed_at) filter (where q.domain is not null) end as passed_at,
       min(w.since) filter (where q.domain is not null) as queued_since,
       coalesce(sum(w.messages) filter (where q.domain is null), 0)::bigint as dead,
       min(w.since) filter (where q.domain is null) as dead_since
from (select distinct e.domain from core.entities e) d
left join core.queue_looks q on q.domain = d.domain or q.domain is null
left join lateral (
    -- Still there at a second look: a message that is ready for a moment is on its way.
    select least(case when q.mark_left > 0 and q.mark_at < q.looked_at then q.mark_at
                      when q.mark_at is null and q.ready > 0 then q.passed_at end, h.held_since) as since,
           case when q.mark_left > 0 and q.mark_at < q.looked_at then q.mark_left else 0 end as messages
    from (
        select min(c.held_since) as held_since from core.queue_consumers c
        where c.queue = q.queue and c.held_since < c.looked_at - interval '1 second'
          and c.looked_at > now() - interval '15 seconds' -- as core.looks_live()
    ) h
) w on true
group by d.domain;
comment on view core.queue_progress is 'Progress of the queues of each domain: up to when everything in them is staged';
comment on column core.queue_progress.domain is 'Domain';
comment on column core.queue_progress.observed_at is 'Last look at its queues, and at that of given up messages, all of them; null when one was never seen';
comment on column core.queue_progress.passed_at is 'Every message that was in one of its queues before is staged, or in quarantine; null when that was never seen';
comment on column core.queue_progress.queued_since is 'Since when, at least, messages wait in its queues or in the hands of a worker; null when none was seen to';
comment on column core.queue_progress.dead is 'Messages, of whatever domain, that the broker gave up and that are not in quarantine yet';
comment on column core.queue_progress.dead_since is 'Since when, at least';
