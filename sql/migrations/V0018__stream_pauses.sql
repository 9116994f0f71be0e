-- Streams that people pause: workers leave a domain's messages in its queues.

create table core.stream_pauses (
    pause_id      bigint generated always as identity primary key,
    domain        text not null,
    paused_at     timestamptz not null default clock_timestamp(),
    paused_by     text not null,
    reason        text not null,
    resumed_at    timestamptz,
    resumed_by    text,
    resume_reason text,
    constraint who_resumes_says_why check ((resumed_at is null) = (resumed_by is null) and (resumed_at is null) = (resume_reason is null))
);
create unique index stream_pauses_open on core.stream_pauses (domain) where resumed_at is null;
comment on table core.stream_pauses is 'Pauses of a domain, by decision of an operator: workers leave its messages in the queues';
comment on column core.stream_pauses.pause_id is 'Number of the pause';
comment on column core.stream_pauses.domain is 'Domain';
comment on column core.stream_pauses.paused_at is 'Since when';
comment on column core.stream_pauses.paused_by is 'Who paused it';
comment on column core.stream_pauses.reason is 'Why';
comment on column core.stream_pauses.resumed_at is 'Until when; null while it lasts';
comment on column core.stream_pauses.resumed_by is 'Who resumed it';
comment on column core.stream_pauses.resume_reason is 'Why';

alter table core.audit_log drop constraint audit_log_action_check;
alter table core.audit_log
    add constraint audit_log_action_check check (action in ('replay', 'discard', 'restore', 'edit', 'open_gate', 'close_gate', 'write_off',
        'pause_stream', 'resume_stream'));
comment on column core.audit_log.action is 'replay, discard, restore or edit of quarantined messages; open_gate or close_gate of marts; write_off of rows that are not in staging any more; pause_stream or resume_stream of a domain';
