-- The platform: schemas, roles, accounting of messages, quarantine, data quality, marts.
-- Nothing here knows a domain. Schema core exists already: it holds the migration history.

create schema raw;
create schema stg;
create schema marts;
comment on schema raw is 'What could not be promoted, as it came';
comment on schema stg is 'Validated messages on their way to the core, one table per entity; the replay log until retention ends';
comment on schema core is 'Accounting, data quality, lineage: the tables of the platform itself';
comment on schema marts is 'What analysts read';

-- Roles belong to the whole server: another database may have made them already.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['acequia_worker', 'acequia_publisher', 'acequia_api', 'acequia_analyst'] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
                execute format('create role %I login', v_role);
            end if;
        exception when duplicate_object or unique_violation then
            null; -- made by a neighbour between the look and the statement
        end;
    end loop;
end
$$;

create table core.entities (
    domain      text not null,
    entity      text not null,
    position    integer not null,
    staging     text not null,
    merge       text not null,
    core_table  text not null,
    key_columns text[] not null,
    fields      text[] not null,
    primary key (domain, entity)
);
comment on table core.entities is 'The catalog of message types as the program knows it; written by worker migrate, never by hand';
comment on column core.entities.domain is 'Domain: queue acequia.<domain> and core schema';
comment on column core.entities.entity is 'Entity inside the domain';
comment on column core.entities.position is 'Order of the merges: parents before children';
comment on column core.entities.staging is 'Staging table';
comment on column core.entities.merge is 'Function that merges staged batches';
comment on column core.entities.core_table is 'Core table';
comment on column core.entities.key_columns is 'Staging columns of the natural key';
comment on column core.entities.fields is 'Staging columns that come from the message';

create sequence core.batch_id;
create table core.batches (
    batch_id     bigint primary key default nextval('core.batch_id'),
    domain       text not null,
    queue        text not null,
    worker       text not null,
    received_at  timestamptz not null default now(),
    published_at timestamptz,
    promoted_at  timestamptz,
    state        text not null check (state in ('staged', 'promoted'))
);
create index batches_staged on core.batches (domain, batch_id) where state = 'staged';
create index batches_promoted on core.batches (promoted_at) where state = 'promoted';
comment on table core.batches is 'One row per batch of messages taken from a queue, written in the transaction that stages them';
comment on column core.batches.batch_id is 'Number of the batch';
comment on column core.batches.domain is 'Domain of the queue';
comment on column core.batches.queue is 'Queue it came from';
comment on column core.batches.worker is 'Process that took it';
comment on column core.batches.received_at is 'When it was staged';
comment on column core.batches.published_at is 'Publish time of its oldest message';
comment on column core.batches.promoted_at is 'When its rows were merged';
comment on column core.batches.state is 'staged: waits for promotion; promoted: every row is accounted for in batch_entities';

create table core.batch_entities (
    batch_id    bigint not null references core.batches,
    domain      text not null,
    entity      text not null,
    received    integer not null,
    duplicates  integer not null default 0,
    staged      integer not null default 0,
    inserted    integer not null default 0,
    updated     integer not null default 0,
    unchanged   integer not null default 0,
    stale       integer not null default 0,
    pending     integer not null default 0,
    quarantined integer not null default 0,
    primary key (batch_id, entity),
    -- The promise of the platform, kept by the database itself: a transaction that would lose
    -- count of a message cannot commit.
    constraint every_message_is_accounted_for
        check (received = duplicates + staged + inserted + updated + unchanged + stale + pending + quarantined),
    constraint no_count_is_negative
        check (least(received, duplicates, staged, inserted, updated, unchanged, stale, pending, quarantined) >= 0)
);
create index batch_entities_entity on core.batch_entities (domain, entity);
comment on table core.batch_entities is 'Where the messages of a batch are now, per entity; the sum is checked by constraint';
comment on column core.batch_entities.batch_id is 'Batch';
comment on column core.batch_entities.domain is 'Domain';
comment on column core.batch_entities.entity is 'Entity, (unknown) when none could be told';
comment on column core.batch_entities.received is 'Messages taken from the queue';
comment on column core.batch_entities.duplicates is 'Messages seen before';
comment on column core.batch_entities.staged is 'Rows that wait for promotion';
comment on column core.batch_entities.inserted is 'Rows that made a new core row';
comment on column core.batch_entities.updated is 'Rows that changed a core row';
comment on column core.batch_entities.unchanged is 'Newer rows with the same values as the core row';
comment on column core.batch_entities.stale is 'Rows superseded by a newer version';
comment on column core.batch_entities.pending is 'Rows that wait for the row they refer to';
comment on column core.batch_entities.quarantined is 'Messages in raw.quarantine';

create table core.settled_totals (
    domain      text not null,
    entity      text not null,
    received    bigint not null,
    duplicates  bigint not null,
    inserted    bigint not null,
    updated     bigint not null,
    unchanged   bigint not null,
    stale       bigint not null,
    quarantined bigint not null,
    primary key (domain, entity),
    constraint every_message_is_accounted_for
        check (received = duplicates + inserted + updated + unchanged + stale + quarantined)
);
comment on table core.settled_totals is 'Accounts of batches whose retention has ended, summed up';
comment on column core.settled_totals.domain is 'Domain';
comment on column core.settled_totals.entity is 'Entity';
comment on column core.settled_totals.received is 'Messages taken from the queue';
comment on column core.settled_totals.duplicates is 'Messages seen before';
comment on column core.settled_totals.inserted is 'Rows that made a new core row';
comment on column core.settled_totals.updated is 'Rows that changed a core row';
comment on column core.settled_totals.unchanged is 'Newer rows with the same values as the core row';
comment on column core.settled_totals.stale is 'Rows superseded by a newer version';
comment on column core.settled_totals.quarantined is 'Messages put in quarantine';

create type core.merge_outcome as (
    batch_id  bigint,
    staged    integer,
    inserted  integer,
    updated   integer,
    unchanged integer,
    stale     integer,
    pending   integer
);
comment on type core.merge_outcome is 'What a merge function did with the rows of one batch: staged rows taken, their outcomes, and the change in the number of pending rows';

create table core.staging_envelope (
    message_id   uuid not null,
    day          date not null,
    batch_id     bigint not null,
    event_at     timestamptz not null,
    published_at timestamptz,
    ts_ingesta   timestamptz not null default now()
);
comment on table core.staging_envelope is 'Columns that every staging table begins with; holds no rows';
comment on column core.staging_envelope.message_id is 'Identity of the message: the AMQP message_id, or derived from it or from queue and bytes';
comment on column core.staging_envelope.day is 'Day inside the identity (UUIDv7), 1970-01-01 when it has none; partition key, so that a copy always meets its original';
comment on column core.staging_envelope.batch_id is 'Batch it was staged in';
comment on column core.staging_envelope.event_at is 'Event time: decides which version is newer';
comment on column core.staging_envelope.published_at is 'When the publisher sent it';
comment on column core.staging_envelope.ts_ingesta is 'When it was staged';

create table core.pending (
    entity     text not null,
    message_id uuid not null,
    day        date not null,
    batch_id   bigint not null,
    parent     text not null,
    parent_key text not null,
    since      timestamptz not null default now(),
    ready      boolean not null default false,
    primary key (entity, message_id, day)
);
create index pending_parent on core.pending (parent, parent_key) where not ready;
create index pending_ready on core.pending (entity) where ready;
create index pending_since on core.pending (since);
comment on table core.pending is 'Staged rows whose parent is missing; they become ready when it arrives';
comment on column core.pending.entity is 'Waiting entity as <domain>.<entity>';
comment on column core.pending.message_id is 'Staged row';
comment on column core.pending.day is 'Partition of the staged row';
comment on column core.pending.batch_id is 'Batch it is accounted in';
comment on column core.pending.parent is 'Missing entity as <domain>.<entity>';
comment on column core.pending.parent_key is 'Key of the missing row';
comment on column core.pending.since is 'Waiting since';
comment on column core.pending.ready is 'The parent has arrived; the next merge takes the row';

create sequence raw.quarantine_id;
create table raw.quarantine (
    quarantine_id    bigint not null default nextval('raw.quarantine_id'),
    message_id       uuid not null,
    day              date not null,
    batch_id         bigint not null,
    domain           text not null,
    entity           text,
    queue            text not null,
    stage            text not null check (stage in ('decode', 'contract', 'load', 'merge', 'broker')),
    code             text not null,
    field_path       text,
    message          text not null,
    violations       jsonb not null default '[]',
    sqlstate         text,
    body             bytea not null,
    properties       jsonb not null default '{}',
    contract_version integer not null default 1,
    fingerprint      text not null,
    occurrences      integer not null default 1,
    received_at      timestamptz not null default now(),
    last_seen_at     timestamptz not null default now(),
    status           text not null default 'open' check (status in ('open', 'replayed', 'discarded')),
    resolved_at      timestamptz,
    resolved_by      text,
    note             text,
    primary key (message_id, day)
) partition by range (day);
create index quarantine_by_id on raw.quarantine (quarantine_id);
create index quarantine_by_cause on raw.quarantine (domain, entity, code, received_at);
create index quarantine_open on raw.quarantine (received_at) where status = 'open';
create table raw.quarantine_default partition of raw.quarantine default;
comment on table raw.quarantine is 'Messages that could not be promoted, with the reason, as they came';
comment on column raw.quarantine.quarantine_id is 'Number for people';
comment on column raw.quarantine.message_id is 'Identity of the message';
comment on column raw.quarantine.day is 'Day inside the identity; partition key';
comment on column raw.quarantine.batch_id is 'Batch it arrived in';
comment on column raw.quarantine.domain is 'Domain of the queue';
comment on column raw.quarantine.entity is 'Entity; null when none could be told';
comment on column raw.quarantine.queue is 'Queue it came from';
comment on column raw.quarantine.stage is 'decode, contract, load, merge or broker';
comment on column raw.quarantine.code is 'Stable reason; see docs/contracts.md';
comment on column raw.quarantine.field_path is 'First offending field';
comment on column raw.quarantine.message is 'The first violation in words, without the value';
comment on column raw.quarantine.violations is 'All violations: code, path, message';
comment on column raw.quarantine.sqlstate is 'SQLSTATE when PostgreSQL refused the row';
comment on column raw.quarantine.body is 'The original bytes; for stage merge rebuilt from the staged columns';
comment on column raw.quarantine.properties is 'AMQP properties and headers, x-death among them';
comment on column raw.quarantine.contract_version is 'Version of the contract it was checked against';
comment on column raw.quarantine.fingerprint is 'Same cause, same fingerprint: domain, entity, code, field';
comment on column raw.quarantine.occurrences is 'How often the very same message arrived';
comment on column raw.quarantine.received_at is 'First arrival';
comment on column raw.quarantine.last_seen_at is 'Last arrival';
comment on column raw.quarantine.status is 'open, replayed or discarded';
comment on column raw.quarantine.resolved_at is 'When it left status open';
comment on column raw.quarantine.resolved_by is 'Who did it';
comment on column raw.quarantine.note is 'Why';

create table core.etl_run_log (
    run_id          bigint generated always as identity primary key,
    loop            text not null,
    domain          text not null,
    started_at      timestamptz not null,
    finished_at     timestamptz not null,
    status          text not null check (status in ('ok', 'failed')),
    processed_count bigint not null default 0,
    error_count     bigint not null default 0,
    detail          text
);
create index etl_run_log_started on core.etl_run_log (started_at);
comment on table core.etl_run_log is 'Runs of the loops promote, check and refresh that had something to do';
comment on column core.etl_run_log.run_id is 'Number of the run';
comment on column core.etl_run_log.loop is 'promote, check or refresh';
comment on column core.etl_run_log.domain is 'Domain';
comment on column core.etl_run_log.started_at is 'Begin';
comment on column core.etl_run_log.finished_at is 'End';
comment on column core.etl_run_log.status is 'ok or failed';
comment on column core.etl_run_log.processed_count is 'Rows promoted, rules checked, marts refreshed';
comment on column core.etl_run_log.error_count is 'Rows left pending, rules failing, marts that failed';
comment on column core.etl_run_log.detail is 'What went wrong';

create table core.domain_state (
    domain      text primary key,
    changed_at  timestamptz,
    promoted_at timestamptz not null
);
comment on table core.domain_state is 'How far a domain has come';
comment on column core.domain_state.domain is 'Domain';
comment on column core.domain_state.changed_at is 'Last promotion that changed a core row; null before the first';
comment on column core.domain_state.promoted_at is 'Last promotion';

create table core.dq_rules (
    rule         text primary key,
    domain       text not null,
    schema_name  text not null,
    table_name   text not null,
    test         text not null check (test in (
        'not_null', 'unique', 'accepted_values', 'relationships',
        'accepted_range', 'expression_is_true', 'recency', 'row_count')),
    severity     text not null check (severity in ('warn', 'error')),
    description  text not null,
    remedy       text not null,
    failing_rows text not null,
    measure      text,
    threshold    numeric not null default 0,
    enabled      boolean not null default true
);
comment on table core.dq_rules is 'Data quality rules as rows; written from sql/rules by worker migrate';
comment on column core.dq_rules.rule is 'Name of the rule';
comment on column core.dq_rules.domain is 'Domain';
comment on column core.dq_rules.schema_name is 'Schema of the table it watches';
comment on column core.dq_rules.table_name is 'Table it watches';
comment on column core.dq_rules.test is 'Kind of test, by dbt''s names';
comment on column core.dq_rules.severity is 'warn: look at it; error: the marts on this table are not to be trusted';
comment on column core.dq_rules.description is 'What holds when the rule passes';
comment on column core.dq_rules.remedy is 'What to do when it fails';
comment on column core.dq_rules.failing_rows is 'Query with one column key: one row per failing row';
comment on column core.dq_rules.measure is 'Query for one number, when the number of failing rows is not the measure';
comment on column core.dq_rules.threshold is 'The rule passes when the measure is at most this';
comment on column core.dq_rules.enabled is 'Whether it runs';

create table core.dq_results (
    id            bigint generated always as identity primary key,
    check_name    text not null references core.dq_rules,
    schema_name   text not null,
    table_name    text not null,
    passed        boolean not null,
    details       text,
    check_time    timestamptz not null default now(),
    domain        text not null,
    severity      text not null,
    outcome       text not null check (outcome in ('pass', 'warn', 'fail', 'error')),
    measured      numeric,
    threshold     numeric,
    failing_count bigint,
    sample_keys   text[] not null default '{}',
    duration_ms   double precision
);
create index dq_results_latest on core.dq_results (check_name, id desc);
create index dq_results_time on core.dq_results (check_time);
comment on table core.dq_results is 'Every result of every data quality rule, passes too';
comment on column core.dq_results.id is 'Number of the result';
comment on column core.dq_results.check_name is 'Rule';
comment on column core.dq_results.schema_name is 'Schema of the table';
comment on column core.dq_results.table_name is 'Table';
comment on column core.dq_results.passed is 'Whether the rule passed';
comment on column core.dq_results.details is 'Result in words';
comment on column core.dq_results.check_time is 'When it was checked';
comment on column core.dq_results.domain is 'Domain';
comment on column core.dq_results.severity is 'Severity of the rule at the time';
comment on column core.dq_results.outcome is 'pass, warn or fail by severity; error when the rule itself could not run';
comment on column core.dq_results.measured is 'Measured value';
comment on column core.dq_results.threshold is 'Limit at the time';
comment on column core.dq_results.failing_count is 'Failing rows';
comment on column core.dq_results.sample_keys is 'Keys of up to five failing rows';
comment on column core.dq_results.duration_ms is 'Duration of the check, milliseconds';

create table core.marts (
    mart        text primary key,
    domain      text not null,
    kind        text not null check (kind in ('view', 'materialized')),
    position    integer not null,
    depends_on  text[] not null,
    objective   interval not null
);
comment on table core.marts is 'The marts of each domain; written from sql/rules by worker migrate';
comment on column core.marts.mart is 'Name with schema';
comment on column core.marts.domain is 'Domain';
comment on column core.marts.kind is 'view: always live; materialized: refreshed by the refresh loop';
comment on column core.marts.position is 'Order of the refresh';
comment on column core.marts.depends_on is 'Core tables it reads';
comment on column core.marts.objective is 'How old its data may be';

create table core.mart_refresh_log (
    id          bigint generated always as identity primary key,
    mart        text not null references core.marts,
    started_at  timestamptz not null,
    finished_at timestamptz not null,
    status      text not null check (status in ('ok', 'failed')),
    row_count   bigint,
    data_as_of  timestamptz,
    error       text
);
create index mart_refresh_log_latest on core.mart_refresh_log (mart, id desc);
comment on table core.mart_refresh_log is 'Every refresh of a materialized mart';
comment on column core.mart_refresh_log.id is 'Number of the refresh';
comment on column core.mart_refresh_log.mart is 'Mart';
comment on column core.mart_refresh_log.started_at is 'Begin: the mart holds what was in the core then';
comment on column core.mart_refresh_log.finished_at is 'End';
comment on column core.mart_refresh_log.status is 'ok or failed';
comment on column core.mart_refresh_log.row_count is 'Rows after the refresh';
comment on column core.mart_refresh_log.data_as_of is 'Last change of the core that the mart shows';
comment on column core.mart_refresh_log.error is 'Why it failed';

create table core.routines (
    path       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default now()
);
comment on table core.routines is 'Repeatable SQL files (functions, views, rules) as last applied by worker migrate';
comment on column core.routines.path is 'File';
comment on column core.routines.checksum is 'SHA-256 of its text';
comment on column core.routines.applied_at is 'When it was applied';

-- Makes a staging table complete: identity, index for the merge, a partition for ids without a day.
create function core.prepare_staging(p_table regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    v_schema text;
    v_name text;
begin
    select n.nspname, c.relname into strict v_schema, v_name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_table;
    execute format('alter table %I.%I add primary key (message_id, day)', v_schema, v_name);
    execute format('create index on %I.%I (batch_id)', v_schema, v_name);
    execute format('create table %I.%I partition of %I.%I default', v_schema, v_name || '_default', v_schema, v_name);
end
$$;
comment on function core.prepare_staging(regclass) is 'Adds primary key, batch index and default partition to a staging table partitioned by day';
