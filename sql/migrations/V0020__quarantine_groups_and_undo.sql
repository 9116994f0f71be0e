-- Groups of refused messages are counted from an index, and the discards of an operation can be taken back.

-- A running worker has some of these tables and wants the next: all locks at once, and briefly asked for.
do $$
begin
    for v_attempt in 1 .. 1200 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            lock table only raw.quarantine, core.audit_log, core.operations in access exclusive mode;
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

-- All that a group shows, so that no row is visited; a rare code, field or fingerprint is found in it, too. Included columns
-- would keep equal entries apart: as key columns those of a batch share one entry.
create index quarantine_by_group on raw.quarantine
    (domain, entity, code, field_path, fingerprint, status, received_at, last_seen_at, occurrences);
drop index raw.quarantine_by_cause;

alter table core.audit_log add column operation_id bigint;
create index audit_log_operation on core.audit_log (operation_id, audit_id) where operation_id is not null;
comment on column core.audit_log.operation_id is 'Operation of core.operations that did it; null: a command, a call, or an operation before version 20';

alter table core.operations add column undoes bigint;
-- One that has failed or was cancelled may be asked for again.
create unique index operations_undoes on core.operations (undoes) where undoes is not null and state not in ('failed', 'cancelled');
comment on column core.operations.undoes is 'Discard whose rows a restore opens again, those that nobody has touched since; null: rows chosen by its filters';
comment on column core.operations.after_id is 'Greatest row number that is done; for an undo, the last entry of core.audit_log';
