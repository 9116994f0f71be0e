-- Archiving and restoring by decision of a person: an operation of the API, or a command, with an entry in the audit log.

-- A running worker has some of these tables and wants the next: all locks at once, and briefly asked for.
do $$
begin
    for v_attempt in 1 .. 1200 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            lock table only core.audit_log, core.operations, core.archive_runs in access exclusive mode;
            perform set_config('lock_timeout', '0', true);
            return;
        exception when lock_not_available or deadlock_detected then
            if v_attempt = 1200 then
                raise;
            end if;
        end;
        perform pg_sleep(0.1);
    end loop;
end
$$;

alter table core.operations drop constraint operations_kind_check;
alter table core.operations
    add constraint operations_kind_check check (kind in ('replay', 'discard', 'restore', 'archive', 'restore_archive')),
    -- An API before version 22 takes these for a restore of discarded rows: with 0 it finds none.
    add constraint archives_are_no_rows check (kind not in ('archive', 'restore_archive') or through_id = 0);
comment on table core.operations is 'Bulk actions on quarantine and on archives that the API carries out; if a process ends, another one resumes its operation';
comment on column core.operations.kind is 'replay, discard, or restore of what was discarded; archive of partitions that are due, or restore_archive of archived ones';
comment on column core.operations.domains is 'Domains whose rows or tables it is about; null: all, and those of no domain';
comment on column core.operations.filters is 'Filters that rows or partitions are chosen by';
comment on column core.operations.matched is 'Rows, or partitions, that matched when it was asked for';
comment on column core.operations.through_id is 'Greatest row number that it processes: a row that is refused again meanwhile is not processed twice; 0 for archives';
comment on column core.operations.done is 'Rows, or partitions, done';
comment on column core.operations.failed is 'Rows that no queue took; partitions that stay as they were because of an error';

alter table core.archive_runs add column operation_id bigint;
create index archive_runs_operation on core.archive_runs (operation_id) where operation_id is not null;
comment on column core.archive_runs.operation_id is 'Operation of core.operations that it is a run of: one more for each process that resumed it; null: a command, or the schedule';

alter table core.audit_log drop constraint audit_log_action_check;
alter table core.audit_log
    add constraint audit_log_action_check check (action in ('replay', 'discard', 'restore', 'edit', 'open_gate', 'close_gate', 'write_off',
        'pause_stream', 'resume_stream', 'archive', 'restore_archive'));
comment on table core.audit_log is 'What people decided about quarantined messages, gates, streams, archives and the accounts; written in the transaction that did it, or began it, never changed';
comment on column core.audit_log.action is 'replay, discard, restore or edit of quarantined messages; open_gate or close_gate of marts; write_off of rows that are not in staging any more; pause_stream or resume_stream of a domain; archive of partitions, or restore_archive of archived ones';
comment on column core.audit_log.filters is 'The filters they were chosen by; for gates the rules and the time; for write_off what was given up; for archives table and range or age';
