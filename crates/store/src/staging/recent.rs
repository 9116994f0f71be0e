//! Which ids were probably written a short while ago: a hint that spares look-ups.

use uuid::Uuid;

/// Ids that a filter holds.
const IDS: usize = 1 << 17;
/// Words of a filter, one for two ids: of ids that were never noted it suspects one in 2,000.
const WORDS: usize = IDS / 2;
/// Bits that an id sets, all in one word: the processor waits for memory once.
const HASHES: u32 = 5;

/// The last ids, at least 131,072 and at most twice as many, in two [Bloom filters](https://doi.org/10.1145/362686.362692)
/// of 512 KiB, [blocked by words](https://doi.org/10.1145/1498698.1594230): when one is full, it takes the place of the other.
pub struct RecentIds {
    filling: Vec<u64>,
    full: Vec<u64>,
    noted: usize,
}

impl Default for RecentIds {
    fn default() -> Self {
        Self {
            filling: vec![0; WORDS],
            full: vec![0; WORDS],
            noted: 0,
        }
    }
}

impl RecentIds {
    /// Notes an id. Returns whether it was noted recently: a false no is impossible, a false yes is rare.
    pub fn note(&mut self, id: Uuid) -> bool {
        if self.noted == IDS {
            std::mem::swap(&mut self.filling, &mut self.full);
            self.filling.fill(0);
            self.noted = 0;
        }
        self.noted += 1;
        let (word, bits) = place(id);
        let known = self.filling[word] & bits == bits || self.full[word] & bits == bits;
        self.filling[word] |= bits;
        known
    }
}

/// The word of an id, and its bits in it.
fn place(id: Uuid) -> (usize, u64) {
    let (high, low) = id.as_u64_pair();
    let hash = mix(high ^ mix(low));
    // Six bits of the hash for each bit that is set; the word is chosen by others.
    let bits = (0..HASHES).fold(0, |bits, n| bits | 1 << (hash >> (6 * n) & 63));
    let word = usize::try_from(hash >> 32).unwrap_or_default() % WORDS;
    (word, bits)
}

/// The finalizer of SplitMix64, in which each bit of the input changes half of those of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use super::*;

    fn random(n: u64) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(n)
    }

    type Ids = (&'static str, fn(u64) -> Uuid);

    /// Ids as publishers choose them: counted, random, and of one moment.
    fn ids() -> [Ids; 3] {
        [
            ("counted", |n| Uuid::from_u64_pair(0, n)),
            ("random", |n| Uuid::from_u64_pair(random(n), random(!n))),
            ("of one moment", |_| Uuid::now_v7()),
        ]
    }

    #[test]
    fn an_id_is_remembered_for_as_many_as_promised() {
        for (kind, id) in ids() {
            let mut recent = RecentIds::default();
            let first = id(u64::MAX);
            recent.note(first);
            let later = (1..IDS as u64).map(id);
            let suspected = later.filter(|id| recent.note(*id)).count();
            assert!(suspected < IDS / 1000, "{kind}: {suspected}");
            assert!(recent.note(first), "{kind}");
        }
    }

    #[test]
    fn it_is_forgotten_in_the_end() {
        for (kind, id) in ids() {
            let mut recent = RecentIds::default();
            let first: Vec<_> = (0..1000).map(|n| id(u64::MAX - n)).collect();
            for id in &first {
                recent.note(*id);
            }
            for number in 0..2 * IDS as u64 {
                recent.note(id(number));
            }
            let known = first.iter().filter(|id| recent.note(**id)).count();
            assert!(known < 10, "{kind}: {known}");
        }
    }
}
