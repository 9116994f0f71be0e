-- Gates: a materialized mart is not refreshed while a rule of severity error fails on what it reads.

create or replace view core.mart_rules as
select m.mart, m.domain, m.kind, r.rule, r.schema_name || '.' || r.table_name <> m.mart as holds
from core.marts m
join core.dq_rules r on r.enabled and r.severity = 'error' and (
    r.schema_name || '.' || r.table_name = any (m.depends_on)
    or exists (select from core.derived_tables t
        where t.table_name = r.schema_name || '.' || r.table_name and t.core_table = any (m.depends_on))
    or r.schema_name || '.' || r.table_name = m.mart
    or (r.domain = m.domain and r.schema_name in ('core', 'raw', 'stg')));
comment on view core.mart_rules is 'The rules of severity error that a mart''s trust depends on: on the tables that it reads, on the mart itself, and on the platform''s own tables for its domain';
comment on column core.mart_rules.mart is 'Mart';
comment on column core.mart_rules.domain is 'Domain of the mart';
comment on column core.mart_rules.kind is 'view or materialized';
comment on column core.mart_rules.rule is 'Rule';
comment on column core.mart_rules.holds is 'Whether its failure holds the refresh; not for a rule on the mart itself, which only a refresh can mend';

create or replace view core.gates as
with failing as materialized (
    select r.rule, l.id as result_id, l.outcome, l.measured, l.threshold, l.failing_count, l.sample_keys, l.check_time, l.details
    from core.dq_rules r
    cross join lateral (
        select d.* from core.dq_results d where d.check_name = r.rule order by d.id desc limit 1
    ) l
    where r.enabled and r.severity = 'error' and l.outcome in ('fail', 'error')
)
select g.mart, g.domain, g.kind, g.rule, g.holds,
       case when not g.blocks or g.kind = 'view' then 'none' when o.opening_id is null then 'closed' else 'opened' end as gate,
       f.outcome, f.measured, f.threshold, f.failing_count, f.sample_keys, s.check_time as failing_since, f.check_time, f.details,
       o.opened_at, o.until as opened_until, o.who as opened_by, o.reason, f.result_id
from failing f
join core.mart_rules g on g.rule = f.rule
cross join lateral (
    select d.check_time from core.dq_results d
    where d.check_name = f.rule and d.id > coalesce((
        select p.id from core.dq_results p where p.check_name = f.rule and p.passed order by p.id desc limit 1), 0)
    order by d.id limit 1
) s
left join lateral (
    select p.* from core.gate_openings p
    where p.mart = g.mart and p.rule = g.rule and p.ended_at is null
      and case when p.until is null then f.measured is not distinct from p.measured or f.measured <= p.measured
               else p.until > now() end
    order by p.opening_id desc limit 1
) o on true;
comment on view core.gates is 'Rules of severity error that fail, or cannot run, and the marts that they concern; no row, no trouble';
comment on column core.gates.mart is 'Mart';
comment on column core.gates.domain is 'Domain of the mart';
comment on column core.gates.kind is 'view or materialized';
comment on column core.gates.rule is 'Rule';
comment on column core.gates.holds is 'Whether the rule holds refreshes; not one on the mart itself';
comment on column core.gates.gate is 'closed: the mart is not refreshed; opened: it is, somebody decided so; none: nothing to block, as in a live view';
comment on column core.gates.outcome is 'fail, or error when the rule could not run';
comment on column core.gates.measured is 'Measured value';
comment on column core.gates.threshold is 'The rule passes when the measure is at most this';
comment on column core.gates.failing_count is 'Failing rows';
comment on column core.gates.sample_keys is 'Keys of up to five failing rows';
comment on column core.gates.failing_since is 'First result since it last passed';
comment on column core.gates.check_time is 'Last result';
comment on column core.gates.details is 'Result in words, and what to do';
comment on column core.gates.opened_at is 'When the gate was opened';
comment on column core.gates.opened_until is 'Until when; null: until the result of the rule changes';
comment on column core.gates.opened_by is 'Who opened it';
comment on column core.gates.reason is 'Why';
comment on column core.gates.result_id is 'Last result in core.dq_results';

create or replace function core.end_openings() returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with over as (
        update core.gate_openings o
        set ended_at = clock_timestamp(),
            ended_by = case when r.passed then 'the rule passed' when r.id is not null then 'the rule got worse' else 'its time was up' end
        from core.gate_openings w
        left join lateral (
            select d.id, d.passed from core.dq_results d
            where d.check_name = w.rule and d.id > w.result_id
              and (d.passed or (w.until is null and d.measured is distinct from w.measured and not coalesce(d.measured <= w.measured, false)))
            order by d.id limit 1
        ) r on true
        where o.opening_id = w.opening_id and w.ended_at is null and (r.id is not null or w.until <= now())
        returning o.opening_id
    )
    select count(*) from over
$$;
comment on function core.end_openings() is 'Ends the openings of gates whose time is up or whose rule gave another result; returns how many';

create or replace function core.open_gate(p_marts text[], p_for interval, p_who text, p_reason text)
returns table (mart text, rule text, until timestamptz)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select pg_notify('acequia', 'gates ' || m.domain) from core.marts m where p_marts is null or m.mart = any (p_marts) group by m.domain;
    with ended as (
        update core.gate_openings o set ended_at = clock_timestamp(), ended_by = 'opened anew'
        from core.gates g
        where g.gate <> 'none' and (p_marts is null or g.mart = any (p_marts))
          and o.mart = g.mart and o.rule = g.rule and o.ended_at is null
    ), opened as (
        insert into core.gate_openings (mart, rule, until, result_id, measured, who, reason)
        select g.mart, g.rule, clock_timestamp() + p_for, g.result_id, g.measured, coalesce(p_who, session_user), p_reason
        from core.gates g
        where g.gate <> 'none' and (p_marts is null or g.mart = any (p_marts))
        returning gate_openings.mart, gate_openings.rule, gate_openings.until
    ), noted as (
        insert into core.audit_log (who, action, marts, filters, reason)
        select coalesce(p_who, session_user), 'open_gate', array_agg(distinct o.mart),
               jsonb_build_object('rules', jsonb_agg(distinct o.rule), 'until', max(o.until)), p_reason
        from opened o having count(*) > 0
    )
    select o.mart, o.rule, o.until from opened o order by o.mart, o.rule
$$;
comment on function core.open_gate(text[], interval, text, text) is 'Lets marts, all when null, be refreshed although rules fail on them: for a time, or (null) until the rules give other results';

create or replace function core.close_gate(p_marts text[], p_who text, p_reason text)
returns table (mart text, rule text)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with closed as (
        update core.gate_openings o set ended_at = clock_timestamp(), ended_by = 'closed'
        where o.ended_at is null and (p_marts is null or o.mart = any (p_marts))
        returning o.mart, o.rule
    ), noted as (
        insert into core.audit_log (who, action, marts, filters, reason)
        select coalesce(p_who, session_user), 'close_gate', array_agg(distinct c.mart),
               jsonb_build_object('rules', jsonb_agg(distinct c.rule)), p_reason
        from closed c having count(*) > 0
    )
    select c.mart, c.rule from closed c order by c.mart, c.rule
$$;
comment on function core.close_gate(text[], text, text) is 'Takes back the openings of marts, of all when null';
