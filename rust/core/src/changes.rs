//! Two token sequences in, where they differ out: the one token diff of the core.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// What was replaced by what, in order: ranges of the sequence before and of the one after, of which one may be empty.
pub type Hunk = (Range<usize>, Range<usize>);

/// The hunks between two sequences: none if they are equal.
pub fn hunks(before: &[u16], after: &[u16]) -> Vec<Hunk> {
    let first = common_prefix(before, after);
    let (b, a) = (&before[first..], &after[first..]);
    let last = b.iter().rev().zip(a.iter().rev());
    let last = last.take_while(|(x, y)| x == y).count();
    let (b, a) = (&b[..b.len() - last], &a[..a.len() - last]);
    if b.is_empty() && a.is_empty() {
        return Vec::new();
    }
    if b.is_empty() || a.is_empty() {
        return vec![(first..first + b.len(), first..first + a.len())];
    }
    let mut input = InternedInput::default();
    input.update_before(b.iter().copied());
    input.update_after(a.iter().copied());
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let range = |r: Range<u32>| first + r.start as usize..first + r.end as usize;
    diff.hunks()
        .map(|hunk| (range(hunk.before), range(hunk.after)))
        .collect()
}

fn common_prefix(before: &[u16], after: &[u16]) -> usize {
    before.iter().zip(after).take_while(|(x, y)| x == y).count()
}

/// Where two token sequences differ.
pub(crate) struct TokenChanges {
    pub(crate) first: usize,
    pub(crate) removed: Vec<u16>,
    pub(crate) added: Vec<u16>,
}

impl TokenChanges {
    pub(crate) fn between(before: &[u16], after: &[u16]) -> Self {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (gone, come) in hunks(before, after) {
            removed.extend_from_slice(&before[gone]);
            added.extend_from_slice(&after[come]);
        }
        TokenChanges {
            // The common prefix, not the first hunk: a diff may place a repeated token's hunk later.
            first: common_prefix(before, after),
            removed,
            added,
        }
    }
}
