-- Notices of refused messages for their publishers (ADR 53): the outbox takes a notice for each new row of quarantine, in the
-- transaction that writes the row, where the feed of its domain is on.

create or replace function core.write_notices() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from core.rejection_feeds f where f.ended_at is null) then
        return null;
    end if;
    insert into core.outbox (domain, exchange, routing_key, key, body)
    select n.domain, 'acequia.rejected', concat_ws('.', n.domain, n.entity), n.quarantine_id::text,
           jsonb_build_object(
               'message_id', coalesce(n.properties ->> 'message_id', coalesce(n.identity, n.message_id)::text),
               'app_id', n.properties ->> 'app_id', 'quarantine_id', n.quarantine_id, 'code', n.code, 'field', n.field_path,
               'message', coalesce(n.violations -> 0 ->> 'message', n.message),
               'received_at', to_char(n.received_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
    from new_rows n
    join core.rejection_feeds f on f.domain = n.domain and f.ended_at is null;
    return null;
end
$$;
comment on function core.write_notices() is 'Trigger: puts a notice of each new row of quarantine into the outbox, where the feed of its domain is on; it holds no value of the message';

create or replace trigger write_notices after insert on raw.quarantine
referencing new table as new_rows for each statement execute function core.write_notices();
comment on trigger write_notices on raw.quarantine is 'Writes the notices of refused messages';
-- Promotion switches the ordinary triggers of its session off (0_references.sql), and sets rows aside.
alter table raw.quarantine enable always trigger write_notices;

create or replace function core.feed_rejections(p_domain text, p_on boolean, p_who text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from core.entities e where e.domain = p_domain) then
        raise exception 'there is no domain %', p_domain using errcode = 'invalid_parameter_value';
    end if;
    if p_on then
        insert into core.rejection_feeds (domain, started_by) values (p_domain, coalesce(p_who, session_user))
        on conflict (domain) where ended_at is null do nothing;
    else
        update core.rejection_feeds f set ended_at = clock_timestamp(), ended_by = coalesce(p_who, session_user)
        where f.domain = p_domain and f.ended_at is null;
    end if;
    return found;
end
$$;
comment on function core.feed_rejections(text, boolean, text) is 'Switches the feed of a domain''s refused messages on or off; false when it was so before';
