//! From a domain's generator to the messages that are sent: invalid ones and copies are mixed
//! in, all by chance and all the same for the same seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use acequia_contracts::generate::Synthetic;
use acequia_contracts::{Domain, fixtures};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches as _};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::cli;
use crate::ids::{Ids, Series};
use crate::outgoing::{Outgoing, Route};

/// Changes to a generator's messages.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Mix")]
pub struct Mix {
    /// Seed: the same seed and options make the same messages
    #[arg(long, value_name = "N", default_value = "1", value_parser = |text: &str| cli::whole::<u64>(text, 0, u64::MAX))]
    pub seed: u64,
    /// Add this percentage of messages that break their contract
    #[arg(long, value_name = "PCT", default_value = "0", value_parser = percent)]
    pub invalid: f64,
    /// Add this percentage of copies, somewhere behind their originals
    #[arg(long, value_name = "PCT", default_value = "0", value_parser = percent)]
    pub duplicates: f64,
    /// Put all messages in random order (holds all of them in memory)
    #[arg(long)]
    pub shuffle: bool,
    /// Send as the reference system's publisher does: straight to its queue, without id and type
    #[arg(long)]
    pub legacy: bool,
}

/// A percentage from 0 to 1000.
fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=1000.0).contains(&percent) => Ok(percent),
        _ => Err("must be a number from 0 to 1000".to_owned()),
    }
}

/// The messages of a plan. The length of the iterator is exact when nothing is shuffled away
/// from a generator that knows how many messages it makes.
pub type Messages = Box<dyn Iterator<Item = Outgoing> + Send>;

/// Makes the messages of `publisher generate <domain> <options>`.
///
/// # Errors
/// When the domain has no generator, or the options are wrong.
pub fn messages(domain: &str, options: &[&str], ids: Ids) -> Result<Vec<Outgoing>, clap::Error> {
    let found = acequia_contracts::domain(domain);
    let Some((domain, command)) = found.and_then(|domain| Some((domain, cli::mixer(domain)?)))
    else {
        let why = format!("there is no generator for {domain}\n");
        return Err(clap::Error::raw(ErrorKind::InvalidValue, why));
    };
    let matches = command.no_binary_name(true).try_get_matches_from(options)?;
    let mix = Mix::from_arg_matches(&matches)?;
    plan(domain, &matches, &mix, ids).map(Iterator::collect)
}

/// Makes the messages of a domain's generator, invalid ones and copies among them.
///
/// # Errors
/// When options contradict each other.
pub fn plan(
    domain: &'static Domain,
    options: &ArgMatches,
    mix: &Mix,
    ids: Ids,
) -> Result<Messages, clap::Error> {
    let refuse = |why: String| clap::Error::raw(ErrorKind::ArgumentConflict, why + "\n");
    let generator = domain
        .generator
        .ok_or_else(|| refuse(format!("{} has no generator", domain.name)))?;
    let routes = routes(domain, mix.legacy)
        .ok_or_else(|| refuse(format!("{} has no legacy queue", domain.name)))?;

    let good = counted(generator.generate(options, mix.seed)?);
    let count = good.size_hint().0 as u64;
    let all = count + share(count, mix.invalid);
    let copies = share(count, mix.duplicates);

    let bad = invalid_bodies(domain);
    if bad.is_empty() && all > count {
        return Err(refuse(format!("{} has no invalid samples", domain.name)));
    }
    let mixed = mix_in(good, count, bad, all, rng(mix.seed, 1));

    let mut series = Series::new(ids);
    let legacy = mix.legacy;
    let named = mixed.filter_map(move |(entity, body)| {
        Some(Outgoing {
            line: None,
            route: Arc::clone(routes.get(entity)?),
            id: (!legacy).then(|| series.next()),
            body,
        })
    });
    let copied = Copies::new(named, all, copies, rng(mix.seed, 2));
    let total = (all + copies) as usize;
    if mix.shuffle {
        let mut messages: Vec<Outgoing> = copied.collect();
        messages.shuffle(&mut rng(mix.seed, 3));
        Ok(Box::new(messages.into_iter()))
    } else {
        Ok(Box::new(Sized(copied, total)))
    }
}

/// Chance for one purpose, independent of the others.
fn rng(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

fn share(count: u64, percent: f64) -> u64 {
    (count as f64 * percent / 100.0).round() as u64
}

/// The route of each entity; `None` without a legacy queue if one is wanted.
fn routes(domain: &Domain, legacy: bool) -> Option<HashMap<&'static str, Arc<Route>>> {
    let route = |name: &str| {
        if legacy {
            Route::legacy(domain, name)
        } else {
            Route::topic(domain.name, Some(name))
        }
    };
    let entities = domain.entities.iter();
    entities
        .map(|entity| Some((entity.name, Arc::new(route(entity.name)?))))
        .collect()
}

/// A generator that does not know how many messages it makes is asked for all of them first.
fn counted(
    messages: Box<dyn Iterator<Item = Synthetic> + Send>,
) -> Box<dyn Iterator<Item = Synthetic> + Send> {
    let (least, most) = messages.size_hint();
    if most == Some(least) {
        messages
    } else {
        Box::new(messages.collect::<Vec<_>>().into_iter())
    }
}

/// The invalid samples of a domain.
fn invalid_bodies(domain: &'static Domain) -> Vec<(&'static str, &'static [u8])> {
    let entities = domain.entities.iter();
    let samples = entities.flat_map(|entity| {
        let samples = fixtures::invalid(domain.name, entity.name).into_iter();
        samples.map(|sample| (entity.name, sample.body))
    });
    samples.collect()
}

/// Puts invalid messages at random places among `count` good ones, so that there are `all`.
fn mix_in(
    mut good: impl Iterator<Item = Synthetic> + Send,
    count: u64,
    bad: Vec<(&'static str, &'static [u8])>,
    all: u64,
    mut rng: ChaCha8Rng,
) -> impl Iterator<Item = (&'static str, Vec<u8>)> + Send {
    let mut bad_left = all - count;
    (0..all).filter_map(move |place| {
        // Each place that is left is as likely as any other to be one of the bad ones.
        if bad_left > 0 && rng.random_range(0..all - place) < bad_left {
            bad_left -= 1;
            let (entity, body) = bad.choose(&mut rng)?;
            Some((*entity, body.to_vec()))
        } else {
            good.next().map(|message| (message.entity, message.body))
        }
    })
}

/// Messages with copies of some of them behind. A copy waits in memory until its turn comes.
struct Copies<I> {
    messages: I,
    rng: ChaCha8Rng,
    all: u64,
    taken: u64,
    copies_left: u64,
    /// By the original that it follows, and a number that makes the key unique.
    waiting: BTreeMap<(u64, u64), Outgoing>,
}

impl<I: Iterator<Item = Outgoing>> Copies<I> {
    fn new(messages: I, all: u64, copies: u64, rng: ChaCha8Rng) -> Self {
        Self {
            messages,
            rng,
            all,
            taken: 0,
            copies_left: copies,
            waiting: BTreeMap::new(),
        }
    }

    /// How many copies the next message gets: every one as many, the remainder by chance.
    fn copies_of_next(&mut self) -> u64 {
        let left = self.all - self.taken;
        let (each, rest) = (self.copies_left / left, self.copies_left % left);
        each + u64::from(rest > 0 && self.rng.random_range(0..left) < rest)
    }
}

impl<I: Iterator<Item = Outgoing>> Iterator for Copies<I> {
    type Item = Outgoing;

    fn next(&mut self) -> Option<Outgoing> {
        if let Some(entry) = self.waiting.first_entry()
            && entry.key().0 < self.taken
        {
            return Some(entry.remove());
        }
        let message = self.messages.next()?;
        let place = self.taken;
        if self.copies_left > 0 {
            for _ in 0..self.copies_of_next() {
                let behind = self.rng.random_range(place..self.all);
                self.waiting
                    .insert((behind, self.copies_left), message.clone());
                self.copies_left -= 1;
            }
        }
        self.taken += 1;
        Some(message)
    }
}

/// An iterator whose length is known.
struct Sized<I>(I, usize);

impl<I: Iterator> Iterator for Sized<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let next = self.0.next();
        self.1 = self.1.saturating_sub(usize::from(next.is_some()));
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}
