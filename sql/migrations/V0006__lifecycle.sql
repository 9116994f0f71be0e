-- The life cycle of data: what may leave the database for an object store, what has left it, who did what to it.

create table core.lifecycle_policies (
    table_name   text primary key,
    domain       text not null,
    time_column  text not null,
    granularity  text not null default 'month' check (granularity in ('month', 'day')),
    keep_hot     interval not null check (keep_hot >= interval '0'),
    keep_archive interval
);
comment on table core.lifecycle_policies is 'Tables whose closed partitions may be archived; written from sql/rules by worker migrate';
comment on column core.lifecycle_policies.table_name is 'The table, with its schema: partitioned by range of its time column, with a default partition and a primary key';
comment on column core.lifecycle_policies.domain is 'Domain';
comment on column core.lifecycle_policies.time_column is 'Column that it is partitioned by';
comment on column core.lifecycle_policies.granularity is 'month: partitions made by core.partition_by_month; day: by core.partition_by_day';
comment on column core.lifecycle_policies.keep_hot is 'A partition is archived when its end is this long ago';
comment on column core.lifecycle_policies.keep_archive is 'Purge refuses what is younger than this; null: purge may take anything that is archived';

create table core.archive_runs (
    run_id         bigint generated always as identity primary key,
    kind           text not null check (kind in ('archive', 'restore', 'purge')),
    scheduled_for  timestamptz,
    domain         text,
    worker         text not null,
    who            text not null,
    login          text not null default session_user,
    started_at     timestamptz not null default clock_timestamp(),
    finished_at    timestamptz,
    status         text not null default 'running' check (status in ('running', 'ok', 'failed', 'interrupted')),
    partitions     integer not null default 0,
    row_count      bigint not null default 0,
    bytes_hot      bigint not null default 0,
    bytes_archived bigint not null default 0,
    error          text
);
create unique index archive_runs_schedule on core.archive_runs (domain, scheduled_for) where scheduled_for is not null;
comment on table core.archive_runs is 'Runs of archive, restore and purge, by schedule or by hand';
comment on column core.archive_runs.run_id is 'Number of the run';
comment on column core.archive_runs.kind is 'archive, restore or purge';
comment on column core.archive_runs.scheduled_for is 'Time of the schedule that it is the run of; null for one by hand, or for late rows. A run that failed is taken up again under the same number';
comment on column core.archive_runs.domain is 'Domain; null for a run by hand';
comment on column core.archive_runs.worker is 'Process';
comment on column core.archive_runs.who is 'Who, as they named themselves or the system names them';
comment on column core.archive_runs.login is 'Role that was logged in';
comment on column core.archive_runs.started_at is 'Begin';
comment on column core.archive_runs.finished_at is 'End';
comment on column core.archive_runs.status is 'running, ok, failed, or interrupted: the process was stopped or killed';
comment on column core.archive_runs.partitions is 'Partitions that were dealt with';
comment on column core.archive_runs.row_count is 'Their rows';
comment on column core.archive_runs.bytes_hot is 'What they took in the database, with indexes';
comment on column core.archive_runs.bytes_archived is 'What they take in the object store';
comment on column core.archive_runs.error is 'Why it failed';

create table core.archives (
    archive_id        bigint generated always as identity primary key,
    table_name        text not null,
    domain            text not null,
    partition_name    text not null,
    granularity       text not null,
    from_at           timestamptz not null,
    to_at             timestamptz not null,
    state             text not null default 'writing'
        check (state in ('writing', 'archived', 'restored', 'superseded', 'purged', 'abandoned')),
    object_path       text not null,
    manifest_path     text not null,
    row_count         bigint,
    first_at          timestamptz,
    last_at           timestamptz,
    checksum          text,
    object_sha256     text,
    schema_version    integer,
    columns           jsonb,
    bytes_hot         bigint not null,
    bytes_archived    bigint,
    created_at        timestamptz not null default clock_timestamp(),
    archived_at       timestamptz,
    restoring_at      timestamptz,
    restored_at       timestamptz,
    hold_until        timestamptz,
    ended_at          timestamptz,
    object_deleted_at timestamptz,
    constraint what_is_archived_is_verified
        check (state in ('writing', 'abandoned') or (row_count is not null and checksum is not null and archived_at is not null))
);
-- A range has one archive that counts, and a purged one stays known.
create unique index archives_ranges on core.archives (table_name, from_at) where state in ('archived', 'restored', 'purged');
create index archives_away on core.archives (table_name, to_at) where state in ('archived', 'purged');
create index archives_partition on core.archives (partition_name);
create index archives_leftovers on core.archives (archive_id)
    where state in ('writing', 'superseded', 'purged', 'abandoned') and object_deleted_at is null;
comment on table core.archives is 'Partitions that were written to the object store, one row for each time';
comment on column core.archives.archive_id is 'Number of the archive';
comment on column core.archives.table_name is 'Table';
comment on column core.archives.domain is 'Domain';
comment on column core.archives.partition_name is 'Partition';
comment on column core.archives.granularity is 'month or day';
comment on column core.archives.from_at is 'Beginning of its range';
comment on column core.archives.to_at is 'End of its range, the first instant that is not in it';
comment on column core.archives.state is 'writing: still in the database; archived: in the object store only; restored: in the database again, the object is kept; superseded: archived again later; purged: nowhere any more; abandoned: the attempt came to nothing';
comment on column core.archives.object_path is 'Parquet file, below ARCHIVE_URL';
comment on column core.archives.manifest_path is 'Manifest, below ARCHIVE_URL';
comment on column core.archives.row_count is 'Rows';
comment on column core.archives.first_at is 'Least value of the time column';
comment on column core.archives.last_at is 'Greatest value of the time column';
comment on column core.archives.checksum is 'SHA-256 over the values in the order of the primary key; see docs/lifecycle.md';
comment on column core.archives.object_sha256 is 'SHA-256 of the file';
comment on column core.archives.schema_version is 'Version of the schema when it was written';
comment on column core.archives.columns is 'Columns: name, type in the database, form in the file';
comment on column core.archives.bytes_hot is 'What the partition took in the database, with indexes';
comment on column core.archives.bytes_archived is 'Size of file and manifest';
comment on column core.archives.created_at is 'When writing began';
comment on column core.archives.archived_at is 'When the partition was dropped';
comment on column core.archives.restoring_at is 'When a restore began that has not ended; its table lies beside the parent, not attached';
comment on column core.archives.restored_at is 'When it came back';
comment on column core.archives.hold_until is 'A restored partition is not archived again before';
comment on column core.archives.ended_at is 'When it was superseded, purged or abandoned';
comment on column core.archives.object_deleted_at is 'When its file was deleted';

create table core.archive_changes (
    partition_name text primary key,
    changed_at     timestamptz not null default clock_timestamp()
);
comment on table core.archive_changes is 'Partitions that changed while they were being archived; written by a trigger that they have meanwhile';
comment on column core.archive_changes.partition_name is 'Partition';
comment on column core.archive_changes.changed_at is 'First change';

create table core.archive_log (
    log_id         bigint generated always as identity primary key,
    at             timestamptz not null default clock_timestamp(),
    run_id         bigint,
    archive_id     bigint,
    table_name     text not null,
    partition_name text not null,
    step           text not null check (step in ('begun', 'verified', 'changed', 'archived', 'abandoned', 'object_deleted',
        'restore_begun', 'restored', 'restore_abandoned', 'purged')),
    who            text not null,
    login          text not null default session_user,
    detail         jsonb not null default '{}'
);
create index archive_log_archive on core.archive_log (archive_id);
comment on table core.archive_log is 'Every step of archiving, restoring and purging, written in the transaction that made it; never changed, never deleted';
comment on column core.archive_log.log_id is 'Number of the entry';
comment on column core.archive_log.at is 'When';
comment on column core.archive_log.run_id is 'Run';
comment on column core.archive_log.archive_id is 'Archive';
comment on column core.archive_log.table_name is 'Table';
comment on column core.archive_log.partition_name is 'Partition';
comment on column core.archive_log.step is 'What was done';
comment on column core.archive_log.who is 'Who, as they named themselves or the system names them';
comment on column core.archive_log.login is 'Role that was logged in';
comment on column core.archive_log.detail is 'Particulars: rows, bytes, checksum, reason';
