-- Data quality: runs the rules of a domain and keeps every result.

create or replace function core.run_rule(p_name text) returns core.dq_results
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_rule core.dq_rules;
    v_begin timestamptz := clock_timestamp();
    v_saw timestamptz;
    v_outcome text;
    v_failing bigint;
    v_sample text[];
    v_measured numeric;
    v_details text;
    v_result core.dq_results;
begin
    select r.* into strict v_rule from core.dq_rules r where r.rule = p_name;
    -- Before the rule looks: it sees this change at least.
    select max(s.changed_at) into v_saw from core.entity_state s where s.domain = v_rule.domain;
    begin
        execute format('select count(*), coalesce((array_agg(f.key::text))[1:5], ''{}'') from (%s) f', v_rule.failing_rows)
        into v_failing, v_sample;
        v_measured := v_failing;
        if v_rule.measure is not null then
            execute v_rule.measure into v_measured;
        end if;
        -- A measure of nothing (no rows yet) is no failure.
        if v_measured is null or v_measured <= v_rule.threshold then
            v_outcome := 'pass';
            v_details := v_rule.description;
        else
            v_outcome := case v_rule.severity when 'error' then 'fail' else 'warn' end;
            v_details := format('measured %s, allowed %s. %s', v_measured, v_rule.threshold, v_rule.remedy);
        end if;
    exception when query_canceled or assert_failure or others then
        -- A rule that cannot run gets outcome error, and the other rules still run. "others" does not include
        -- query_canceled: without it, a rule that exceeds statement_timeout would end the whole check.
        v_outcome := 'error';
        v_failing := null;
        v_measured := null;
        v_sample := '{}';
        v_details := format('the rule could not run: %s (%s)', sqlerrm, sqlstate);
    end;
    insert into core.dq_results (check_name, schema_name, table_name, passed, details, check_time, domain, severity,
        outcome, measured, threshold, failing_count, sample_keys, duration_ms, saw_change_at)
    values (v_rule.rule, v_rule.schema_name, v_rule.table_name, v_outcome = 'pass', v_details, clock_timestamp(),
        v_rule.domain, v_rule.severity, v_outcome, v_measured, v_rule.threshold, v_failing, v_sample,
        extract(epoch from clock_timestamp() - v_begin) * 1000, v_saw)
    returning * into v_result;
    return v_result;
end
$$;
comment on function core.run_rule(text) is 'Runs a rule and appends its result to core.dq_results';

-- A time limit of its own for each rule: statement_timeout is measured per statement of the client
-- and does not begin anew inside a function, so the worker calls rule by rule.
create or replace function core.check_rule(p_rule text)
returns table (rule text, severity text, outcome text, failing_count bigint, duration_ms double precision)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select r.check_name, r.severity, r.outcome, r.failing_count, r.duration_ms from core.run_rule(p_rule) r
$$;
comment on function core.check_rule(text) is 'Runs a rule and appends its result to core.dq_results; returns the result';

create or replace function core.rule_did_not_run(p_rule text, p_error text)
returns table (rule text, severity text, outcome text, failing_count bigint, duration_ms double precision)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into core.dq_results as d (check_name, schema_name, table_name, passed, details, check_time, domain, severity,
        outcome, threshold, saw_change_at)
    select r.rule, r.schema_name, r.table_name, false, 'the rule could not run: ' || p_error, clock_timestamp(), r.domain, r.severity,
           'error', r.threshold, (select max(s.changed_at) from core.entity_state s where s.domain = r.domain)
    from core.dq_rules r where r.rule = p_rule
    returning d.check_name, d.severity, d.outcome, d.failing_count, 0::double precision
$$;
comment on function core.rule_did_not_run(text, text) is 'Keeps the failure of a rule whose own statement failed';

create or replace function core.checks_done(p_domain text, p_started timestamptz, p_checked bigint, p_failed bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform core.end_openings();
    -- The rule that blocked a mart may have passed.
    perform pg_notify('acequia', 'gates ' || p_domain);
    insert into core.etl_run_log (loop, domain, started_at, finished_at, status, processed_count, error_count)
    values ('check', p_domain, p_started, clock_timestamp(), 'ok', p_checked, p_failed);
end
$$;
comment on function core.checks_done(text, timestamptz, bigint, bigint) is 'Ends a run of the rules of a domain: openings of gates whose rules have changed, and the entry of the run log';

create or replace function core.checks_due_in(p_domain text, p_every interval) returns interval
language sql stable set search_path = pg_catalog, pg_temp as $$
    -- However much there is to read, rules leave the server to the messages nine tenths of the time.
    select greatest(r.started_at + p_every, r.finished_at + 9 * (r.finished_at - r.started_at)) - clock_timestamp()
    from core.etl_run_log r
    where r.loop = 'check' and r.domain = p_domain
    order by r.started_at desc
    limit 1
$$;
comment on function core.checks_due_in(text, interval) is 'Time until the rules of a domain are to run again, whichever worker does it; null when they never have';

create or replace function core.due_rules(p_domain text, p_every interval) returns text[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- However many workers there are, the rules are read once. Looked at again under the lock.
    if coalesce(core.checks_due_in(p_domain, p_every) <= interval '0', true)
        and core.try_lock('check.' || p_domain)
        and coalesce(core.checks_due_in(p_domain, p_every) <= interval '0', true) then
        return array(select r.rule from core.dq_rules r where r.domain = p_domain and r.enabled order by r.rule);
    end if;
    return null;
end
$$;
comment on function core.due_rules(text, interval) is 'The rules of a domain when they are due and no worker is at it, else null. Until the transaction ends no other worker runs them';

-- Called by programs before version 11 of the schema: all rules in one statement.
create or replace function core.run_checks(p_domain text)
returns table (rule text, severity text, outcome text, failing_count bigint, duration_ms double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_started timestamptz := clock_timestamp();
    v_rule text;
    v_checked bigint := 0;
    v_failed bigint := 0;
begin
    for v_rule in
        select r.rule from core.dq_rules r where r.domain = p_domain and r.enabled order by r.rule
    loop
        select c.* into rule, severity, outcome, failing_count, duration_ms from core.check_rule(v_rule) c;
        v_checked := v_checked + 1;
        v_failed := v_failed + (outcome <> 'pass')::int;
        return next;
    end loop;
    perform core.checks_done(p_domain, v_started, v_checked, v_failed);
end
$$;
comment on function core.run_checks(text) is 'Runs every enabled rule of a domain and appends the results, passes too, to core.dq_results';

create or replace function core.run_due_checks(p_domain text, p_every interval)
returns table (rule text, severity text, outcome text, failing_count bigint, duration_ms double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if core.due_rules(p_domain, p_every) is not null then
        return query select c.* from core.run_checks(p_domain) c;
    end if;
end
$$;
comment on function core.run_due_checks(text, interval) is 'Runs the rules of a domain when they are due and no worker is at it; see core.run_checks';

create or replace view core.dq_status as
select r.domain, r.rule, r.schema_name || '.' || r.table_name as table_name, r.test, r.severity,
       coalesce(l.outcome, 'never run') as outcome, l.measured, r.threshold, l.failing_count, l.sample_keys,
       l.check_time, l.details
from core.dq_rules r
left join lateral (
    select d.* from core.dq_results d where d.check_name = r.rule order by d.id desc limit 1
) l on true
where r.enabled
order by r.domain, r.severity, r.rule;
comment on view core.dq_status is 'The latest result of every data quality rule';
comment on column core.dq_status.domain is 'Domain';
comment on column core.dq_status.rule is 'Rule';
comment on column core.dq_status.table_name is 'Table it watches';
comment on column core.dq_status.test is 'Kind of test, by dbt''s names';
comment on column core.dq_status.severity is 'warn or error';
comment on column core.dq_status.outcome is 'pass, warn, fail, error, or never run';
comment on column core.dq_status.measured is 'Measured value';
comment on column core.dq_status.threshold is 'The rule passes when the measure is at most this';
comment on column core.dq_status.failing_count is 'Failing rows';
comment on column core.dq_status.sample_keys is 'Keys of up to five failing rows';
comment on column core.dq_status.check_time is 'When it was checked';
comment on column core.dq_status.details is 'Result in words';
