//! Token states in commit order in, the bits of what each edit adds and removes out: an n-gram cache of one repository.
//!
//! P(w | h) interpolates the orders from the longest context down to the uniform distribution (Witten and Bell 1991,
//! method C; Chen and Goodman 1999, eq. 11):
//!     P(w | h) = (c(h w) + T(h) P(w | h')) / (c(h) + T(h)),
//! where T(h) counts the distinct tokens seen after h, and h' is h without its first token. Counts are exact: an n-gram
//! of up to four tokens is its own 64-bit key. Only the n-grams of full order need to be kept elsewhere, for all
//! others follow from them.

use hashbrown::HashMap;
use rayon::prelude::*;

use crate::changes::hunks;
use crate::decode::decode;
use crate::error::{Error, Result};
use crate::units::parse;
use crate::vocab::EMPTY;

/// Four tokens of 16 bits fill a key.
pub const LONGEST: usize = 4;

/// What was seen after one context.
#[derive(Debug, Clone, Copy, Default)]
struct After {
    total: u32,
    distinct: u32,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Cache {
    order: usize,
    vocabulary: f64,
    /// Per order, from 1: how often each n-gram occurred.
    counts: Vec<HashMap<u64, u32>>,
    /// Per order: what followed each context of one token less.
    after: Vec<HashMap<u64, After>>,
}

/// One edit: state before and state after.
pub type Pair<'a> = (&'a [u16], &'a [u16]);

/// Tokens with what they cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// Position in the state.
    pub position: Vec<i32>,
    /// Bits, -log2 P.
    pub bits: Vec<f32>,
}

impl Cache {
    /// An empty cache of `order` (1 to [`LONGEST`]) over so many different tokens.
    pub fn new(order: usize, vocabulary: usize) -> Result<Self> {
        if !(1..=LONGEST).contains(&order) || vocabulary == 0 {
            return Err(Error::InvalidInput(format!(
                "n-grams of order {order} over {vocabulary} tokens; the order must be 1 to {LONGEST}"
            )));
        }
        Ok(Cache {
            order,
            vocabulary: vocabulary as f64,
            counts: vec![HashMap::new(); order],
            after: vec![HashMap::new(); order],
        })
    }

    /// Counts n-grams of full order, each so many times.
    pub fn add(&mut self, grams: impl Iterator<Item = (u64, u32)>) {
        for (key, times) in grams {
            for n in 1..=self.order {
                let short = suffix(key, n);
                let count = self.counts[n - 1].entry(short).or_insert(0);
                let fresh = *count == 0;
                *count = count.saturating_add(times);
                let context = self.after[n - 1].entry(short >> 16).or_default();
                context.total = context.total.saturating_add(times);
                context.distinct += u32::from(fresh && times > 0);
            }
        }
    }

    /// Bits of the tokens of `state` in `range`, as if each n-gram had occurred `without` times less.
    fn cost(&self, state: &[u16], range: std::ops::Range<usize>, without: u32, out: &mut Cost) {
        for at in range {
            out.position.push(at as i32);
            out.bits.push(self.bits(gram(state, at, self.order), without));
        }
    }

    fn bits(&self, key: u64, without: u32) -> f32 {
        let mut p = 1.0 / self.vocabulary;
        for n in 1..=self.order {
            let short = suffix(key, n);
            let Some(context) = self.after[n - 1].get(&(short >> 16)) else {
                break;
            };
            let seen = self.counts[n - 1].get(&short).copied().unwrap_or(0);
            let less = without.min(seen);
            let distinct = context.distinct - u32::from(less > 0 && less == seen);
            let total = context.total - less;
            if total == 0 {
                break;
            }
            let unseen = f64::from(distinct);
            p = (f64::from(seen - less) + unseen * p) / (f64::from(total) + unseen);
        }
        -p.log2() as f32
    }

    /// What each edit adds and removes costs by what was added to the cache before, in order of the edits.
    ///
    /// A removed token is in the repository, and so in the cache, by being there: `own` occurrences are not counted.
    pub fn costs(&self, edits: &[Pair<'_>], own: u32) -> Vec<(Cost, Cost)> {
        edits
            .par_iter()
            .map(|(before, after)| {
                let (before, after) = (present(before), present(after));
                let (mut added, mut removed) = (Cost::default(), Cost::default());
                for (gone, come) in hunks(before, after) {
                    self.cost(before, gone, own, &mut removed);
                    self.cost(after, come, 0, &mut added);
                }
                (added, removed)
            })
            .collect()
    }
}

/// The n-grams of full order that an edit brings: those with a token that was added, in order.
pub fn gained(before: &[u16], after: &[u16], order: usize, out: &mut Vec<u64>) {
    let (before, after) = (present(before), present(after));
    let mut next = 0;
    for (_, come) in hunks(before, after) {
        if come.is_empty() {
            continue;
        }
        let end = (come.end + order - 1).min(after.len());
        out.extend((come.start.max(next)..end).map(|at| gram(after, at, order)));
        next = end.max(next);
    }
}

/// The tokens of a state; none of a unit that does not exist.
fn present(state: &[u16]) -> &[u16] {
    if state == [EMPTY] { &[] } else { state }
}

/// Distinct n-grams of all units of the sources, ascending, and how often each occurs.
pub fn count(sources: &[&[u8]], order: usize) -> Result<(Vec<u64>, Vec<u32>)> {
    let per_source: Vec<Vec<u64>> = sources
        .par_iter()
        .map(|source| {
            let parsed = parse(&decode(source))?;
            let mut keys = Vec::new();
            for unit in &parsed.units {
                let stream = unit.stream();
                keys.extend((0..stream.tokens.len()).map(|at| gram(&stream.tokens, at, order)));
            }
            Ok(keys)
        })
        .collect::<Result<_>>()?;
    let mut all = per_source.concat();
    all.par_sort_unstable();
    let (mut keys, mut counts): (Vec<u64>, Vec<u32>) = (Vec::new(), Vec::new());
    for key in all {
        if keys.last() == Some(&key) {
            if let Some(n) = counts.last_mut() {
                *n = n.saturating_add(1);
            }
        } else {
            keys.push(key);
            counts.push(1);
        }
    }
    Ok((keys, counts))
}

/// The n-gram that ends at `at`, its last token in the lowest bits; before the first token there is padding, which is 0.
fn gram(state: &[u16], at: usize, order: usize) -> u64 {
    let first = (at + 1).saturating_sub(order);
    state[first..=at]
        .iter()
        .fold(0, |key, &token| key << 16 | u64::from(token))
}

/// The last `n` tokens of an n-gram.
fn suffix(key: u64, n: usize) -> u64 {
    key & (u64::MAX >> (64 - 16 * n as u32))
}
