-- Ticks: functions of a domain that the worker calls by the clock (ADR 63).

create table core.ticks (
    function      text primary key check (function ~ '^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$'),
    domain        text not null,
    every         interval not null check (every between interval '1 second' and interval '31 days'),
    at_most       interval not null default '5 seconds' check (at_most between interval '100 milliseconds' and interval '1 minute'),
    changes       text[] not null default '{}',
    registered_at timestamptz not null default clock_timestamp(),
    constraint function_of_the_domain check (split_part(function, '.', 1) = domain)
);
comment on table core.ticks is 'Functions that the worker calls at intervals; written from sql/rules by worker migrate';
comment on column core.ticks.function is 'The function, with its schema, which is the domain: takes a timestamptz, returns the number of rows that it changed as an integer';
comment on column core.ticks.domain is 'Domain';
comment on column core.ticks.every is 'Interval between two calls';
comment on column core.ticks.at_most is 'Time limit of a call, during which promotion of the domain waits';
comment on column core.ticks.changes is 'Core tables and derived tables that it writes: marts that read them are refreshed after a call that changed rows';
comment on column core.ticks.registered_at is 'When it was registered';

-- Apart from core.ticks: worker migrate writes that table in a snapshot, while workers write this one.
create table core.tick_state (
    function    text primary key,
    due_at      timestamptz not null default clock_timestamp(),
    ran_at      timestamptz,
    changed     integer,
    duration_ms double precision,
    failures    integer not null default 0,
    failed_at   timestamptz,
    error       text
) with (fillfactor = 50);
comment on table core.tick_state is 'The last calls of each tick; its row is locked while the function runs';
comment on column core.tick_state.function is 'The function, as in core.ticks';
comment on column core.tick_state.due_at is 'When it is to be called next';
comment on column core.tick_state.ran_at is 'Time that its last successful call was given; null before the first';
comment on column core.tick_state.changed is 'Rows that this call changed';
comment on column core.tick_state.duration_ms is 'How long it took';
comment on column core.tick_state.failures is 'Calls that failed since then';
comment on column core.tick_state.failed_at is 'Last call that failed';
comment on column core.tick_state.error is 'Its error; null after a successful call';

comment on table core.etl_run_log is 'Runs of the loops promote, check, refresh and ticks that had something to do';
comment on column core.etl_run_log.loop is 'promote, check, refresh or ticks';
comment on column core.etl_run_log.processed_count is 'Rows promoted, rules checked, marts refreshed, rows changed by a tick';
comment on column core.etl_run_log.error_count is 'Rows left pending, rules failing, marts and ticks that failed';
