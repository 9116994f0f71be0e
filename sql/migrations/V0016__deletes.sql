-- An outcome for messages that say that their key is gone.

-- A running worker has some of these tables and wants the next: all locks at once, and briefly asked for.
do $$
begin
    for v_attempt in 1 .. 1200 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            lock table core.batches, core.batch_entities, core.settled_totals in access exclusive mode;
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

alter table core.batch_entities
    add column deleted integer not null default 0,
    drop constraint every_message_is_accounted_for,
    drop constraint no_count_is_negative,
    add constraint every_message_is_accounted_for
        check (received = duplicates + staged + inserted + updated + unchanged + deleted + stale + pending + quarantined + written_off),
    add constraint no_count_is_negative
        check (least(received, duplicates, staged, inserted, updated, unchanged, deleted, stale, pending, quarantined, written_off) >= 0);
comment on column core.batch_entities.deleted is 'Promoted rows that deleted their key';

alter table core.settled_totals
    add column deleted bigint not null default 0,
    drop constraint every_message_is_accounted_for,
    add constraint every_message_is_accounted_for
        check (received = duplicates + staged + inserted + updated + unchanged + deleted + stale + pending + quarantined + written_off);
comment on column core.settled_totals.deleted is 'Promoted rows that deleted their key';
