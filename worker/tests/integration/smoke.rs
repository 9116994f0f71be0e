//! The shortest way: one message in, one row in the core.

use lapin::BasicProperties;

use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_the_core() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    for domain in acequia_contracts::catalog() {
        let entity = &domain.entities[0];
        let sample = acequia_contracts::fixtures::valid(domain.name, entity.name)[0];
        let key = format!("{}.{}", domain.name, entity.name);
        platform
            .publish("acequia", &key, BasicProperties::default(), sample.body)
            .await;
    }
    let messages = i64::try_from(acequia_contracts::catalog().len()).unwrap();
    platform.settled(messages).await;
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
}
