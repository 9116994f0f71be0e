-- The calls of ticks that were committed: the time that they were given, and when they were due.
create table pruebas.llamadas (tick text not null, at timestamptz not null, due_at timestamptz not null);

create function pruebas.marca(p_at timestamptz) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    insert into pruebas.llamadas (tick, at, due_at)
    select s.function, p_at, s.due_at from core.tick_state s where s.function = 'pruebas.marca';
    select 0;
$$;

-- Leaves something before it fails.
create function pruebas.rompe(p_at timestamptz) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into pruebas.llamadas (tick, at, due_at) values ('pruebas.rompe', p_at, p_at);
    insert into core.outbox (domain, routing_key, body) values ('pruebas', 'pruebas.rota', '{}');
    raise exception 'broken on purpose';
end
$$;

create function pruebas.duerme(p_at timestamptz) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    insert into pruebas.llamadas (tick, at, due_at) values ('pruebas.duerme', p_at, p_at);
    select 0 from pg_sleep(3600);
$$;

-- Violates a constraint that is checked at the end of the transaction.
create table pruebas.deuda (id integer primary key, de integer references pruebas.deuda deferrable initially deferred);
create function pruebas.debe(p_at timestamptz) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    insert into pruebas.deuda (id, de) values (1, 2);
    select 1;
$$;

-- Deletes articles whose version is an hour old, and publishes a message about each.
create function pruebas.caduca(p_at timestamptz) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    with gone as (
        delete from pruebas.vigentes v using pruebas.articulos a
        where a.id_articulo = v.id_articulo and a.event_at <= p_at - interval '1 hour'
        returning v.id_articulo
    ), told as (
        insert into core.outbox (domain, routing_key, key, body)
        select 'pruebas', 'pruebas.caducado', g.id_articulo::text, jsonb_build_object('articulo', g.id_articulo, 'at', p_at) from gone g
    )
    select count(*)::integer from gone
$$;

-- Waits for whoever holds the lock.
create function pruebas.espera(p_at timestamptz) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    insert into pruebas.llamadas (tick, at, due_at) values ('pruebas.espera', p_at, p_at);
    select 0 from pg_advisory_xact_lock(63);
$$;
