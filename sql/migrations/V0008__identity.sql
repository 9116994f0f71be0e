-- Who a message is: a hash of the body beside its id, and a row in quarantine for each message that shares an id.

-- All locks at once and briefly asked for: a running worker may hold one table and want the next.
do $$
declare
    v_list text := (
        select string_agg(format('only %s', c.oid::regclass), ', ' order by c.oid)
        from pg_class c
        where c.relnamespace = 'stg'::regnamespace and c.relkind = 'p' or c.oid in ('raw.quarantine'::regclass, 'core.quarantine_open'::regclass));
begin
    for v_attempt in 1 .. 1200 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            execute 'lock table ' || v_list || ' in access exclusive mode';
            exit;
        exception when lock_not_available then
            if v_attempt = 1200 then
                raise;
            end if;
        end;
        perform pg_sleep(0.1);
    end loop;
    perform set_config('lock_timeout', '0', true);
end
$$;

alter table core.staging_envelope add column body_hash bigint;
comment on column core.staging_envelope.body_hash is 'XXH3 of the body: tells a copy from another message with the same id; null when it is not known';

-- Every staging table that there is; later ones have the column from their envelope.
do $$
declare
    v_table record;
begin
    for v_table in
        select c.oid::regclass as name, c.relkind
        from pg_class c
        where c.relnamespace = 'stg'::regnamespace and c.relkind in ('r', 'p')
        order by c.relkind <> 'p', c.oid
    loop
        if v_table.relkind = 'p' then
            execute format('alter table %s add column body_hash bigint', v_table.name);
        end if;
        execute format('comment on column %s.body_hash is %L', v_table.name,
            'XXH3 of the body: tells a copy from another message with the same id; null when it is not known');
    end loop;
end
$$;

alter table raw.quarantine
    add column identity uuid,
    add column body_hash bigint,
    add column accepted_batch_id bigint,
    drop constraint quarantine_status_check,
    add constraint quarantine_status_check check (status in ('open', 'replayed', 'discarded', 'resolved'));
create index quarantine_by_identity on raw.quarantine (identity) where identity is not null;
comment on column raw.quarantine.message_id is 'Identity of the row: that of the message, unless another message has it already';
comment on column raw.quarantine.identity is 'Identity of the message, made of the publisher''s id; null when it is message_id';
comment on column raw.quarantine.body_hash is 'XXH3 of the original body; null when it is not known';
comment on column raw.quarantine.accepted_batch_id is 'Batch in which a message of the same id was accepted: the row is resolved by it';
comment on column raw.quarantine.status is 'open, replayed, discarded, or resolved: a message of the same id was accepted';
comment on column raw.quarantine.resolved_at is 'When it was last replayed, discarded or resolved; null while it is open';
comment on column raw.quarantine.resolved_by is 'Who did it; acequia for a row resolved by an accepted message';
comment on column raw.quarantine.stage is 'decode, contract, load, merge or broker; load also for an id that another message has';

alter table core.quarantine_open add column identity uuid;
create index quarantine_open_by_identity on core.quarantine_open (identity) where identity is not null;
comment on column core.quarantine_open.message_id is 'Identity of the row';
comment on column core.quarantine_open.identity is 'Identity of the message; null when it is message_id';

create type core.refusal as (
    message_id  uuid,
    day         date,
    code        text,
    field_path  text,
    message     text,
    explanation text,
    sqlstate    text
);
comment on type core.refusal is 'A staged row that goes to quarantine, and why';
