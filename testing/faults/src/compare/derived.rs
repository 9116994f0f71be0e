//! Derived tables: they must equal a recomputation from the domain tables.

use sqlx::{Acquire as _, PgConnection};

use super::Findings;

/// Days of clients that are not the sums of their readings.
const DAYS: &str = "
select count(*)
from (
    select l.propietario_id, (l.instante at time zone coalesce(c.zona, 'Europe/Madrid'))::date as fecha, count(*) as n,
           sum(l.consumo_kwh * 1000) as suma, max(l.consumo_kwh * 1000) as maximo,
           count(*) filter (where l.anomalia_esperada) as esperadas
    from consumo.lecturas l
    left join consumo.clientes c on c.propietario_id = l.propietario_id
    group by 1, 2
) l
full join consumo.dias d on d.propietario_id = l.propietario_id and d.fecha = l.fecha
where (d.n, d.suma, d.maximo, d.esperadas) is distinct from (l.n, l.suma, l.maximo, l.esperadas)";

/// Sets aside the verdicts made along the way.
const PUT_ASIDE: &str = "
create temporary table judged as
    select propietario_id, modo, instante, ambito, fecha, hora, consumo_kwh, tipos, score, severidad, es_sospechoso, evidencia
    from consumo.anomalias;
delete from consumo.anomalias;
delete from consumo.bases;
select consumo.evaluate_original(array_agg(d.propietario_id), array_agg(d.desde), array_agg(d.hasta), array_agg(d.primera))
from (
    select propietario_id, min(inicio) as desde, max(inicio + (horas - 1) * interval '1 hour') as hasta, min(fecha) as primera
    from consumo.dias group by propietario_id
) d;
select consumo.evaluate_seasonal(array_agg(propietario_id), array_agg(fecha)) from consumo.dias";

/// Where it differs from the anomalies found when all is judged at once.
const JUDGED_OTHERWISE: &str = "
select count(*) from (
    select propietario_id, modo, instante, ambito, fecha, hora, consumo_kwh, tipos, score, severidad, es_sospechoso, evidencia
    from consumo.anomalias
) a
full join judged j on (j.propietario_id, j.modo, j.instante, j.ambito) = (a.propietario_id, a.modo, a.instante, a.ambito)
where to_jsonb(j) is distinct from to_jsonb(a)";

/// Anomalies without an alert, and alerts about withdrawn anomalies: the last alert of each must be true.
const TOLD_OTHERWISE: &str = "
select count(*)
from (
    select distinct on (1, 2, 3) body ->> 'propietario_id' as propietario_id, (body ->> 'timestamp_consumo')::timestamptz as instante,
           body ->> 'ambito' as ambito, body ->> 'estado' as estado
    from core.outbox
    where routing_key = 'consumo.anomalia'
    order by 1, 2, 3, id desc
) o
full join (select a.* from consumo.anomalias a join consumo.modos m on m.modo = a.modo and m.avisa) a
    on (a.propietario_id, a.instante, a.ambito) = (o.propietario_id, o.instante, o.ambito)
where coalesce(o.estado = 'vigente', false) <> (a.propietario_id is not null)";

impl Findings {
    /// Days, anomalies and alerts against the readings that are there.
    pub(super) async fn derived(&mut self, database: &mut PgConnection) -> sqlx::Result<()> {
        for (query, what) in [
            (DAYS, "days are not the sums of their readings"),
            (TOLD_OTHERWISE, "alerts are not true"),
        ] {
            let wrong: i64 = sqlx::query_scalar(query).fetch_one(&mut *database).await?;
            self.none_is(wrong, what);
        }
        let mut again = database.begin().await?;
        sqlx::raw_sql(PUT_ASIDE).execute(&mut *again).await?;
        let wrong = sqlx::query_scalar(JUDGED_OTHERWISE);
        let wrong: i64 = wrong.fetch_one(&mut *again).await?;
        again.rollback().await?;
        self.none_is(wrong, "anomalies are not what the days say");
        Ok(())
    }

    fn none_is(&mut self, wrong: i64, what: &str) {
        if wrong > 0 {
            self.say(format!("{wrong} {what}"));
        }
    }
}
