-- Merges staged readings into consumo.lecturas: the newest version of each client-hour wins. What changed
-- goes into the days of the clients and is judged, in the same transaction.

create or replace function consumo.evaluate(p_cliente text[], p_instante timestamptz[], p_wh integer[], p_marca smallint[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_changed record;
begin
    select * into v_changed from consumo.upsert_days(p_cliente, p_instante, p_wh, p_marca);
    perform consumo.evaluate_original(v_changed.o_cliente, v_changed.o_desde, v_changed.o_hasta, v_changed.o_primera);
    perform consumo.evaluate_seasonal(v_changed.o_de, v_changed.o_fechas);
end
$$;
comment on function consumo.evaluate(text[], timestamptz[], integer[], smallint[]) is 'Puts readings in their days and judges what they change, in every way of judging';

create or replace function consumo.ensure_months(p_instante timestamptz[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_month date;
begin
    for v_month in
        select distinct date_trunc('month', t at time zone 'UTC')::date from unnest(p_instante) t
        -- A clock that has gone mad must not fill the database with partitions.
        where t > now() - interval '10 years' and t < now() + interval '40 days'
    loop
        perform core.partition_by_month('consumo.lecturas', v_month);
    end loop;
end
$$;
comment on function consumo.ensure_months(timestamptz[]) is 'Makes the partitions of consumo.lecturas for the months of these instants';

create or replace function consumo.merge_lecturas(p_batches bigint[]) returns setof core.merge_outcome
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_outcomes core.merge_outcome[];
    v_cliente text[];
    v_instante timestamptz[];
    v_wh integer[];
    v_marca smallint[];
    v_meses timestamptz[];
    v_first date;
    v_last date;
    v_waited stg.consumo_lectura[];
begin
-- The days of the rows: the other partitions of staging are not even opened.
select coalesce(min(coalesce(b.first_day, '-infinity')), '-infinity'), coalesce(max(coalesce(b.last_day, 'infinity')), 'infinity')
into v_first, v_last
from core.batches b where b.batch_id = any (p_batches);
-- A statement of its own: those that follow see every month that left before it.
lock table consumo.lecturas in row exclusive mode;
-- Rows that waited and may go on now, a bounded number at a time. Mostly there are none, and then no partition
-- is opened to find them.
if exists (select from core.pending p where p.entity = 'consumo.lectura' and p.ready) then
    v_waited := array(
        select s from core.pending p
        join stg.consumo_lectura s on s.message_id = p.message_id and s.day = p.day
        where p.entity = 'consumo.lectura' and p.ready limit 50000);
end if;
select array_agg(x.mes) into v_meses
from (
    select distinct date_trunc('month', s.timestamp, 'UTC') as mes
    from stg.consumo_lectura s where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)
    union
    select date_trunc('month', s.timestamp, 'UTC') from unnest(v_waited) s
) x;
perform consumo.ensure_months(v_meses);

-- The staged rows, and those that waited for a month that has come back.
with candidate as (
    select s.*, false as waited
    from stg.consumo_lectura s
    where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)
    union all
    select s.*, true from unnest(v_waited) s
),
-- Archived months: the newer version is unknown until they are restored.
away as materialized (
    select a.* from core.archived('consumo.lecturas', (select min(m) from unnest(v_meses) m),
        (select max(m) + interval '1 month' from unnest(v_meses) m)) a
),
ranked as (
    select s.message_id, s.day, s.batch_id, s.event_at, s.propietario_id, s.timestamp as instante, s.hora::smallint as hora, s.consumo_kwh,
           coalesce(s.es_sospechoso, false) as es_sospechoso,
           coalesce(s.anomalia_esperada, s.tipo_anomalia is not null) as anomalia_esperada,
           s.tipo_anomalia, s.timestamp_procesado, s.waited, a.parent_key,
           row_number() over (partition by s.propietario_id, s.timestamp order by s.event_at desc, s.message_id desc) as age
    from candidate s
    left join away a on s.timestamp >= a.from_at and s.timestamp < a.to_at
),
-- Outcome of each row, compared with the core.
verdict as materialized (
    select n.*,
           case when n.parent_key is not null then 'pending'
                when n.age > 1 then 'stale'
                when c.propietario_id is null then 'inserted'
                when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'
                when (n.hora, n.consumo_kwh, n.es_sospechoso, n.anomalia_esperada, n.tipo_anomalia, n.timestamp_procesado)
                    is not distinct from (c.hora, c.consumo_kwh, c.es_sospechoso, c.anomalia_esperada, c.tipo_anomalia, c.timestamp_procesado)
                    then 'unchanged'
                else 'updated' end as outcome
    from ranked n
    -- Looked up row by row: the planner takes one look into many months for many, and would rather read
    -- the whole of them.
    left join lateral (
        select * from consumo.lecturas t where t.propietario_id = n.propietario_id and t.instante = n.instante offset 0
    ) c on true
),
written as (
    insert into consumo.lecturas (propietario_id, instante, hora, consumo_kwh, es_sospechoso, anomalia_esperada,
        tipo_anomalia, timestamp_procesado, event_at, message_id, batch_id)
    select n.propietario_id, n.instante, n.hora, n.consumo_kwh, n.es_sospechoso, n.anomalia_esperada,
           n.tipo_anomalia, n.timestamp_procesado, n.event_at, n.message_id, n.batch_id
    from verdict n
    where n.outcome = 'inserted'
),
-- An unchanged row still brings its version: an older one that comes later must stay out.
rewritten as (
    update consumo.lecturas c
    set hora = n.hora, consumo_kwh = n.consumo_kwh, es_sospechoso = n.es_sospechoso,
        anomalia_esperada = n.anomalia_esperada, tipo_anomalia = n.tipo_anomalia,
        timestamp_procesado = n.timestamp_procesado,
        event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id
    from verdict n
    where n.outcome in ('updated', 'unchanged') and c.propietario_id = n.propietario_id and c.instante = n.instante
),
deferred as (
    insert into core.pending as p (entity, message_id, day, batch_id, parent, parent_key)
    select 'consumo.lectura', n.message_id, n.day, n.batch_id, 'core.archives', n.parent_key
    from verdict n
    where n.outcome = 'pending'
    on conflict (entity, message_id, day) do update
    set parent = excluded.parent, parent_key = excluded.parent_key, ready = false
),
settled as (
    delete from core.pending p
    using verdict n
    where v_waited is not null and n.waited and n.outcome <> 'pending'
      and p.entity = 'consumo.lectura' and p.message_id = n.message_id and p.day = n.day
),
counted as (
    select row(n.batch_id, (count(*) filter (where not n.waited))::int, (count(*) filter (where n.outcome = 'inserted'))::int,
        (count(*) filter (where n.outcome = 'updated'))::int, (count(*) filter (where n.outcome = 'unchanged'))::int,
        (count(*) filter (where n.outcome = 'stale'))::int,
        (count(*) filter (where n.outcome = 'pending' and not n.waited)
            - count(*) filter (where n.waited and n.outcome <> 'pending'))::int, 0)::core.merge_outcome as outcome
    from verdict n
    group by n.batch_id
),
changed as (
    select n.propietario_id, n.instante, (n.consumo_kwh * 1000)::int as wh,
           (case when n.anomalia_esperada then coalesce(t.codigo, 5) else 0 end + n.es_sospechoso::int * 8 + n.hora * 16)::smallint as marca
    from verdict n
    left join consumo.tipos t on t.tipo = n.tipo_anomalia
    where n.outcome in ('inserted', 'updated')
)
select (select array_agg(c.outcome) from counted c),
       array_agg(g.propietario_id), array_agg(g.instante), array_agg(g.wh), array_agg(g.marca)
into v_outcomes, v_cliente, v_instante, v_wh, v_marca
from changed g;

if v_cliente is not null then
    perform consumo.evaluate(v_cliente, v_instante, v_wh, v_marca);
end if;
return query select o.* from unnest(v_outcomes) o;
end
$$;
comment on function consumo.merge_lecturas(bigint[]) is 'Merges staged readings of the given batches, newer wins, and judges what changed; readings of archived months wait until these are back; one row of counts per batch';
