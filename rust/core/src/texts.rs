//! Bytes of text: what two have in common at their ends, lines counted and compared.

use imara_diff::{Algorithm, Diff, InternedInput, Interner};

use crate::units::Origin;

/// Bytes of a line, about.
const LINE: usize = 32;

/// Counts lines forwards from a known place.
pub(crate) struct LineCounter<'a> {
    pub text: &'a [u8],
    pub at: Origin,
}

impl LineCounter<'_> {
    pub fn to(&mut self, byte: usize) -> Origin {
        self.at.line += newlines(&self.text[self.at.byte..byte]);
        self.at.byte = byte;
        self.at
    }
}

/// Line ends in a text of at most 64 MiB.
pub(crate) fn newlines(text: &[u8]) -> u32 {
    memchr::memchr_iter(b'\n', text).count() as u32
}

/// How many bytes two texts share at the start.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let n = a.len().min(b.len());
    let mut i = 0;
    while i + STEP <= n && a[i..i + STEP] == b[i..i + STEP] {
        i += STEP;
    }
    i + a[i..n]
        .iter()
        .zip(&b[i..n])
        .take_while(|(x, y)| x == y)
        .count()
}

/// How many bytes two texts share at the end.
pub(crate) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let n = a.len().min(b.len());
    let (a, b) = (&a[a.len() - n..], &b[b.len() - n..]);
    let mut i = n;
    while i >= STEP && a[i - STEP..i] == b[i - STEP..i] {
        i -= STEP;
    }
    n - i
        + a[..i]
            .iter()
            .rev()
            .zip(b[..i].iter().rev())
            .take_while(|(x, y)| x == y)
            .count()
}

/// Lines added and deleted, as a line diff counts them.
pub(crate) fn line_counts(before: &[u8], after: &[u8]) -> (u32, u32) {
    // Whole lines that both share at the ends are no part of any diff; most of a source is.
    let prefix = common_prefix(before, after);
    let start = memchr::memrchr(b'\n', &before[..prefix]).map_or(0, |i| i + 1);
    let (before, after) = (&before[start..], &after[start..]);
    let suffix = common_suffix(before, after);
    // The line in which the shared end begins may be longer on one side.
    let is_whole = |text: &[u8]| matches!(text[..text.len() - suffix].last(), None | Some(b'\n'));
    let shared = &before[before.len() - suffix..];
    let kept = if is_whole(before) && is_whole(after) {
        0
    } else {
        memchr::memchr(b'\n', shared).map_or(suffix, |i| i + 1)
    };
    let cut = suffix - kept;
    let (before, after) = (&before[..before.len() - cut], &after[..after.len() - cut]);
    if before.is_empty() || after.is_empty() {
        return (lines(after).count() as u32, lines(before).count() as u32);
    }
    // The tables are made as large as they will have to be.
    let expected = |text: &[u8]| text.len() / LINE + 1;
    let mut input = InternedInput {
        before: Vec::with_capacity(expected(before)),
        after: Vec::with_capacity(expected(after)),
        interner: Interner::new(expected(before).max(expected(after))),
    };
    input.update_before(lines(before));
    input.update_after(lines(after));
    let diff = Diff::compute(Algorithm::Histogram, &input);
    (diff.count_additions(), diff.count_removals())
}

/// Lines with their line ends; the last may have none.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        Some(line)
    })
}
