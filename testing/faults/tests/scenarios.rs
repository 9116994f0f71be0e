//! Every scenario in its small form. Two at a time: servers are heavy.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use acequia_faults::{RunOptions, all, find, play};
use tokio::sync::Semaphore;

static PLACES: Semaphore = Semaphore::const_new(2);

async fn passes(name: &str) {
    let _place = PLACES.acquire().await.unwrap();
    let run_options = RunOptions {
        long: false,
        seed: 1,
        observe: false,
    };
    let outcome = play(find(name).expect(name), &run_options).await;
    println!("{}", outcome.text());
    assert!(outcome.passed(), "{}", outcome.text());
}

macro_rules! scenarios {
    ($($test:ident $name:literal)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            passes($name).await;
        })*

        /// A scenario without a test would never be played.
        #[test]
        fn every_scenario_has_a_test() {
            let tested = [$($name),*];
            for scenario in all().iter().filter(|scenario| !scenario.slow) {
                assert!(tested.contains(&scenario.name), "{} has no test", scenario.name);
            }
        }
    };
}

scenarios! {
    a_worker_killed_at_random_moments "worker-kill"
    a_worker_stopped_for_a_while "worker-stop"
    a_crash_between_commit_and_acknowledgement "crash-after-commit"
    a_broker_killed_and_started_again "broker-kill"
    a_memory_alarm_of_the_broker "memory-alarm"
    a_disk_alarm_of_the_broker "disk-alarm"
    all_connections_closed_by_the_broker "connections-closed"
    a_queue_deleted_under_its_consumer "queue-deleted"
    a_database_stopped_at_once_and_started_again "database-crash"
    a_database_that_stands_still "database-freeze"
    every_backend_terminated_again_and_again "backends-ended"
    a_lock_held_on_a_core_table "lock-held"
    a_full_disk_under_the_database "disk-full"
    a_cut_between_worker_and_broker "broker-cut"
    a_cut_between_worker_and_database "database-cut"
    late_answers_of_the_broker "broker-latency"
    late_answers_of_the_database "database-latency"
    a_message_that_crashes_workers "poison"
    four_workers_and_many_copies "four-workers"
    publishers_with_wrong_clocks "clock-skew"
    four_migrations_at_once "migration-race"
    hostile_input "hostile"
    deliveries_that_no_library_reads "hostile-deliveries"
}
