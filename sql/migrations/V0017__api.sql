-- The HTTP API: who may call it, what was called, and work that takes longer than a call.

create table core.api_people (
    name          text primary key check (name ~ '^[a-z0-9][a-z0-9._@-]{0,62}$'),
    password_hash text not null,
    role          text not null check (role in ('viewer', 'analyst', 'publisher', 'operator', 'admin')),
    domains       text[],
    created_at    timestamptz not null default now(),
    created_by    text not null,
    password_at   timestamptz not null default now(),
    last_login_at timestamptz
);
comment on table core.api_people is 'People who log in to the console; api user';
comment on column core.api_people.name is 'Login name, in lower case';
comment on column core.api_people.password_hash is 'Argon2id, in PHC form';
comment on column core.api_people.role is 'viewer, analyst, publisher, operator or admin';
comment on column core.api_people.domains is 'Domains that the role is for; null: all domains, and rows without a domain';
comment on column core.api_people.created_at is 'When the person was added';
comment on column core.api_people.created_by is 'By whom';
comment on column core.api_people.password_at is 'When the password was set';
comment on column core.api_people.last_login_at is 'Last login';

create table core.api_sessions (
    session_hash bytea primary key check (octet_length(session_hash) = 32),
    name         text not null references core.api_people on delete cascade,
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index api_sessions_name on core.api_sessions (name);
comment on table core.api_sessions is 'Logins that have not ended; a row is deleted by logout, by a new password, or when its time is over';
comment on column core.api_sessions.session_hash is 'SHA-256 of the cookie';
comment on column core.api_sessions.name is 'Person';
comment on column core.api_sessions.created_at is 'Login';
comment on column core.api_sessions.last_seen_at is 'Last call, to the minute';
comment on column core.api_sessions.expires_at is 'End of the session, even if it is in use';

create table core.api_tokens (
    token_id     bigint generated always as identity primary key,
    name         text not null check (name ~ '^[a-z0-9][a-z0-9._@-]{0,62}$'),
    hint         text not null,
    token_hash   bytea not null unique check (octet_length(token_hash) = 32),
    role         text not null check (role in ('viewer', 'analyst', 'publisher', 'operator', 'admin')),
    domains      text[],
    rate         integer check (rate > 0),
    created_at   timestamptz not null default now(),
    created_by   text not null,
    expires_at   timestamptz not null,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   text
);
-- The name of a token is the app_id of what it publishes: two that are valid must not share it.
create unique index api_tokens_name on core.api_tokens (name) where revoked_at is null;
comment on table core.api_tokens is 'Tokens of programs that call the API; api token';
comment on column core.api_tokens.token_id is 'Number of the token';
comment on column core.api_tokens.name is 'Name of the program; app_id of the messages that it sends';
comment on column core.api_tokens.hint is 'First characters of the token, to recognise it by';
comment on column core.api_tokens.token_hash is 'SHA-256 of the token, which is shown once and kept nowhere';
comment on column core.api_tokens.role is 'viewer, analyst, publisher, operator or admin';
comment on column core.api_tokens.domains is 'Domains that the role is for; null: all domains, and rows without a domain';
comment on column core.api_tokens.rate is 'Calls per second; null: the default of the API';
comment on column core.api_tokens.created_at is 'When it was made';
comment on column core.api_tokens.created_by is 'By whom';
comment on column core.api_tokens.expires_at is 'End of its validity';
comment on column core.api_tokens.last_used_at is 'Last call, to the minute';
comment on column core.api_tokens.revoked_at is 'When it was revoked';
comment on column core.api_tokens.revoked_by is 'By whom';

create table core.api_calls (
    call_id    bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    who        text,
    role       text,
    method     text not null,
    route      text not null,
    path       text not null,
    status     smallint not null,
    code       text,
    domain     text,
    reason     text,
    detail     jsonb not null default '{}',
    request_id uuid not null,
    address    inet
);
create index api_calls_at on core.api_calls (at);
create index api_calls_who on core.api_calls (who, call_id desc);
comment on table core.api_calls is 'Calls of the API that changed something or were denied; what they did to messages and gates is in core.audit_log, too';
comment on column core.api_calls.call_id is 'Number of the call';
comment on column core.api_calls.at is 'When it was answered';
comment on column core.api_calls.who is 'Person as user:<name>, program as token:<name>; null when nobody was recognised';
comment on column core.api_calls.role is 'Role of the caller';
comment on column core.api_calls.method is 'HTTP method';
comment on column core.api_calls.route is 'Route with its parameters in braces';
comment on column core.api_calls.path is 'Path as it was called, without the query';
comment on column core.api_calls.status is 'HTTP status';
comment on column core.api_calls.code is 'Code of the problem, when it was refused';
comment on column core.api_calls.domain is 'Domain that it was about, when there is one';
comment on column core.api_calls.reason is 'Reason that the caller gave';
comment on column core.api_calls.detail is 'What it was done to: filters and counts, never bodies';
comment on column core.api_calls.request_id is 'Id of the request, also in the answer and in the log';
comment on column core.api_calls.address is 'Address of the caller, or of the proxy in front';

create table core.api_idempotency (
    key_hash     bytea primary key check (octet_length(key_hash) = 32),
    fingerprint  bytea not null check (octet_length(fingerprint) = 32),
    created_at   timestamptz not null default now(),
    status       smallint,
    content_type text,
    body         bytea
);
create index api_idempotency_created on core.api_idempotency (created_at);
comment on table core.api_idempotency is 'Answers to calls with an Idempotency-Key, kept for a day';
comment on column core.api_idempotency.key_hash is 'SHA-256 of caller, route and key';
comment on column core.api_idempotency.fingerprint is 'SHA-256 of kind and body';
comment on column core.api_idempotency.created_at is 'When the first of these calls began';
comment on column core.api_idempotency.status is 'HTTP status of the answer; null while the call is under way';
comment on column core.api_idempotency.content_type is 'Type of the answer';
comment on column core.api_idempotency.body is 'The answer';

create table core.operations (
    operation_id bigint generated always as identity primary key,
    kind         text not null check (kind in ('replay', 'discard', 'restore')),
    state        text not null default 'queued' check (state in ('queued', 'running', 'done', 'failed', 'cancelled')),
    who          text not null,
    reason       text,
    domains      text[],
    filters      jsonb not null,
    rate         integer check (rate > 0),
    matched      bigint not null check (matched >= 0),
    through_id   bigint not null,
    after_id     bigint not null default 0,
    done         bigint not null default 0,
    failed       bigint not null default 0,
    failures     jsonb not null default '[]',
    error        text,
    runner       text,
    created_at   timestamptz not null default now(),
    started_at   timestamptz,
    seen_at      timestamptz,
    finished_at  timestamptz,
    cancel_at    timestamptz,
    cancelled_by text,
    constraint what_has_ended_says_when check ((finished_at is null) = (state in ('queued', 'running')))
);
create index operations_unfinished on core.operations (operation_id) where finished_at is null;
create index operations_finished on core.operations (finished_at) where finished_at is not null;
comment on table core.operations is 'Bulk actions on quarantine that the API carries out; if a process ends, another one resumes its operation';
comment on column core.operations.operation_id is 'Number of the operation';
comment on column core.operations.kind is 'replay, discard, or restore of what was discarded';
comment on column core.operations.state is 'queued, running, done, failed or cancelled';
comment on column core.operations.who is 'Who asked for it';
comment on column core.operations.reason is 'Why';
comment on column core.operations.domains is 'Domains whose rows it is about; null: all, and those of no domain';
comment on column core.operations.filters is 'Filters that rows are chosen by';
comment on column core.operations.rate is 'Messages per second; null: as fast as the broker confirms';
comment on column core.operations.matched is 'Rows that matched when it was asked for';
comment on column core.operations.through_id is 'Greatest row number that it processes: a row that is refused again meanwhile is not processed twice';
comment on column core.operations.after_id is 'Greatest row number that is done';
comment on column core.operations.done is 'Rows done';
comment on column core.operations.failed is 'Rows that no queue took';
comment on column core.operations.failures is 'The first hundred of them: quarantine_id, reason';
comment on column core.operations.error is 'Why it failed';
comment on column core.operations.runner is 'Process that carries it out';
comment on column core.operations.created_at is 'When it was asked for';
comment on column core.operations.started_at is 'When the first row was taken';
comment on column core.operations.seen_at is 'Last sign of life of its process';
comment on column core.operations.finished_at is 'When it ended';
comment on column core.operations.cancel_at is 'When somebody asked to cancel it';
comment on column core.operations.cancelled_by is 'Who';

create table core.api_events (
    event_id bigint generated always as identity primary key,
    at       timestamptz not null default now(),
    topic    text not null,
    domain   text,
    data     jsonb not null
);
create index api_events_at on core.api_events (at);
comment on table core.api_events is 'Events of GET /v1/events, kept for a day so that clients can resume';
comment on column core.api_events.event_id is 'Number of the event, the id of the stream';
comment on column core.api_events.at is 'When';
comment on column core.api_events.topic is 'operations or gates';
comment on column core.api_events.domain is 'Domain that it is about, when there is one';
comment on column core.api_events.data is 'The event';

alter table core.audit_log drop constraint audit_log_action_check;
alter table core.audit_log
    add constraint audit_log_action_check check (action in ('replay', 'discard', 'restore', 'edit', 'open_gate', 'close_gate', 'write_off'));
comment on column core.audit_log.action is 'replay, discard, restore or edit of quarantined messages; open_gate or close_gate of marts; write_off of rows that are not in staging any more';
