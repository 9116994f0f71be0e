-- Academic records: staging and core. Names as in the reference system where it has them.

create schema academico;
comment on schema academico is 'Academic records: students, teachers, subjects, groups, enrolments, marks';

create table academico.maestros (
    id           integer primary key check (id > 0),
    nombre       text not null,
    especialidad text,
    event_at     timestamptz not null,
    message_id   uuid not null,
    batch_id     bigint not null
);
comment on table academico.maestros is 'Teachers';
comment on column academico.maestros.id is 'Number of the teacher';
comment on column academico.maestros.nombre is 'Full name';
comment on column academico.maestros.especialidad is 'Field of teaching';

create table academico.materias (
    id         integer primary key check (id > 0),
    nombre     text not null,
    creditos   integer not null check (creditos > 0),
    event_at   timestamptz not null,
    message_id uuid not null,
    batch_id   bigint not null
);
comment on table academico.materias is 'Subjects';
comment on column academico.materias.id is 'Number of the subject';
comment on column academico.materias.nombre is 'Name';
comment on column academico.materias.creditos is 'Credits';

-- Not partitioned: it is small, and a partition by periodo would force periodo into its key and
-- so into every table that refers to a group.
create table academico.grupos (
    id           integer primary key check (id > 0),
    id_materia   integer not null references academico.materias,
    id_maestro   integer not null references academico.maestros,
    periodo      text not null check (periodo ~ '^[0-9]{4}[AB]$'),
    fecha_inicio date not null,
    event_at     timestamptz not null,
    message_id   uuid not null,
    batch_id     bigint not null
);
create index grupos_periodo on academico.grupos (periodo);
create index grupos_materia on academico.grupos (id_materia);
create index grupos_maestro on academico.grupos (id_maestro);
comment on table academico.grupos is 'Groups: a subject taught by a teacher in a period';
comment on column academico.grupos.id is 'Number of the group';
comment on column academico.grupos.id_materia is 'Subject';
comment on column academico.grupos.id_maestro is 'Teacher';
comment on column academico.grupos.periodo is 'Half year, as 2024A';
comment on column academico.grupos.fecha_inicio is 'First day; the day of the event when the message has none';

create table academico.alumnos (
    id         integer primary key check (id > 0),
    nombre     text not null,
    edad       integer check (edad > 0),
    genero     char(1) check (genero in ('M', 'F')),
    event_at   timestamptz not null,
    message_id uuid not null,
    batch_id   bigint not null
);
comment on table academico.alumnos is 'Students';
comment on column academico.alumnos.id is 'Number of the student';
comment on column academico.alumnos.nombre is 'Full name';
comment on column academico.alumnos.edad is 'Age in years';
comment on column academico.alumnos.genero is 'M or F';

-- The two large tables are partitioned by hash of the student: the natural key contains it, a
-- student's rows stay together, and it is the column a distributed table would be spread by.
create table academico.inscripciones (
    id_alumno         integer not null references academico.alumnos,
    id_grupo          integer not null references academico.grupos,
    fecha_inscripcion date not null,
    event_at          timestamptz not null,
    message_id        uuid not null,
    batch_id          bigint not null,
    primary key (id_alumno, id_grupo)
) partition by hash (id_alumno);
create index inscripciones_grupo on academico.inscripciones (id_grupo);
comment on table academico.inscripciones is 'Enrolments, one per student and group';
comment on column academico.inscripciones.id_alumno is 'Student';
comment on column academico.inscripciones.id_grupo is 'Group';
comment on column academico.inscripciones.fecha_inscripcion is 'Day of enrolment';

create table academico.calificaciones (
    id_alumno      integer not null references academico.alumnos,
    id_grupo       integer not null references academico.grupos,
    calificacion   numeric(4,2) not null check (calificacion between 0 and 10),
    fecha_registro date not null,
    event_at       timestamptz not null,
    message_id     uuid not null,
    batch_id       bigint not null,
    primary key (id_alumno, id_grupo)
) partition by hash (id_alumno);
create index calificaciones_grupo on academico.calificaciones (id_grupo);
comment on table academico.calificaciones is 'Marks, one per student and group';
comment on column academico.calificaciones.id_alumno is 'Student';
comment on column academico.calificaciones.id_grupo is 'Group';
comment on column academico.calificaciones.calificacion is 'Mark from 0 to 10';
comment on column academico.calificaciones.fecha_registro is 'Day of the record';

do $$
begin
    for part in 0..7 loop
        execute format('create table academico.inscripciones_%s partition of academico.inscripciones for values with (modulus 8, remainder %s)', part, part);
        execute format('create table academico.calificaciones_%s partition of academico.calificaciones for values with (modulus 8, remainder %s)', part, part);
    end loop;
end
$$;

create table academico.calificaciones_audit (
    audit_id              bigint generated always as identity primary key,
    id_alumno             integer not null,
    id_grupo              integer not null,
    calificacion_anterior numeric(4,2) not null,
    calificacion_nueva    numeric(4,2) not null,
    message_id_anterior   uuid not null,
    message_id            uuid not null,
    event_at              timestamptz not null,
    changed_at            timestamptz not null default now()
);
create index calificaciones_audit_key on academico.calificaciones_audit (id_alumno, id_grupo);
comment on table academico.calificaciones_audit is 'Every change of a mark that was already in the core';
comment on column academico.calificaciones_audit.audit_id is 'Number of the change';
comment on column academico.calificaciones_audit.id_alumno is 'Student';
comment on column academico.calificaciones_audit.id_grupo is 'Group';
comment on column academico.calificaciones_audit.calificacion_anterior is 'Mark before';
comment on column academico.calificaciones_audit.calificacion_nueva is 'Mark after';
comment on column academico.calificaciones_audit.message_id_anterior is 'Message of the version that was replaced';
comment on column academico.calificaciones_audit.message_id is 'Message that set the new mark';
comment on column academico.calificaciones_audit.event_at is 'Event time of the new mark';
comment on column academico.calificaciones_audit.changed_at is 'When it was applied';

do $$
declare
    v_table text;
begin
    foreach v_table in array array['maestros', 'materias', 'grupos', 'alumnos', 'inscripciones', 'calificaciones'] loop
        execute format('comment on column academico.%I.event_at is %L', v_table, 'Event time of the version that won');
        execute format('comment on column academico.%I.message_id is %L', v_table, 'Message of the version that won');
        execute format('comment on column academico.%I.batch_id is %L', v_table, 'Batch it came in');
    end loop;
end
$$;

create table stg.maestros_upsert (
    like core.staging_envelope including defaults including comments,
    id_maestro   integer not null,
    nombre       text not null,
    especialidad text
) partition by range (day);

create table stg.materias_upsert (
    like core.staging_envelope including defaults including comments,
    id_materia integer not null,
    nombre     text not null,
    creditos   integer not null
) partition by range (day);

create table stg.grupos_upsert (
    like core.staging_envelope including defaults including comments,
    id_grupo     integer not null,
    id_materia   integer not null,
    id_maestro   integer not null,
    periodo      text not null,
    fecha_inicio date
) partition by range (day);

create table stg.alumnos_upsert (
    like core.staging_envelope including defaults including comments,
    id_alumno integer not null,
    nombre    text not null,
    edad      integer not null,
    genero    char(1) not null check (genero in ('M', 'F'))
) partition by range (day);

create table stg.inscripciones_event (
    like core.staging_envelope including defaults including comments,
    id_alumno         integer not null,
    id_grupo          integer not null,
    fecha_inscripcion date
) partition by range (day);

create table stg.calificaciones_event (
    like core.staging_envelope including defaults including comments,
    id_alumno      integer not null,
    id_grupo       integer not null,
    calificacion   numeric(4,2) not null check (calificacion between 0 and 10),
    fecha_registro date
) partition by range (day);

select core.prepare_staging(staging::regclass)
from unnest(array[
    'stg.maestros_upsert', 'stg.materias_upsert', 'stg.grupos_upsert',
    'stg.alumnos_upsert', 'stg.inscripciones_event', 'stg.calificaciones_event'
]) as staging;

comment on table stg.maestros_upsert is 'Staged messages academico.maestro';
comment on table stg.materias_upsert is 'Staged messages academico.materia';
comment on table stg.grupos_upsert is 'Staged messages academico.grupo';
comment on table stg.alumnos_upsert is 'Staged messages academico.alumno';
comment on table stg.inscripciones_event is 'Staged messages academico.inscripcion';
comment on table stg.calificaciones_event is 'Staged messages academico.calificacion';
