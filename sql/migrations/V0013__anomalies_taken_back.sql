-- Anomalies that were shown and are no anomalies any more.

create table consumo.retiradas (
    propietario_id text not null,
    modo           text not null,
    instante       timestamptz not null,
    ambito         text not null,
    fecha          date not null,
    hora           smallint,
    consumo_kwh    numeric(9,3) not null,
    tipos          text[] not null,
    score          numeric(3,2) not null,
    severidad      text not null,
    detectada_at   timestamptz not null,
    retirada_at    timestamptz not null default clock_timestamp(),
    primary key (propietario_id, modo, instante, ambito)
);
comment on table consumo.retiradas is 'Anomalies of the principal way of judging that a late or corrected reading took back: the last version that was shown. Which ones were ever shown depends on the order of arrival, so this table does too; consumo.anomalias does not';
comment on column consumo.retiradas.propietario_id is 'Client';
comment on column consumo.retiradas.modo is 'Way of judging that found it';
comment on column consumo.retiradas.instante is 'Beginning of the hour, or of the day';
comment on column consumo.retiradas.ambito is 'hora: one reading; dia: a day of the client';
comment on column consumo.retiradas.fecha is 'Day on the client''s clock';
comment on column consumo.retiradas.hora is 'Hour; null for a day';
comment on column consumo.retiradas.consumo_kwh is 'Consumption of the hour, or of the day, as it was known then, kWh';
comment on column consumo.retiradas.tipos is 'Rules that held';
comment on column consumo.retiradas.score is 'From 0 to 1';
comment on column consumo.retiradas.severidad is 'media, alta above 0.5, crítica above 0.7';
comment on column consumo.retiradas.detectada_at is 'When it was found first';
comment on column consumo.retiradas.retirada_at is 'When it was taken back';
