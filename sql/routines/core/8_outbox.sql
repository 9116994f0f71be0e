-- The outbox: what the core has to tell. Merges insert into core.outbox; the worker's deliver loop does the rest.

create or replace function core.outbox_take(p_domain text, p_max integer)
returns table (id bigint, message_id uuid, routing_key text, body text)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select o.id, o.message_id, o.routing_key, o.body::text
    from core.outbox o
    where o.domain = p_domain and o.published_at is null
    order by o.id
    limit p_max
    for update skip locked
$$;
comment on function core.outbox_take(text, integer) is 'The oldest messages of a domain that wait to be published, locked until the transaction ends';

create or replace function core.outbox_published(p_ids bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update core.outbox o set published_at = clock_timestamp() where o.id = any (p_ids)
$$;
comment on function core.outbox_published(bigint[]) is 'Marks messages that the broker has confirmed';
