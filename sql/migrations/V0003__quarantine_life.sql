-- A life after quarantine: replays, edited bodies, and who did what.

alter table raw.quarantine add column replays integer not null default 0;
comment on column raw.quarantine.replays is 'How often it was replayed; the number of the last attempt';
comment on column raw.quarantine.resolved_at is 'When it was last replayed or discarded; null while it is open';
comment on column raw.quarantine.resolved_by is 'Who did it';
comment on column raw.quarantine.note is 'The reason given with the last replay or discard';

create table raw.quarantine_versions (
    quarantine_id bigint not null,
    version       integer not null check (version > 0),
    body          bytea not null,
    by            text not null,
    at            timestamptz not null default now(),
    note          text,
    primary key (quarantine_id, version)
);
comment on table raw.quarantine_versions is 'Bodies that took the place of a quarantined one when it was replayed; the original stays in raw.quarantine';
comment on column raw.quarantine_versions.quarantine_id is 'Row of raw.quarantine';
comment on column raw.quarantine_versions.version is 'From 1 on; the newest is the one that a replay sends';
comment on column raw.quarantine_versions.body is 'The bytes';
comment on column raw.quarantine_versions.by is 'Who made it';
comment on column raw.quarantine_versions.at is 'When';
comment on column raw.quarantine_versions.note is 'Why';

create table core.audit_log (
    audit_id       bigint generated always as identity primary key,
    at             timestamptz not null default now(),
    who            text not null,
    login          text not null default session_user,
    action         text not null check (action in ('replay', 'discard', 'edit')),
    quarantine_ids bigint[] not null,
    row_count      integer not null generated always as (cardinality(quarantine_ids)) stored,
    filters        jsonb not null default '{}',
    reason         text
);
create index audit_log_at on core.audit_log (at);
create index audit_log_rows on core.audit_log using gin (quarantine_ids);
comment on table core.audit_log is 'What people did to quarantined messages; written in the transaction that did it, never changed';
comment on column core.audit_log.audit_id is 'Number of the entry';
comment on column core.audit_log.at is 'When';
comment on column core.audit_log.who is 'Who, as they named themselves or the system names them';
comment on column core.audit_log.login is 'Role that was logged in';
comment on column core.audit_log.action is 'replay, discard or edit';
comment on column core.audit_log.quarantine_ids is 'Rows of raw.quarantine it was done to; a long command makes several entries';
comment on column core.audit_log.row_count is 'Number of these rows';
comment on column core.audit_log.filters is 'The filters they were chosen by';
comment on column core.audit_log.reason is 'The reason that was given';

-- Rows that expired before this version still lie in staging, where a replay would be taken for a
-- copy and never be merged.
do $$
declare
    v_entity record;
begin
    for v_entity in select e.domain, e.entity, e.staging from core.entities e loop
        execute format($sql$
            delete from %s s using raw.quarantine q
            where q.code = 'orphan' and q.domain = $1 and q.entity = $2 and q.message_id = s.message_id and q.day = s.day
              and not exists (select from core.pending p where p.entity = $1 || '.' || $2 and p.message_id = s.message_id and p.day = s.day)
            $sql$, v_entity.staging)
        using v_entity.domain, v_entity.entity;
    end loop;
end
$$;
