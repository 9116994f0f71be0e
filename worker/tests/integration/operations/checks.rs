//! Findings of the doctor.

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_ops::doctor::Verdict;
use acequia_schema::migrate;

use super::{doctor, failed, postgres};
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let platform = Platform::new().await;
    let (database, broker) = (platform.database_url(), platform.broker_url());
    // Without a worker there are no queues yet: a warning, no failure.
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), Vec::<&str>::new());
    let worker = platform.worker(&[]);
    worker.ready().await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), Vec::<&str>::new());
    let warned = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Warn);
    // Old brokers work, but are warned of.
    assert!(
        warned
            .into_iter()
            .all(|finding| finding.check == "broker version"),
        "{findings:?}"
    );
    worker.stop().await;

    let wrong = |url: &str| {
        let mut url: url::Url = url.parse().unwrap();
        url.set_password(Some("wrong-secret")).unwrap();
        SecretUrl::parse(url.as_str(), &["postgres", "amqp"]).unwrap()
    };
    let nowhere = |url: &str| {
        let mut url: url::Url = url.parse().unwrap();
        url.set_port(Some(1)).unwrap();
        SecretUrl::parse(url.as_str(), &["postgres", "amqp"]).unwrap()
    };
    for bad in [
        wrong(&platform.database.worker),
        nowhere(&platform.database.worker),
    ] {
        assert_eq!(
            failed(&doctor(&platform, &bad, &broker).await),
            ["database"]
        );
    }
    for bad in [wrong(&platform.broker.url), nowhere(&platform.broker.url)] {
        assert_eq!(
            failed(&doctor(&platform, &database, &bad).await),
            ["broker"]
        );
    }

    let staging = catalog()[0].entities[0].staging;
    platform
        .execute(&format!("revoke insert on {staging} from acequia_worker"))
        .await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), ["rights"]);
    assert!(
        findings
            .iter()
            .any(|finding| finding.found.contains(staging))
    );
    // Its remedy helps.
    platform
        .execute("update core.routines set checksum = 'other'; delete from core.routine_history")
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["schema"]
    );
    migrate(&postgres(&platform.database.owner), &[])
        .await
        .unwrap();
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        Vec::<&str>::new()
    );

    platform
        .execute("revoke select on core.conservation from acequia_worker")
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["rights", "database"]
    );
    platform
        .execute("grant select on core.conservation to acequia_worker; drop view marts.alumnos_en_riesgo")
        .await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), ["schema"]);
    let lacks = findings
        .iter()
        .find(|finding| finding.check == "schema")
        .unwrap();
    assert!(
        lacks.found.contains("view marts.alumnos_en_riesgo"),
        "{lacks:?}"
    );
    let error = format!("{:#}", platform.worker(&[]).ended().await.unwrap_err());
    assert!(error.contains("marts.alumnos_en_riesgo"), "{error}");
    let report = migrate(&postgres(&platform.database.owner), &[])
        .await
        .unwrap();
    assert_eq!(report.routines, ["routines/academico/7_marts.sql"]);
    platform
        .execute("revoke usage on schema core from acequia_worker")
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["schema"]
    );

    let today =
        format!("select to_regclass('{staging}' || to_char(current_date, '\"_p\"YYYYMMDD'))::text");
    let partition = &platform.texts(&today).await[0];
    platform
        .execute(&format!(
            "grant usage on schema core to acequia_worker; drop table {partition}"
        ))
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["partitions"]
    );
}
