-- As of when, complete until when, to be trusted? From watermarks and ledger, never from the rows of a domain.

create or replace view core.mart_progress as
with waiting as materialized (
    select e.domain, e.entity, min(e.oldest_published_at) as published_at, min(b.received_at) as received_at
    from core.batches b
    join core.batch_entities e on e.batch_id = b.batch_id
    where b.state = 'staged' and e.staged > 0
    group by e.domain, e.entity
), deferred as materialized (
    select e.domain, e.entity, sum(e.pending) as rows, min(e.oldest_published_at) as published_at
    from core.batch_entities e
    where e.pending > 0
    group by e.domain, e.entity
), refused as materialized (
    select q.domain, q.entity, count(*) as rows, min(q.received_at) as received_at
    from core.quarantine_open q
    group by q.domain, q.entity
), reached as materialized (
    -- A queue keeps its order: what was published before the newest message that came, came before it. What
    -- waits in another queue, in the hands of another worker, or says no time: see core.queue_progress.
    select d.domain, greatest((
        select max(b.newest_published_at) from core.batch_entities b where b.domain = d.domain and not b.settled
    ), (select max(t.newest_published_at) from core.settled_totals t where t.domain = d.domain),
       (select max(s.newest_published_at) from core.entity_state s where s.domain = d.domain)) as published_at
    from (select distinct domain from core.entities) d
), held as materialized (
    -- The message that keeps complete_through back, when it waits for a row it refers to.
    select e.domain, e.entity, (
        select p.message_id from core.pending p
        where p.entity = e.domain || '.' || e.entity and not p.ready order by p.since limit 1
    ) as message_id
    from deferred e
), entity as materialized (
    select e.domain, e.core_table, s.changed_at, s.newest_published_at, r.published_at as reached,
           least(w.published_at, p.published_at) as lacks, w.received_at as waiting_since,
           p.published_at as deferred_at, h.message_id as deferred_id,
           coalesce(p.rows, 0) + coalesce(q.rows, 0) as missing, least(p.published_at, q.received_at) as missing_since
    from core.entities e
    left join core.entity_state s on s.domain = e.domain and s.entity = e.entity
    left join waiting w on w.domain = e.domain and w.entity = e.entity
    left join deferred p on p.domain = e.domain and p.entity = e.entity
    left join refused q on q.domain = e.domain and q.entity = e.entity
    left join reached r on r.domain = e.domain
    left join held h on h.domain = e.domain and h.entity = e.entity
)
select m.mart, max(e.changed_at) as changed_at, max(e.newest_published_at) as newest_published_at,
       case when min(e.reached) is not null and min(q.passed_at) is not null
            then least(min(e.reached), min(q.passed_at), min(e.lacks) - interval '1 microsecond') end as complete_through,
       min(e.waiting_since) as waiting_since,
       coalesce(sum(e.missing), 0)::bigint + coalesce(max(u.rows), 0) + coalesce(max(q.dead), 0) as missing,
       least(min(e.missing_since), min(u.received_at), min(q.dead_since)) as missing_since,
       min(q.queued_since) as queued_since, min(q.observed_at) as observed_at,
       (array_agg(e.deferred_id order by e.deferred_at) filter (where e.deferred_id is not null and e.deferred_at = e.lacks))[1] as held_by
from core.marts m
left join entity e on e.core_table = any (m.depends_on)
left join refused u on u.domain = m.domain and u.entity is null
left join core.queue_progress q on q.domain = m.domain
group by m.mart;
comment on view core.mart_progress is 'How far the core tables are that each mart reads';
comment on column core.mart_progress.mart is 'Mart';
comment on column core.mart_progress.changed_at is 'Last change of these tables';
comment on column core.mart_progress.newest_published_at is 'Newest publish time of what was merged into them';
comment on column core.mart_progress.complete_through is 'Everything published up to then is in them; see marts.freshness';
comment on column core.mart_progress.waiting_since is 'Arrival of the oldest message for them that waits for promotion';
comment on column core.mart_progress.missing is 'Messages for them that wait for the row they refer to, or are open in quarantine';
comment on column core.mart_progress.queued_since is 'Since when, at least, messages wait in the queues of its domain';
comment on column core.mart_progress.observed_at is 'Last look at these queues';
comment on column core.mart_progress.held_by is 'Message that complete_through waits for, when it waits for the row it refers to';
comment on column core.mart_progress.missing_since is 'Since when: arrival of the oldest in quarantine, or publish time of the oldest message that came with those that wait';

create or replace view core.mart_status as
with gate as materialized (
    select g.mart, array_agg(g.rule order by g.rule) as rules,
           array_agg(g.rule order by g.rule) filter (where g.gate = 'closed') as closed,
           array_agg(g.rule order by g.rule) filter (where not g.blocks) as own
    from core.gates g
    group by g.mart
), checked as materialized (
    select r.mart, case when bool_and(l.check_time is not null) then min(l.check_time) end as checked_at
    from core.mart_rules r
    join (
        select q.rule, d.check_time
        from core.dq_rules q
        left join lateral (
            select x.check_time from core.dq_results x where x.check_name = q.rule order by x.id desc limit 1
        ) d on true
    ) l on l.rule = r.rule
    group by r.mart
)
select m.mart, m.domain, m.kind, m.position, m.objective, p.changed_at,
       case m.kind when 'view' then now() else l.finished_at end as refreshed_at,
       case when d.shows_the_core then p.newest_published_at else l.newest_published_at end as data_as_of,
       case when d.shows_the_core then p.complete_through else l.complete_through end as complete_through,
       p.missing, p.missing_since,
       t.needs_refresh, t.needs_refresh and g.closed is null as due,
       case when m.kind = 'view' then 'none' when g.closed is not null then 'closed'
            when cardinality(g.rules) > coalesce(cardinality(g.own), 0) then 'opened' else 'open' end as gate,
       b.blocking_rules,
       -- A version older than the failure passed its rules when it was refreshed.
       case when d.shows_the_core then cardinality(b.blocking_rules) = 0
            else coalesce(l.blocking_rules = '{}', true) and g.own is null end as trusted,
       k.checked_at, l.promoted_through,
       least(p.waiting_since, case when m.kind = 'materialized' and not d.shows_the_core then coalesce((
           select c.promoted_at from core.batches c
           where c.state = 'promoted' and c.domain = m.domain and c.promoted_at > coalesce(l.promoted_through, '-infinity')
             and exists (
                 select from core.batch_entities x
                 join core.entities e on e.domain = x.domain and e.entity = x.entity
                 where x.batch_id = c.batch_id and x.inserted + x.updated > 0 and e.core_table = any (m.depends_on))
           order by c.promoted_at limit 1
       ), p.changed_at) end) as behind_since,
       p.queued_since, p.observed_at, p.held_by
from core.marts m
join core.mart_progress p on p.mart = m.mart
left join gate g on g.mart = m.mart
left join checked k on k.mart = m.mart
left join lateral (
    select r.* from core.mart_refresh_log r
    where r.mart = m.mart and r.status = 'ok' order by r.id desc limit 1
) l on true
cross join lateral (
    select m.kind = 'view' or p.changed_at is null or coalesce(l.data_as_of >= p.changed_at, false) as shows_the_core
) d
cross join lateral (
    -- Also when what was refreshed in spite of a rule could now be refreshed in peace.
    select m.kind = 'materialized' and (not d.shows_the_core
        or not coalesce(l.blocking_rules, '{}') <@ coalesce(g.rules, '{}')) as needs_refresh
) t
cross join lateral (
    select array(select unnest(g.rules) union select unnest(l.blocking_rules) where m.kind = 'materialized' order by 1) as blocking_rules
) b;
comment on view core.mart_status is 'Each mart: what it shows, what it lacks, whether it may be refreshed. Source of marts.freshness and of the refresh loop';
comment on column core.mart_status.mart is 'Mart';
comment on column core.mart_status.domain is 'Domain';
comment on column core.mart_status.kind is 'view or materialized';
comment on column core.mart_status.position is 'Order of the refresh';
comment on column core.mart_status.objective is 'How long it may lack what has arrived';
comment on column core.mart_status.changed_at is 'Last change of the tables that it reads';
comment on column core.mart_status.refreshed_at is 'Last refresh; now for a view';
comment on column core.mart_status.data_as_of is 'Newest publish time of what it shows';
comment on column core.mart_status.complete_through is 'Everything published up to then is in it; see marts.freshness';
comment on column core.mart_status.missing is 'Messages that wait for the row they refer to, or are open in quarantine';
comment on column core.mart_status.missing_since is 'Since when: arrival of the oldest in quarantine, or publish time of the oldest message that came with those that wait';
comment on column core.mart_status.needs_refresh is 'Whether a refresh would show something else';
comment on column core.mart_status.due is 'Whether it needs a refresh and its gate is not closed';
comment on column core.mart_status.gate is 'open, closed, opened (by somebody, although rules fail), or none for a view';
comment on column core.mart_status.blocking_rules is 'Rules of severity error that fail on what it reads, or failed on what it shows';
comment on column core.mart_status.trusted is 'Whether what it shows has passed its rules';
comment on column core.mart_status.checked_at is 'Its rules have run since then, all of them; null when one has never run';
comment on column core.mart_status.promoted_through is 'Last promotion of the domain before its last refresh';
comment on column core.mart_status.behind_since is 'Since when it has lacked something that is staged; null when it shows all of that';
comment on column core.mart_status.queued_since is 'Since when, at least, messages wait in the queues of its domain';
comment on column core.mart_status.observed_at is 'Last look at these queues';
comment on column core.mart_status.held_by is 'Message that complete_through waits for, when it waits for the row it refers to';

create or replace view marts.freshness as
select s.mart, s.domain, s.kind,
       case when s.gate = 'closed' and s.data_as_of is null and s.needs_refresh then 'blocked'
            when s.data_as_of is null then 'empty'
            when not s.trusted then 'untrusted'
            when s.gate = 'closed' and s.needs_refresh then 'blocked'
            when now() - least(s.behind_since, s.queued_since) > s.objective then 'late'
            -- After the clock was set back, old looks lie in the future; they do not count as recent.
            when coalesce(s.observed_at between now() - interval '30 seconds' and now() + interval '30 seconds', false) then 'fresh'
            else 'unknown' end as status,
       s.trusted, s.data_as_of, s.complete_through, s.missing, s.missing_since, s.refreshed_at, s.checked_at,
       s.objective, least(s.behind_since, s.queued_since) as behind_since, s.gate, s.blocking_rules,
       s.observed_at, s.held_by, extract(epoch from s.objective)::double precision as objective_s
from core.mart_status s
order by s.domain, s.position, s.mart;
comment on view marts.freshness is 'One row per mart: how recent, up to when complete, and whether it can be trusted. All times are those of the server';
comment on column marts.freshness.mart is 'Mart';
comment on column marts.freshness.domain is 'Domain';
comment on column marts.freshness.kind is 'view: always live; materialized: refreshed when the core has changed and its gate is not closed';
comment on column marts.freshness.status is 'empty: shows no message yet; untrusted: shows data that fail a rule of severity error; blocked: shows older data that passed, newer ones fail a rule; late: has lacked something that arrived for longer than its objective; unknown: nothing of this, but its queues were not seen for 30 s (see observed_at), so messages may wait there; fresh: none of these. The first that applies';
comment on column marts.freshness.trusted is 'Whether no rule of severity error fails on what the mart shows; checked before each refresh, for a view every CHECK_EVERY';
comment on column marts.freshness.data_as_of is 'As of when: publish time (arrival when a message says none) of the newest batch of messages in the mart';
comment on column marts.freshness.complete_through is 'Complete until when: every message for its tables that was published up to then and could be promoted is in it: none of them waits in the queue, for promotion or for a row it refers to. It steps back when an older one turns up; null when the queues were never seen. See missing for those in quarantine, held_by for a message that keeps it back';
comment on column marts.freshness.missing is 'Messages that the mart lacks, however old: they wait for a row they refer to, are open in quarantine (also those of the domain with an unknown type), or were given up by the broker and are not in quarantine yet, of whatever domain. 0: nothing is missing up to complete_through';
comment on column marts.freshness.missing_since is 'Since when: arrival of the oldest in quarantine, or publish time of the oldest message that came with those that wait';
comment on column marts.freshness.refreshed_at is 'Last refresh; now for a view';
comment on column marts.freshness.checked_at is 'Each of its rules has run since then; null when one has never run';
comment on column marts.freshness.objective is 'How long it may lack what has arrived';
comment on column marts.freshness.behind_since is 'Since when, at least, it has lacked something that has arrived, in the queue or later (other than the missing); null when it was seen to show everything';
comment on column marts.freshness.gate is 'open; closed: not refreshed while the blocking rules fail; opened: refreshed all the same, somebody decided so; none: a view cannot be blocked';
comment on column marts.freshness.blocking_rules is 'Rules of severity error that fail on what it reads, or failed on what it shows; core.dq_status says more';
comment on column marts.freshness.observed_at is 'Last look at the queues that its messages come by, all of them, with every consumer reporting its messages; null when one was never seen. Older than 30 s: messages may wait there';
comment on column marts.freshness.held_by is 'Message that keeps complete_through back because it waits for a row it refers to; worker trace says which; null when none does';
comment on column marts.freshness.objective_s is 'The objective in seconds, for tools that know no intervals';
