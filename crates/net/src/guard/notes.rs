//! Notes of the guard about deliveries, kept beside the stream so that no header can forge them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::properties::Unreadable;

/// Something that must be known of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Bytes of memory that its properties take, about.
    pub weight: usize,
    /// Parts of its properties, exchange or routing key that cannot be read and were left out of the
    /// delivery; empty when everything can be read.
    pub unreadable: Vec<Unreadable>,
    /// Its property list as it came; empty when everything can be read.
    pub list: Vec<u8>,
}

/// The notes of a connection, by channel and delivery tag. They wait until they are taken, or for
/// the end of the connection.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many there are: most connections never have one.
    count: AtomicUsize,
    all: Mutex<HashMap<(u16, u64), Note>>,
}

impl Notes {
    pub(super) fn put(&self, channel: u16, tag: u64, note: Note) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((channel, tag), note);
        self.0.count.store(all.len(), Ordering::Release);
    }

    /// The weight of a delivery's properties, if it was worth a note; else 0.
    #[must_use]
    pub fn weight(&self, channel: u16, tag: u64) -> usize {
        self.with(|all| all.get(&(channel, tag)).map(|note| note.weight))
            .unwrap_or(0)
    }

    /// Whether something of a delivery cannot be read.
    #[must_use]
    pub fn is_unreadable(&self, channel: u16, tag: u64) -> bool {
        let unreadable = |note: &Note| !note.unreadable.is_empty();
        self.with(|all| all.get(&(channel, tag)).map(unreadable))
            .unwrap_or(false)
    }

    /// Takes the note of a delivery.
    #[must_use]
    pub fn take(&self, channel: u16, tag: u64) -> Option<Note> {
        self.with(|all| {
            let note = all.remove(&(channel, tag));
            self.0.count.store(all.len(), Ordering::Release);
            note
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<(u16, u64), Note>) -> Option<T>) -> Option<T> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        act(&mut self.0.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
