//! The series of ingest. All of them exist from the start.

use acequia_messaging::{FLUSHED_BY, INTERRUPTED_BY};
use acequia_telemetry::metric_set;

use crate::metrics::{ANSWER, LAG, WORK, create_failures};

/// Messages in a batch.
const SIZE: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 30000.0,
];

metric_set! {
    /// Metrics of the lanes.
    pub struct Ingest {
        pub(super) received: counters(
            "acequia_received_messages_total",
            "Messages taken from the queue and settled in a committed batch.",
            &["queue"],
        ),
        pub(super) received_bytes: counters(
            "acequia_received_bytes_total",
            "Body bytes of the received messages.",
            &["queue"],
        ),
        pub(super) redelivered: counters(
            "acequia_redelivered_messages_total",
            "Received messages that the broker had delivered before.",
            &["queue"],
        ),
        pub(super) duplicates: counters(
            "acequia_duplicate_messages_total",
            "Messages seen before.",
            &["domain", "entity"],
        ),
        pub(super) staged: counters("acequia_staged_rows_total", "Rows staged.", &["domain", "entity"]),
        pub(super) quarantined: counters(
            "acequia_quarantined_messages_total",
            "Messages put in quarantine, by stage and code.",
            &["domain", "stage", "code"],
        ),
        pub(super) implausible_times: counters(
            "acequia_implausible_publish_times_total",
            "Messages with a publish time that cannot be true, which counts as none.",
            &["queue"],
        ),
        pub(super) unknown_fields: counters(
            "acequia_unknown_fields_total",
            "Fields of valid messages that the contract does not know.",
            &["domain", "entity"],
        ),
        pub(super) in_queue: histograms(
            "acequia_queue_duration_seconds",
            "From publishing to the delivery to a worker; each message counts with the time of the oldest of its batch.",
            &["queue"], LAG,
        ),
        pub(super) batch_messages: histograms(
            "acequia_batch_messages",
            "Messages in a staged batch.",
            &["queue"], SIZE,
        ),
        pub(super) flushes: counters(
            "acequia_batch_flushes_total",
            "Batches taken from the queue, by what ended their collection.",
            &["queue", "reason"],
        ),
        pub(super) decode_seconds: histograms(
            "acequia_decode_duration_seconds",
            "Decoding and validating a batch.",
            &["queue"], WORK,
        ),
        pub(super) stage_seconds: histograms(
            "acequia_stage_duration_seconds",
            "Decoding, validating and staging a batch.",
            &["queue"], WORK,
        ),
        pub(super) retries: counters(
            "acequia_batch_retries_total",
            "Batches that could not be staged at once, by class of failure.",
            &["queue", "failure"],
        ),
        pub(super) in_flight_messages: int_gauges(
            "acequia_in_flight_messages",
            "Messages delivered to the worker and not yet acknowledged.",
            &["queue"],
        ),
        pub(super) in_flight_bytes: int_gauges(
            "acequia_in_flight_bytes",
            "Body bytes delivered to the worker and not yet acknowledged.",
            &["queue"],
        ),
        pub(super) prefetch: int_gauges(
            "acequia_prefetch_messages",
            "Messages that may be in flight; 0 while the lane does not consume.",
            &["queue"],
        ),
        pub(super) paused: int_gauges(
            "acequia_ingest_paused",
            "1 while ingest waits for promotion to catch up.",
            &["queue"],
        ),
        pub(super) stream_paused: int_gauges(
            "acequia_stream_paused",
            "1 while an operator has paused the stream: its messages stay in the queue.",
            &["queue"],
        ),
        pub(super) connected: int_gauges("acequia_amqp_connection_up", "1 while the lane consumes.", &["queue"]),
        pub(super) attempts: counters(
            "acequia_amqp_connection_attempts_total",
            "Attempts to connect to the broker and to consume.",
            &["queue", "outcome"],
        ),
        pub(super) disconnects: counters(
            "acequia_amqp_disconnects_total",
            "Times that consuming was interrupted, by reason.",
            &["queue", "reason"],
        ),
        pub(super) lost: counters(
            "acequia_lost_messages_total",
            "Acknowledged messages that the database lost: a server took over without them.",
            &["domain"],
        ),
        pub(super) broker_pings: histograms(
            "acequia_broker_ping_duration_seconds",
            "From a question about the queue to the broker's answer, one every five seconds.",
            &["queue"], ANSWER,
        ),
    }
}

impl Ingest {
    /// Creates the series of a lane.
    pub(super) fn create_lane(&self, queue: &str) {
        for counter in [
            &self.received,
            &self.received_bytes,
            &self.redelivered,
            &self.implausible_times,
        ] {
            counter.with_label_values(&[queue]);
        }
        for histogram in [
            &self.in_queue,
            &self.batch_messages,
            &self.decode_seconds,
            &self.stage_seconds,
            &self.broker_pings,
        ] {
            histogram.with_label_values(&[queue]);
        }
        for gauge in [&self.connected, &self.paused, &self.stream_paused] {
            gauge.with_label_values(&[queue]);
        }
        self.flow(queue);
        create_failures(&self.retries, queue);
        for outcome in ["success", "failure"] {
            self.attempts.with_label_values(&[queue, outcome]);
        }
        for reason in FLUSHED_BY {
            self.flushes.with_label_values(&[queue, reason]);
        }
        for reason in INTERRUPTED_BY {
            self.disconnects.with_label_values(&[queue, reason]);
        }
    }
}
