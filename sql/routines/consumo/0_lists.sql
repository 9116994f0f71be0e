-- Fixed lists: kinds of anomalies, ways of judging. And where the days of clients begin and end.

create or replace view consumo.tipos as
select t.codigo::smallint as codigo, t.tipo, t.nombre
from (values
    (1, 'plantacion_cannabis', 'Sustained load at night'),
    (2, 'pico_anomalo', 'Peak'),
    (3, 'consumo_constante_anomalo', 'The same in every hour'),
    (4, 'consumo_caida_anomalo', 'A fraction of what is usual'),
    (5, 'sin_tipo', 'Expected, but not said which')
) as t (codigo, tipo, nombre);
comment on view consumo.tipos is 'Kinds of expected anomalies and their numbers in consumo.dias.marcas';
comment on column consumo.tipos.codigo is 'Number';
comment on column consumo.tipos.tipo is 'Name in messages';
comment on column consumo.tipos.nombre is 'In words';

-- Alerts of the original way would be one evening reading in three.
create or replace view consumo.modos as
select m.modo, m.descripcion, m.avisa, m.principal
from (values
    ('original', 'The rules of the reference system: 24 last readings, z above 3, 150 % above the mean, twice the mean at night', false, false),
    ('estacional', 'Against the client''s own earlier weeks: robust z of each hour of the week, sustained nights, constancy, drop', true, true)
) as m (modo, descripcion, avisa, principal);
comment on view consumo.modos is 'The ways of judging; all of them judge every reading';
comment on column consumo.modos.modo is 'Name';
comment on column consumo.modos.descripcion is 'In words';
comment on column consumo.modos.avisa is 'Whether its anomalies are published on exchange acequia.alerts';
comment on column consumo.modos.principal is 'Whether marts that show one way show this one';

-- A reading may be a day ahead of the clock: it must not make the present day look like one that is over.
create or replace view consumo.ultimo_dia as
select max(d.fecha) as fecha from consumo.dias d where d.inicio <= now();
comment on view consumo.ultimo_dia is 'The last day that has begun and has a reading; the days before it are over';
comment on column consumo.ultimo_dia.fecha is 'The day; null without readings';

-- One look into the index for each client: counting through all days would cost more each month.
create or replace view consumo.primeros_dias as
with recursive clientes as (
    (select d.propietario_id, d.fecha from consumo.dias d order by d.propietario_id, d.fecha limit 1)
    union all
    select n.propietario_id, n.fecha
    from clientes c
    cross join lateral (
        select d.propietario_id, d.fecha from consumo.dias d where d.propietario_id > c.propietario_id
        order by d.propietario_id, d.fecha limit 1
    ) n
)
select c.propietario_id, c.fecha from clientes c;
comment on view consumo.primeros_dias is 'The first day of each client with a reading';
comment on column consumo.primeros_dias.propietario_id is 'Client';
comment on column consumo.primeros_dias.fecha is 'Its first day';
