-- Electricity consumption, the second domain; and what the platform did not have for it: an outbox,
-- which its alerts leave by, and tables that merges keep beside the core tables.

-- --- platform: messages that the core sends ------------------------------------------------------------------

create table core.outbox (
    id           bigint generated always as identity primary key,
    domain       text not null,
    message_id   uuid not null default gen_random_uuid(),
    routing_key  text not null,
    body         jsonb not null,
    created_at   timestamptz not null default clock_timestamp(),
    published_at timestamptz
);
create index outbox_waiting on core.outbox (domain, id) where published_at is null;
create index outbox_published on core.outbox (published_at) where published_at is not null;
comment on table core.outbox is 'Messages that the core has to tell: written in the transaction that gave reason to them, published at least once by the worker';
comment on column core.outbox.id is 'Number, in the order of writing';
comment on column core.outbox.domain is 'Domain that tells it';
comment on column core.outbox.message_id is 'Identity of the message: the same when it is published again';
comment on column core.outbox.routing_key is 'Routing key on exchange acequia.alerts';
comment on column core.outbox.body is 'The message';
comment on column core.outbox.created_at is 'When it was written';
comment on column core.outbox.published_at is 'When the broker confirmed it; null while it waits';

create table core.derived_tables (
    table_name text not null,
    core_table text not null,
    primary key (table_name, core_table)
);
comment on table core.derived_tables is 'Tables that merges keep beside the core tables of their message types: what reads one of them reads what it is made from; written from sql/rules by worker migrate';
comment on column core.derived_tables.table_name is 'The table, with its schema';
comment on column core.derived_tables.core_table is 'A core table that it is made from';

-- --- consumo ----------------------------------------------------------------------------------------------------

create schema consumo;
comment on schema consumo is 'Electricity consumption: hourly readings of clients, what is unusual about them';

create table consumo.clientes (
    propietario_id text primary key,
    nombre         text not null,
    tarifa         text,
    distrito       text,
    zona           text not null,
    event_at       timestamptz not null,
    message_id     uuid not null,
    batch_id       bigint not null
);
comment on table consumo.clientes is 'Clients; readings do not wait for them';
comment on column consumo.clientes.propietario_id is 'Code of the client, as CLI_00001';
comment on column consumo.clientes.nombre is 'Name';
comment on column consumo.clientes.tarifa is 'Tariff of the contract';
comment on column consumo.clientes.distrito is 'District';
comment on column consumo.clientes.zona is 'Time zone of the client''s clock';
comment on column consumo.clientes.event_at is 'Event time of the version that won';
comment on column consumo.clientes.message_id is 'Message of the version that won';
comment on column consumo.clientes.batch_id is 'Batch it came in';

-- By month of the instant, not of the local day: a client's zone may become known later, and closed
-- months are to be detached. Months far from the present share the default partition.
create table consumo.lecturas (
    propietario_id      text not null,
    instante            timestamptz not null check (date_trunc('hour', instante, 'UTC') = instante),
    hora                smallint not null check (hora between 0 and 23),
    consumo_kwh         numeric(7,3) not null check (consumo_kwh between 0 and 1000),
    es_sospechoso       boolean not null,
    anomalia_esperada   boolean not null,
    tipo_anomalia       text,
    timestamp_procesado timestamptz,
    event_at            timestamptz not null,
    message_id          uuid not null,
    batch_id            bigint not null,
    primary key (propietario_id, instante)
) partition by range (instante);
create table consumo.lecturas_default partition of consumo.lecturas default;
comment on table consumo.lecturas is 'Readings: one per client and hour, the newest version';
comment on column consumo.lecturas.propietario_id is 'Client';
comment on column consumo.lecturas.instante is 'Beginning of the hour';
comment on column consumo.lecturas.hora is 'Hour on the client''s clock as the publisher has it';
comment on column consumo.lecturas.consumo_kwh is 'Consumption in the hour, kWh';
comment on column consumo.lecturas.es_sospechoso is 'Whether the publisher suspects the client';
comment on column consumo.lecturas.anomalia_esperada is 'Ground truth: whether an anomaly is to be found';
comment on column consumo.lecturas.tipo_anomalia is 'Ground truth: which one';
comment on column consumo.lecturas.timestamp_procesado is 'When the publisher made it';
comment on column consumo.lecturas.event_at is 'Event time of the version that won';
comment on column consumo.lecturas.message_id is 'Message of the version that won';
comment on column consumo.lecturas.batch_id is 'Batch it came in';

-- A day of a client is one row with its hours side by side: what is asked of a day, a week or a month
-- costs as many rows as it has days, and stays when the readings of a closed month go elsewhere.
-- Room is left in each page, so that the next hour of the day finds place in it.
create table consumo.dias (
    propietario_id text not null,
    fecha          date not null,
    inicio         timestamptz not null,
    horas          smallint not null check (horas between 22 and 26),
    wh             integer[] not null,
    marcas         smallint[] not null,
    n              smallint not null,
    suma           bigint not null,
    cuadrados      bigint not null,
    minimo         integer not null,
    maximo         integer not null,
    noche_n        smallint not null,
    noche_suma     bigint not null,
    punta_n        smallint not null,
    punta_suma     bigint not null,
    esperadas      smallint not null,
    sospechosas    smallint not null,
    desacuerdos    smallint not null,
    primary key (propietario_id, fecha)
) with (fillfactor = 70);
create index dias_fecha on consumo.dias (fecha);
create index dias_esperadas on consumo.dias (propietario_id, fecha) where esperadas > 0;
comment on table consumo.dias is 'Days of clients by the client''s clock: the hours side by side, and their sums. Kept by the merges; every sum is of whole watt-hours, so it does not depend on the order of arrival';
comment on column consumo.dias.propietario_id is 'Client';
comment on column consumo.dias.fecha is 'Day on the client''s clock';
comment on column consumo.dias.inicio is 'Its beginning';
comment on column consumo.dias.horas is 'Its length: 23 and 25 hours when the clock is changed';
comment on column consumo.dias.wh is 'Consumption of the hours from the beginning of the day, watt-hours; null where there is no reading. 25 places';
comment on column consumo.dias.marcas is 'What the publisher said of each hour: kind of the expected anomaly (0 none, see consumo.tipos), 8 more when it suspects the client, and 16 times the hour on the clock as it has it';
comment on column consumo.dias.n is 'Hours with a reading';
comment on column consumo.dias.suma is 'Consumption, watt-hours';
comment on column consumo.dias.cuadrados is 'Sum of the squares, from which deviations come';
comment on column consumo.dias.minimo is 'Least consumption of an hour, watt-hours';
comment on column consumo.dias.maximo is 'Greatest consumption of an hour, watt-hours';
comment on column consumo.dias.noche_n is 'Hours of the night (0 to 5 and 23) with a reading';
comment on column consumo.dias.noche_suma is 'Consumption of the night, watt-hours';
comment on column consumo.dias.punta_n is 'Hours of the peak (18 to 22) with a reading';
comment on column consumo.dias.punta_suma is 'Consumption of the peak, watt-hours';
comment on column consumo.dias.esperadas is 'Hours in which an anomaly is to be found';
comment on column consumo.dias.desacuerdos is 'Hours for which the publisher has another hour on the clock than the zone has';
comment on column consumo.dias.sospechosas is 'Hours for which the publisher suspected the client';

-- What is usual for a client in the days before a week of its own. A copy of what consumo.dias says:
-- rows may be deleted at any time, they are made again when they are needed.
create table consumo.bases (
    propietario_id text not null,
    desde          date not null,
    dias           smallint not null,
    mediana        integer[] not null,
    escala         integer[] not null,
    alto           integer not null,
    noche          integer,
    noche_escala   integer,
    total          integer,
    variacion      real,
    primary key (propietario_id, desde)
);
comment on table consumo.bases is 'Baselines: what is usual for a client, from the six weeks before a day; good for the seven days from it on';
comment on column consumo.bases.propietario_id is 'Client';
comment on column consumo.bases.desde is 'First day it is good for; every client changes on a day of the week of its own, so that not all are due in one night';
comment on column consumo.bases.dias is 'Days it is made from; below 7 nothing is judged';
comment on column consumo.bases.mediana is 'Median of each hour of the week, Monday 0 h first, watt-hours; of each hour of the day while there are less than 21 days';
comment on column consumo.bases.escala is 'Spread of each hour of the day around its median: 1.4826 times the median absolute deviation, watt-hours';
comment on column consumo.bases.alto is 'What the client exceeds in one hour of fifty, watt-hours';
comment on column consumo.bases.noche is 'Median over the days of the mean hour of the night, watt-hours';
comment on column consumo.bases.noche_escala is 'Spread of the nights, as escala';
comment on column consumo.bases.total is 'Median of the mean hour of the days, watt-hours';
comment on column consumo.bases.variacion is 'Median of the days'' coefficient of variation';

create table consumo.anomalias (
    propietario_id text not null,
    modo           text not null,
    instante       timestamptz not null,
    ambito         text not null check (ambito in ('hora', 'dia')),
    fecha          date not null,
    hora           smallint,
    consumo_kwh    numeric(9,3) not null,
    tipos          text[] not null check (cardinality(tipos) > 0),
    score          numeric(3,2) not null check (score between 0 and 1),
    severidad      text not null check (severidad in ('media', 'alta', 'crítica')),
    es_sospechoso  boolean not null,
    evidencia      jsonb not null,
    detectada_at   timestamptz not null default clock_timestamp(),
    primary key (propietario_id, modo, instante, ambito)
);
create index anomalias_instante on consumo.anomalias (modo, instante);
comment on table consumo.anomalias is 'What is unusual, as the readings that are there have it: a late or corrected reading adds, changes and takes back';
comment on column consumo.anomalias.propietario_id is 'Client';
comment on column consumo.anomalias.modo is 'Way of judging that found it';
comment on column consumo.anomalias.instante is 'Beginning of the hour, or of the day';
comment on column consumo.anomalias.ambito is 'hora: one reading; dia: a day of the client';
comment on column consumo.anomalias.fecha is 'Day on the client''s clock';
comment on column consumo.anomalias.hora is 'Hour; null for a day';
comment on column consumo.anomalias.consumo_kwh is 'Consumption of the hour, or of the day, kWh';
comment on column consumo.anomalias.tipos is 'Rules that hold';
comment on column consumo.anomalias.score is 'From 0 to 1';
comment on column consumo.anomalias.severidad is 'media, alta above 0.5, crítica above 0.7';
comment on column consumo.anomalias.es_sospechoso is 'Whether the publisher suspected the client';
comment on column consumo.anomalias.evidencia is 'Per rule: the value, what it was compared with, the limit';
comment on column consumo.anomalias.detectada_at is 'When it was found first';

create table stg.consumo_cliente (
    like core.staging_envelope including defaults including comments,
    propietario_id text not null,
    nombre         text not null,
    tarifa         text,
    distrito       text,
    zona           text
) partition by range (day);

create table stg.consumo_lectura (
    like core.staging_envelope including defaults including comments,
    propietario_id      text not null,
    timestamp           timestamptz not null,
    hora                integer not null check (hora between 0 and 23),
    consumo_kwh         numeric(7,3) not null check (consumo_kwh between 0 and 1000),
    es_sospechoso       boolean,
    anomalia_esperada   boolean,
    tipo_anomalia       text,
    timestamp_procesado timestamptz
) partition by range (day);

select core.prepare_staging(staging::regclass)
from unnest(array['stg.consumo_cliente', 'stg.consumo_lectura']) as staging;

comment on table stg.consumo_cliente is 'Staged messages consumo.cliente';
comment on table stg.consumo_lectura is 'Staged messages consumo.lectura';
