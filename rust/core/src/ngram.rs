//! Token states in commit order in, the bits of what each edit adds and removes out: an n-gram cache of one repository.
//!
//! P(w | h) interpolates the orders from the longest context down to the uniform distribution (Witten and Bell 1991,
//! method C; Chen and Goodman 1999, eq. 11):
//!     P(w | h) = (c(h w) + T(h) P(w | h')) / (c(h) + T(h)),
//! where T(h) counts the distinct tokens seen after h, and h' is h without its first token. Counts are exact: an n-gram
//! is its own 64-bit key. Only the n-grams of full order need to be kept elsewhere, for all
//! others follow from them.

use std::borrow::Cow;

use hashbrown::HashMap;
use rayon::prelude::*;

use crate::changes::hunks;
use crate::decode::decode;
use crate::error::{Error, Result};
use crate::units::parse;
use crate::vocab::EMPTY;

/// Longer n-grams leave too few bits of a key for each token.
pub const LONGEST: usize = 8;

/// What was seen after one context.
#[derive(Debug, Clone, Copy, Default)]
struct After {
    total: u32,
    distinct: u32,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Cache {
    shape: Shape,
    /// What each token is taken for; itself, if empty.
    fold: Vec<u16>,
    vocabulary: f64,
    /// Per order, from 1: how often each n-gram occurred.
    counts: Vec<HashMap<u64, u32>>,
    /// Per order: what followed each context of one token less.
    after: Vec<HashMap<u64, After>>,
}

/// How n-grams become keys: so many tokens, of so many bits.
#[derive(Debug, Clone, Copy)]
struct Shape {
    order: usize,
    width: u32,
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
    /// An empty cache of `order` (1 to [`LONGEST`]) over so many different tokens, or over what they are folded into:
    /// tokens that have the same entry in `fold` are one.
    pub fn new(order: usize, vocabulary: usize, fold: Vec<u16>) -> Result<Self> {
        if !fold.is_empty() && fold.len() < vocabulary {
            return Err(Error::InvalidInput(format!(
                "a fold of {} of {vocabulary} tokens",
                fold.len()
            )));
        }
        let folded = fold.iter().max().map(|&last| usize::from(last) + 1);
        let vocabulary = folded.unwrap_or(vocabulary);
        let width = (64 / order.clamp(1, LONGEST) as u32).min(16);
        if !(1..=LONGEST).contains(&order) || vocabulary == 0 || vocabulary > 1 << width {
            return Err(Error::InvalidInput(format!(
                "n-grams of order {order} over {vocabulary} tokens do not fit into 64 bits"
            )));
        }
        Ok(Cache {
            shape: Shape { order, width },
            fold,
            vocabulary: vocabulary as f64,
            counts: vec![HashMap::new(); order],
            after: vec![HashMap::new(); order],
        })
    }

    /// Counts n-grams of full order, each so many times.
    pub fn add(&mut self, grams: impl Iterator<Item = (u64, u32)>) {
        for (key, times) in grams {
            for n in 1..=self.shape.order {
                let short = self.shape.suffix(key, n);
                let count = self.counts[n - 1].entry(short).or_insert(0);
                let fresh = *count == 0;
                *count = count.saturating_add(times);
                let context = self.after[n - 1]
                    .entry(short >> self.shape.width)
                    .or_default();
                context.total = context.total.saturating_add(times);
                context.distinct += u32::from(fresh && times > 0);
            }
        }
    }

    /// Bits of the tokens of `state` in `range`, as if each n-gram had occurred `without` times less.
    fn cost(&self, state: &[u16], range: std::ops::Range<usize>, without: u32, out: &mut Cost) {
        for at in range {
            out.position.push(at as i32);
            out.bits
                .push(self.bits(self.shape.gram(state, at), without));
        }
    }

    fn bits(&self, key: u64, without: u32) -> f32 {
        let mut p = 1.0 / self.vocabulary;
        for n in 1..=self.shape.order {
            let short = self.shape.suffix(key, n);
            let Some(context) = self.after[n - 1].get(&(short >> self.shape.width)) else {
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
    /// Of what is added, so many tokens `beyond` count, too: what is now behind it, or where something was removed.
    pub fn costs(&self, edits: &[Pair<'_>], own: u32, beyond: usize) -> Vec<(Cost, Cost)> {
        edits
            .par_iter()
            .map(|(before, after)| {
                let (before, after) = (self.folded(before), self.folded(after));
                let (mut added, mut removed) = (Cost::default(), Cost::default());
                let mut next = 0;
                for (gone, come) in hunks(&before, &after) {
                    let end = (come.end + beyond).min(after.len());
                    self.cost(&before, gone, own, &mut removed);
                    self.cost(&after, come.start.max(next)..end, 0, &mut added);
                    next = end.max(next);
                }
                (added, removed)
            })
            .collect()
    }

    /// The n-grams of full order that an edit brings: those whose tokens were not next to each other before, in
    /// order. Nothing is added.
    pub fn gained(&self, before: &[u16], after: &[u16], out: &mut Vec<u64>) {
        let (before, after) = (self.folded(before), self.folded(after));
        let mut next = 0;
        for (_, come) in hunks(&before, &after) {
            let end = (come.end + self.shape.order - 1).min(after.len());
            out.extend((come.start.max(next)..end).map(|at| self.shape.gram(&after, at)));
            next = end.max(next);
        }
    }

    /// Distinct n-grams of all units of the sources, ascending, and how often each occurs. Nothing is added.
    pub fn count(&self, sources: &[&[u8]]) -> Result<(Vec<u64>, Vec<u32>)> {
        let per_source: Vec<Vec<u64>> = sources
            .par_iter()
            .map(|source| {
                let parsed = parse(&decode(source))?;
                let mut keys = Vec::new();
                for unit in &parsed.units {
                    let tokens = self.folded(&unit.stream().tokens).into_owned();
                    keys.extend((0..tokens.len()).map(|at| self.shape.gram(&tokens, at)));
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

    /// The tokens of a state as they are counted; none of a unit that does not exist.
    fn folded<'s>(&self, state: &'s [u16]) -> Cow<'s, [u16]> {
        if state == [EMPTY] {
            return Cow::Borrowed(&[]);
        }
        if self.fold.is_empty() {
            return Cow::Borrowed(state);
        }
        let last = self.fold.len() - 1;
        let fold = |&t: &u16| self.fold[usize::from(t).min(last)];
        Cow::Owned(state.iter().map(fold).collect())
    }
}

impl Shape {
    /// The n-gram that ends at `at`, its last token in the lowest bits; before the first token there is padding, 0.
    fn gram(self, state: &[u16], at: usize) -> u64 {
        let first = (at + 1).saturating_sub(self.order);
        state[first..=at]
            .iter()
            .fold(0, |key, &token| key << self.width | u64::from(token))
    }

    /// The last `n` tokens of an n-gram.
    fn suffix(self, key: u64, n: usize) -> u64 {
        key & (u64::MAX >> (64 - self.width * n as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: usize = 6;

    fn cache(order: usize, states: &[&[u16]]) -> Cache {
        let mut cache = Cache::new(order, TOKENS, Vec::new()).expect("fits");
        for state in states {
            let mut keys = Vec::new();
            cache.gained(&[EMPTY], state, &mut keys);
            cache.add(keys.into_iter().map(|k| (k, 1)));
        }
        cache
    }

    fn bits(cache: &Cache, before: &[u16], after: &[u16], own: u32) -> (Vec<f32>, Vec<f32>) {
        let mut costs = cache.costs(&[(before, after)], own, 0);
        let (added, removed) = costs.remove(0);
        (added.bits, removed.bits)
    }

    #[test]
    fn probabilities_sum_to_one_after_any_context() {
        let cache = cache(3, &[&[2, 3, 4, 2, 3, 5], &[2, 3, 4]]);
        for context in [[2, 3], [3, 4], [5, 5], [4, 2]] {
            let total: f64 = (0..TOKENS as u16)
                .map(|t| {
                    let state = [context[0], context[1], t];
                    f64::from(-cache.bits(cache.shape.gram(&state, 2), 0)).exp2()
                })
                .sum();
            assert!((total - 1.0).abs() < 1e-5, "{context:?}: {total}");
        }
    }

    #[test]
    fn an_empty_cache_is_uniform_and_what_was_seen_costs_less() {
        let (empty, full) = (cache(3, &[]), cache(3, &[&[2, 3, 4], &[2, 3, 4]]));
        let (before, after) = ([2, 3, 5], [2, 3, 4, 5]);
        let (unseen, _) = bits(&empty, &before, &after, 0);
        assert_eq!(unseen, [(TOKENS as f32).log2()]);
        let (seen, _) = bits(&full, &before, &after, 0);
        assert!(seen[0] < 0.6 && seen[0] > 0.0);
    }

    #[test]
    fn a_removed_token_costs_what_it_would_if_it_had_not_been_there() {
        let states: [&[u16]; 2] = [&[2, 3, 4, 5], &[3, 4, 2]];
        let whole = cache(3, &states);
        // The same n-grams but for the one that ends in the removed token.
        let mut without = Cache::new(3, TOKENS, Vec::new()).expect("fits");
        for state in states {
            let mut keys = Vec::new();
            without.gained(&[EMPTY], state, &mut keys);
            let gone = without.shape.gram(&[2, 3, 4, 5], 3);
            without.add(keys.into_iter().filter(|&k| k != gone).map(|k| (k, 1)));
        }
        let removed = |cache: &Cache, own| bits(cache, &[2, 3, 4, 5], &[2, 3, 4], own).1;
        assert_eq!(removed(&whole, 1), removed(&without, 0));
        assert!(removed(&whole, 1) > removed(&whole, 0));
    }

    #[test]
    fn a_unit_that_does_not_exist_has_no_tokens() {
        let cache = cache(2, &[&[2, 3]]);
        assert!(bits(&cache, &[EMPTY], &[2, 3], 1).1.is_empty());
        assert!(bits(&cache, &[2, 3], &[EMPTY], 1).0.is_empty());
    }

    #[test]
    fn n_grams_that_are_new_are_those_that_were_not_next_to_each_other() {
        let cache = cache(3, &[]);
        let (mut keys, after) = (Vec::new(), [2, 3, 5, 2, 2]);
        cache.gained(&[2, 3, 4, 5, 2, 2], &after, &mut keys);
        let gram = |at| cache.shape.gram(&after, at);
        assert_eq!(keys, [gram(2), gram(3)]);
    }

    #[test]
    fn tokens_that_are_folded_into_one_are_one() {
        let fold = vec![0, 1, 2, 3, 3, 3];
        let mut cache = Cache::new(2, TOKENS, fold).expect("fits");
        let mut keys = Vec::new();
        cache.gained(&[EMPTY], &[2, 4, 2, 4], &mut keys);
        cache.add(keys.into_iter().map(|k| (k, 1)));
        assert_eq!(bits(&cache, &[2, 3], &[2, 5], 0), (vec![], vec![]));
        let (seen, _) = bits(&cache, &[2], &[2, 5], 0);
        let (strange, _) = bits(&cache, &[2], &[2, 2], 0);
        assert!(seen[0] < 1.0 && strange[0] > 2.0, "{seen:?} {strange:?}");
        assert!(Cache::new(2, TOKENS, vec![0, 1]).is_err());
    }

    #[test]
    fn keys_of_every_order_keep_tokens_apart() {
        for order in 1..=LONGEST {
            let cache = Cache::new(order, 200, Vec::new()).expect("fits");
            let state: Vec<u16> = (0..40).map(|i| 190 + i % 7).collect();
            let key = cache.shape.gram(&state, 20);
            let from = 21_usize.saturating_sub(order);
            let back: u64 = state[from..21]
                .iter()
                .fold(0, |k, &t| k << cache.shape.width | u64::from(t));
            assert_eq!(key, back);
            assert_eq!(cache.shape.suffix(key, 1), u64::from(state[20]));
        }
        assert!(Cache::new(0, 5, Vec::new()).is_err() && Cache::new(8, 300, Vec::new()).is_err());
    }
}
