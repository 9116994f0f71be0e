-- What is fixed: kinds of anomalies, ways of judging.

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
comment on column consumo.modos.avisa is 'Whether its anomalies are told on exchange acequia.alerts';
comment on column consumo.modos.principal is 'Whether marts that show one way show this one';
