-- Effect of a change of a client's clock: its days begin and end at other instants.

create or replace function consumo.rezone_client(p_cliente text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_cliente text[];
    v_instante timestamptz[];
    v_wh integer[];
    v_marca smallint[];
begin
-- The days hold every hour that there is, the archived ones too.
select array_agg(d.propietario_id), array_agg(d.inicio + (u.k - 1) * interval '1 hour'), array_agg(u.v), array_agg(u.m)
into v_cliente, v_instante, v_wh, v_marca
from consumo.dias d
cross join lateral unnest(d.wh, d.marcas) with ordinality u (v, m, k)
where d.propietario_id = any (p_cliente) and u.v is not null;
if v_cliente is null then
    return;
end if;
delete from consumo.dias d where d.propietario_id = any (p_cliente);
delete from consumo.bases b where b.propietario_id = any (p_cliente);
-- Anomalies of days: the days now begin at other instants.
delete from consumo.anomalias a where a.propietario_id = any (p_cliente) and a.ambito = 'dia';
perform consumo.evaluate(v_cliente, v_instante, v_wh, v_marca);
end
$$;
comment on function consumo.rezone_client(text[]) is 'Cuts the days of clients anew after a change of their clock, and judges them again';

create or replace function consumo.after_cliente(p_before consumo.clientes[], p_after consumo.clientes[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_moved text[];
begin
-- Before a client was known, its days were cut by the clock of Madrid.
select array_agg(n.propietario_id) into v_moved
from unnest(p_after) n
left join unnest(p_before) b on b.propietario_id = n.propietario_id
where n.zona <> coalesce(b.zona, 'Europe/Madrid');
if v_moved is not null then
    perform consumo.rezone_client(v_moved);
end if;
end
$$;
comment on function consumo.after_cliente(consumo.clientes[], consumo.clientes[]) is 'Hook of consumo.merge_clientes: days and verdicts follow a change of the clock';
