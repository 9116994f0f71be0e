create schema pruebas;

create table pruebas.familias (
    id integer primary key, nombre text,
    event_at timestamptz not null, message_id uuid not null, batch_id bigint not null
);
create table pruebas.articulos (
    id_articulo integer primary key, id_familia integer references pruebas.familias,
    id_suplente integer references pruebas.familias, nombre text, precio numeric,
    estado text, revisado_en date,
    event_at timestamptz not null, message_id uuid not null, batch_id bigint not null, deleted_at timestamptz,
    check (deleted_at is not null or (nombre is not null and precio is not null and estado is not null))
);
create table pruebas.tarifas (
    id_articulo integer not null references pruebas.articulos, codigo text not null, importe integer,
    event_at timestamptz not null, message_id uuid not null, batch_id bigint not null, deleted_at timestamptz,
    primary key (id_articulo, codigo)
) partition by hash (id_articulo);
create table pruebas.tarifas_0 partition of pruebas.tarifas for values with (modulus 2, remainder 0);
create table pruebas.tarifas_1 partition of pruebas.tarifas for values with (modulus 2, remainder 1);
create table pruebas.rebajas (
    id_rebaja integer primary key, id_articulo integer, codigo text, id_familia integer, tanto integer not null,
    event_at timestamptz not null, message_id uuid not null, batch_id bigint not null,
    foreign key (id_articulo, codigo) references pruebas.tarifas
);
create table pruebas.movimientos (
    id_articulo integer not null references pruebas.articulos, id_familia integer references pruebas.familias,
    unidades integer not null,
    event_at timestamptz not null, message_id uuid not null, batch_id bigint not null,
    primary key (id_articulo, message_id)
) partition by hash (id_articulo);
create table pruebas.movimientos_0 partition of pruebas.movimientos for values with (modulus 2, remainder 0);
create table pruebas.movimientos_1 partition of pruebas.movimientos for values with (modulus 2, remainder 1);
-- Rows that the hook maintains: the articles that exist, however often they were deleted and restored.
create table pruebas.vigentes (id_articulo integer primary key, nombre text not null);
create view pruebas.en_venta as select a.id_articulo, a.nombre from pruebas.articulos a where a.deleted_at is null;

create table stg.pruebas_familia (
    like core.staging_envelope including defaults including comments, id_familia integer not null, nombre text
) partition by range (day);
create table stg.pruebas_articulo (
    like core.staging_envelope including defaults including comments,
    id_articulo integer not null, id_familia integer, id_suplente integer, nombre text, precio numeric, estado text, revisado_en date,
    deleted boolean not null
) partition by range (day);
create table stg.pruebas_tarifa (
    like core.staging_envelope including defaults including comments,
    id_articulo integer not null, codigo text not null, importe integer, deleted boolean not null
) partition by range (day);
create table stg.pruebas_rebaja (
    like core.staging_envelope including defaults including comments,
    id_rebaja integer not null, id_articulo integer, codigo text, id_familia integer, tanto integer not null
) partition by range (day);
create table stg.pruebas_movimiento (
    like core.staging_envelope including defaults including comments,
    id_articulo integer not null, id_familia integer, unidades integer not null
) partition by range (day);
select core.prepare_staging(format('stg.pruebas_%s', entity)::regclass)
from unnest(array['familia', 'articulo', 'tarifa', 'rebaja', 'movimiento']) as entity;

create function pruebas.after_articulo(p_before pruebas.articulos[], p_after pruebas.articulos[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
if exists (
    select from unnest(p_before) with ordinality b join unnest(p_after) with ordinality a using (ordinality)
    where b.id_articulo <> a.id_articulo or (b.event_at, b.message_id) >= (a.event_at, a.message_id)) then
    raise exception 'rows before and after do not belong together';
end if;
delete from pruebas.vigentes v using unnest(p_after) a where v.id_articulo = a.id_articulo;
insert into pruebas.vigentes (id_articulo, nombre)
select a.id_articulo, a.nombre from unnest(p_after) a where a.deleted_at is null;
end
$$;
