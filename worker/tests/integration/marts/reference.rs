//! Columns and acceptance queries of the reference system.

use sqlx::{AssertSqlSafe, Column, Row};

use super::Demo;

#[tokio::test(flavor = "multi_thread")]
async fn columns_have_the_names_and_the_order_of_the_reference_and_the_count_after_them() {
    let demo = Demo::new().await;
    let mut analyst = demo.analyst().await;
    for (mart, columns) in [
        (
            "marts.kpi_grupo",
            "id_grupo, periodo, materia, profesor, alumnos_inscritos, promedio, n",
        ),
        (
            "marts.kpi_materia",
            "id_materia, nombre, promedio, tasa_aprob, n",
        ),
        (
            "marts.materia_periodo_stats",
            "periodo, id_materia, materia, promedio, tasa_aprob, n",
        ),
        (
            "marts.top_materias('2024A', 10)",
            "periodo, id_materia, materia, promedio, tasa_aprob, n",
        ),
        (
            "marts.top_materias(periodo_in => '2024A', n => 1)",
            "periodo, id_materia, materia, promedio, tasa_aprob, n",
        ),
        (
            "marts.ranking_maestros",
            "id_maestro, maestro, promedio, evaluaciones",
        ),
        (
            "marts.alumnos_en_riesgo",
            "periodo, id_alumno, nombre, promedio, n",
        ),
    ] {
        let query = format!("select * from {mart} limit 1");
        let row = sqlx::query(AssertSqlSafe(query))
            .fetch_one(&mut analyst)
            .await
            .unwrap();
        let found: Vec<_> = row.columns().iter().map(Column::name).collect();
        assert_eq!(found.join(", "), columns, "{mart}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_references_acceptance_queries_run_verbatim() {
    let demo = Demo::new().await;
    let mut owner = demo.platform.connect().await;
    let students: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM academico.alumnos;")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(students, 1_000);
    let mut analyst = demo.analyst().await;
    for query in [
        "SELECT * FROM marts.kpi_materia LIMIT 10;",
        "SELECT * FROM marts.ranking_maestros LIMIT 10;",
        "SELECT * FROM marts.alumnos_en_riesgo LIMIT 10;",
    ] {
        for connection in [&mut owner, &mut analyst] {
            let rows = sqlx::raw_sql(query).fetch_all(connection).await.unwrap();
            assert_eq!(rows.len(), 10, "{query}");
        }
    }
}
