-- Freshness: how far each message type has come. Gates: what a failing rule holds back, and who opened it all the same.

alter table core.batch_entities
    add column oldest_published_at timestamptz,
    add column newest_published_at timestamptz;
comment on column core.batch_entities.oldest_published_at is 'Oldest publish time of its valid messages; the time of arrival of one that has none';
comment on column core.batch_entities.newest_published_at is 'The newest of them, never after the arrival; null when all were refused';
update core.batch_entities e
set oldest_published_at = coalesce(b.published_at, b.received_at), newest_published_at = coalesce(b.published_at, b.received_at)
from core.batches b
where b.batch_id = e.batch_id and e.received > e.quarantined;
create index batch_entities_newest on core.batch_entities (domain, newest_published_at);
create index batch_entities_pending on core.batch_entities (domain, entity) include (pending, oldest_published_at) where pending > 0;

-- Counting them in raw.quarantine would visit the partition of each day that is kept.
create table core.quarantine_open (
    message_id  uuid not null,
    day         date not null,
    domain      text not null,
    entity      text,
    received_at timestamptz not null,
    primary key (message_id, day)
);
create index quarantine_open_by_entity on core.quarantine_open (domain, entity, received_at);
comment on table core.quarantine_open is 'The open rows of raw.quarantine; kept by its triggers';
comment on column core.quarantine_open.message_id is 'Identity of the message';
comment on column core.quarantine_open.day is 'Day inside the identity';
comment on column core.quarantine_open.domain is 'Domain of the queue';
comment on column core.quarantine_open.entity is 'Entity; null when none could be told';
comment on column core.quarantine_open.received_at is 'First arrival';
insert into core.quarantine_open (message_id, day, domain, entity, received_at)
select q.message_id, q.day, q.domain, q.entity, q.received_at from raw.quarantine q where q.status = 'open';

create table core.entity_state (
    domain              text not null,
    entity              text not null,
    newest_published_at timestamptz,
    changed_at          timestamptz,
    merged_at           timestamptz not null,
    primary key (domain, entity)
);
comment on table core.entity_state is 'How far a message type has come; kept by trigger note_merged of core.batch_entities';
comment on column core.entity_state.domain is 'Domain';
comment on column core.entity_state.entity is 'Entity';
comment on column core.entity_state.newest_published_at is 'Newest publish time in the batches of which rows were merged';
comment on column core.entity_state.changed_at is 'Last merge that changed a core row; null before the first. Later for each change';
comment on column core.entity_state.merged_at is 'Last merge';
insert into core.entity_state (domain, entity, newest_published_at, changed_at, merged_at)
select e.domain, e.entity, max(e.newest_published_at), d.changed_at, d.promoted_at
from core.batch_entities e
join core.domain_state d on d.domain = e.domain
where e.inserted + e.updated + e.unchanged + e.stale > 0
group by e.domain, e.entity, d.changed_at, d.promoted_at;

alter table core.mart_refresh_log
    add column promoted_through timestamptz,
    add column newest_published_at timestamptz,
    add column complete_through timestamptz,
    add column blocking_rules text[] not null default '{}';
comment on column core.mart_refresh_log.data_as_of is 'Last change, of the core tables that it reads, that the mart shows';
comment on column core.mart_refresh_log.promoted_through is 'Last promotion of the domain before the refresh';
comment on column core.mart_refresh_log.newest_published_at is 'Newest publish time of what the mart shows';
comment on column core.mart_refresh_log.complete_through is 'Everything published up to then is in the mart; see marts.freshness';
comment on column core.mart_refresh_log.blocking_rules is 'Rules that failed on what was refreshed: the gate was opened by hand, or the mart was built anew by worker migrate';
update core.mart_refresh_log set promoted_through = data_as_of where status = 'ok';

create index dq_results_passed on core.dq_results (check_name, id) where passed;
alter table core.dq_results add column saw_change_at timestamptz;
comment on column core.dq_results.saw_change_at is 'Last change of the core of the domain that the rule saw; null before the first';

create table core.gate_openings (
    opening_id bigint generated always as identity primary key,
    mart       text not null,
    rule       text not null,
    opened_at  timestamptz not null default clock_timestamp(),
    until      timestamptz,
    result_id  bigint not null,
    measured   numeric,
    who        text not null,
    login      text not null default session_user,
    reason     text not null check (reason ~ '\S'),
    ended_at   timestamptz,
    ended_by   text
);
create index gate_openings_running on core.gate_openings (mart, rule) where ended_at is null;
comment on table core.gate_openings is 'Marts that people let be refreshed although a rule fails; written by core.open_gate';
comment on column core.gate_openings.opening_id is 'Number of the opening';
comment on column core.gate_openings.mart is 'Mart';
comment on column core.gate_openings.rule is 'Rule that is ignored for it';
comment on column core.gate_openings.opened_at is 'From then on';
comment on column core.gate_openings.until is 'Until then; null: until the result of the rule changes';
comment on column core.gate_openings.result_id is 'Result in core.dq_results that it was opened for';
comment on column core.gate_openings.measured is 'What the rule measured then; without an end the opening does not cover more than that';
comment on column core.gate_openings.who is 'Who, as they named themselves or the system names them';
comment on column core.gate_openings.login is 'Role that was logged in';
comment on column core.gate_openings.reason is 'The reason that was given';
comment on column core.gate_openings.ended_at is 'When it ended; null while it may hold';
comment on column core.gate_openings.ended_by is 'What ended it: the rule passed, the rule got worse, its time was up, or somebody closed the gate';

alter table core.audit_log drop constraint audit_log_action_check;
alter table core.audit_log
    add constraint audit_log_action_check check (action in ('replay', 'discard', 'edit', 'open_gate', 'close_gate')),
    alter column quarantine_ids set default '{}',
    add column marts text[] not null default '{}';
comment on table core.audit_log is 'What people did to quarantined messages and to gates; written in the transaction that did it, never changed';
comment on column core.audit_log.action is 'replay, discard or edit of quarantined messages; open_gate or close_gate of marts';
comment on column core.audit_log.quarantine_ids is 'Rows of raw.quarantine it was done to; a long command makes several entries';
comment on column core.audit_log.filters is 'The filters they were chosen by; for gates the rules and the time';
comment on column core.audit_log.marts is 'Marts whose gate it was done to';
