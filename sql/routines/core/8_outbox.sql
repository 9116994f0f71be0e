-- The outbox: messages that the platform publishes. Merges insert into core.outbox, and quarantine does (8_rejections.sql);
-- the worker's outbox relay does the rest (ADR 32).

-- Messages of merges get their numbers in the order of commit, so that a message is never published before one with a
-- smaller number: who writes does so under the lock of the domain's promotion, which merges have. Each
-- notice of a refused message has a key of its own, and so no order: staging does not wait for a promotion to write one.
create or replace function core.number_outbox() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if new.exchange = 'acequia.rejected' then
        return new;
    end if;
    perform core.take_lock('promote.' || new.domain);
    new.id := nextval(pg_get_serial_sequence('core.outbox', 'id'));
    return new;
end
$$;
comment on function core.number_outbox() is 'Trigger: gives a message of the outbox its number under the lock of the domain, where order matters';

create or replace trigger number_outbox before insert on core.outbox
for each row execute function core.number_outbox();
comment on trigger number_outbox on core.outbox is 'Numbers in the order of commit; silent in promotions, which have the lock from their beginning';

create or replace function core.announce_outbox() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('acequia', 'told ' || n.domain) from (select distinct domain from new_rows) n;
    return null;
end
$$;
comment on function core.announce_outbox() is 'Trigger: announces messages of the outbox to the workers, once per statement and domain';

create or replace trigger announce_outbox after insert on core.outbox
referencing new table as new_rows for each statement execute function core.announce_outbox();
comment on trigger announce_outbox on core.outbox is 'Wakes the outbox relays';
-- Promotion switches the ordinary triggers of its session off (0_references.sql).
alter table core.outbox enable always trigger announce_outbox;

create or replace function core.outbox_waiting(p_domain text, p_max integer)
returns table (id bigint, message_id uuid, exchange text, routing_key text, body text, key text, attempts integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_kept_back text[];
begin
    if not exists (
        select from core.outbox o
        where o.domain = p_domain and o.published_at is null and (o.retry_at is null or o.retry_at <= clock_timestamp())) then
        return;
    end if;
    if not core.try_lock('outbox.' || p_domain) then
        return; -- another worker publishes
    end if;
    v_kept_back := array(
        select coalesce(o.key, o.routing_key) from core.outbox o
        where o.domain = p_domain and o.published_at is null and o.retry_at > clock_timestamp());
    return query
        select o.id, o.message_id, o.exchange, o.routing_key, o.body::text, coalesce(o.key, o.routing_key), o.attempts
        from core.outbox o
        where o.domain = p_domain and o.published_at is null and coalesce(o.key, o.routing_key) <> all (v_kept_back)
        order by o.id
        limit p_max;
end
$$;
comment on function core.outbox_waiting(text, integer) is 'The oldest messages of a domain that wait to be published, but for keys of which one was refused a moment ago. Until the transaction ends no other worker gets any: none while one is at it';

create or replace function core.outbox_due(p_domain text, p_max integer)
returns table (id bigint, message_id uuid, routing_key text, body text, key text, attempts integer)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select o.id, o.message_id, o.routing_key, o.body, o.key, o.attempts
    from core.outbox_waiting(p_domain, p_max) o where o.exchange = 'acequia.alerts'
$$;
comment on function core.outbox_due(text, integer) is 'Unpublished messages of exchange acequia.alerts, for programs before version 19 of the schema; see core.outbox_waiting';

create or replace function core.outbox_take(p_domain text, p_max integer)
returns table (id bigint, message_id uuid, routing_key text, body text)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select o.id, o.message_id, o.routing_key, o.body from core.outbox_due(p_domain, p_max) o
$$;
comment on function core.outbox_take(text, integer) is 'For programs before schema version 11; see core.outbox_due';

create or replace function core.outbox_published(p_ids bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update core.outbox o set published_at = clock_timestamp(), retry_at = null, error = null where o.id = any (p_ids)
$$;
comment on function core.outbox_published(bigint[]) is 'Marks messages that the broker has confirmed';

create or replace function core.outbox_refused(p_ids bigint[], p_errors text[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    -- Soon, then more and more rarely: a full queue is emptied in a moment, or by a person.
    update core.outbox o
    set attempts = o.attempts + 1, error = r.error,
        retry_at = clock_timestamp() + least(interval '1 second' * 2 ^ least(o.attempts, 6), interval '1 minute')
    from unnest(p_ids, p_errors) r (id, error)
    where o.id = r.id
$$;
comment on function core.outbox_refused(bigint[], text[]) is 'Marks messages that the broker refused: they are published again later, and what has their key waits behind them';
