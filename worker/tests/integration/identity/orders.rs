//! Copies, reused ids and corrections in any order, against an oracle that knows nothing of how the platform does it.

use std::collections::{BTreeMap, BTreeSet};

use acequia_contracts::generate::SeededRng;

use crate::support::school::{alumno_body, message};
use crate::support::{Message, Platform};

/// A message as a publisher sends it: some content under some id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sent {
    /// Number of the id.
    id: u32,
    /// Number of the student: the content.
    content: u32,
    /// Whether the contract takes it.
    good: bool,
}

impl Sent {
    fn message(self) -> Message {
        let mut body = alumno_body(1 + i32::try_from(self.content).unwrap());
        if !self.good {
            body["edad"] = (-1).into();
        }
        let sent = message("alumno", &body);
        // Of all forms that an id may have.
        match self.id % 3 {
            0 => sent.with_id(&self.id.to_string()),
            1 => sent.with_id(&format!("00000000-0000-4000-8000-{:012}", self.id)),
            _ => sent.with_id(&format!("0190163d-8694-739b-aea5-{:012}", self.id)),
        }
    }

    fn body(self) -> String {
        String::from_utf8(self.message().body).unwrap()
    }
}

/// Each content is sent under one id only, some contents good and some bad, in any order and up to three times.
fn traffic(rng: &mut SeededRng, ids: u32) -> Vec<Sent> {
    let mut all = Vec::new();
    for id in 0..ids {
        for content in 0..=rng.below(3) {
            let sent = Sent {
                id,
                content: id * 3 + content,
                good: rng.percent(60),
            };
            for _ in 0..=rng.below(2) {
                all.push(sent);
            }
        }
    }
    let order = rng.order(u32::try_from(all.len()).unwrap());
    order.into_iter().map(|place| all[place as usize]).collect()
}

/// Body and whether it is open, of each row in quarantine.
async fn in_quarantine(platform: &Platform) -> BTreeMap<String, (String, bool)> {
    let rows = platform.quarantine().await.into_iter().map(|row| {
        let body = String::from_utf8(row.body).unwrap();
        (body, (row.code, row.status == "open"))
    });
    rows.collect()
}

/// One after the other the outcome of each is known.
#[tokio::test(flavor = "multi_thread")]
async fn in_any_order_each_message_ends_where_it_must() {
    for seed in 0..4 {
        let mut rng = SeededRng::new(seed, 17_u64);
        let traffic = traffic(&mut rng, 40);
        // The oracle reads the list from the beginning, a message at a time.
        let mut accepted: BTreeMap<u32, Sent> = BTreeMap::new();
        let mut refused: BTreeMap<Sent, (&str, bool)> = BTreeMap::new();
        let mut duplicates = 0;
        for sent in &traffic {
            let before = accepted.get(&sent.id);
            if before == Some(sent) || refused.contains_key(sent) {
                duplicates += 1;
            } else if !sent.good {
                refused.insert(*sent, ("out_of_range", true));
            } else if before.is_some() {
                refused.insert(*sent, ("id_reused", true));
            } else {
                accepted.insert(sent.id, *sent);
                for (_, row) in refused.iter_mut().filter(|(other, _)| other.id == sent.id) {
                    row.1 = false;
                }
            }
        }
        let platform = Platform::new().await;
        platform.declare().await;
        let messages: Vec<_> = traffic.iter().map(|sent| sent.message()).collect();
        platform.publish_all(&messages).await;
        let worker = platform.worker(&["--batch-max", "1"]);
        let received = i64::try_from(traffic.len()).unwrap();
        platform.settled(received).await;
        let expected: BTreeMap<_, _> = refused
            .iter()
            .map(|(sent, (code, open))| (sent.body(), ((*code).to_owned(), *open)))
            .collect();
        assert_eq!(in_quarantine(&platform).await, expected, "seed {seed}");
        let total = platform.total().await;
        let count = |len: usize| i64::try_from(len).unwrap();
        assert_eq!(
            (
                total.inserted,
                total.quarantined,
                total.duplicates,
                total.unaccounted
            ),
            (count(accepted.len()), count(refused.len()), duplicates, 0),
            "seed {seed}"
        );
        worker.ready().await;
        worker.stop().await;
    }
}

/// With several writers chance decides which of two messages takes the id, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn four_writers_at_once_keep_every_content_once() {
    let mut rng = SeededRng::new(23, 17_u64);
    let traffic = traffic(&mut rng, 400);
    let platform = Platform::new().await;
    platform.declare().await;
    let workers: Vec<_> = ["1", "7", "50", "500"]
        .map(|most| platform.worker(&["--batch-max", most]))
        .into();
    for worker in &workers {
        worker.ready().await;
    }
    let auditor = platform.auditor().await;
    let messages: Vec<_> = traffic.iter().map(|sent| sent.message()).collect();
    platform.publish_all(&messages).await;
    platform
        .settled(i64::try_from(traffic.len()).unwrap())
        .await;
    auditor.finish().await;
    for worker in workers {
        worker.ready().await;
        worker.stop().await;
    }

    let distinct: BTreeSet<Sent> = traffic.iter().copied().collect();
    let kept = in_quarantine(&platform).await;
    let core: BTreeSet<i64> = platform
        .texts("select id::text from academico.alumnos")
        .await
        .iter()
        .map(|id| id.parse().unwrap())
        .collect();
    let mut inserted = 0;
    for id in 0..400 {
        let all: Vec<_> = distinct.iter().filter(|sent| sent.id == id).collect();
        let in_core = |sent: &&&Sent| core.contains(&(1 + i64::from(sent.content)));
        let taken: Vec<_> = all.iter().filter(in_core).collect();
        let some_good = all.iter().any(|sent| sent.good);
        assert_eq!(taken.len(), usize::from(some_good), "{all:?}");
        assert!(taken.iter().all(|sent| sent.good), "{all:?}");
        inserted += taken.len();
        for sent in all.iter().filter(|sent| !taken.contains(sent)) {
            let (code, open) = &kept[&sent.body()];
            let expected = if sent.good {
                "id_reused"
            } else {
                "out_of_range"
            };
            assert_eq!(code, expected, "{sent:?}");
            assert!(*open || (!sent.good && some_good), "{sent:?}");
        }
    }
    assert_eq!(kept.len() + inserted, distinct.len());
    let total = platform.total().await;
    let count = |len: usize| i64::try_from(len).unwrap();
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (
            count(inserted),
            count(kept.len()),
            count(traffic.len() - distinct.len()),
            0
        )
    );
}
