//! What an edit is said to be, and how long the unit is, in; which of the unit's tokens to read closely out.
//!
//! An action says where the first token changes, as a share of the longer side, and (v15) how much longer the unit
//! gets. Together with the unit's own length that is the very token, and for an edit that only takes something away,
//! all that it takes. A state that was cut to a window holds its first change at a fixed place of it.

use std::ops::Range;

use crate::action::Version;
use crate::error::{Error, Result};

/// Dimensions of an action.
const LOCATION: usize = 6;
const SIZE_DELTA: usize = 7;

/// How many ranges of tokens are read.
pub const RANGES: usize = 5;

/// Tokens before the change that are read.
const BEFORE: usize = 8;
/// Tokens from the change on that are read: a few, and about a statement or two.
const NEAR: usize = 6;
const WIDE: usize = 20;

/// Where a cut state has its first change, as a rule: see `diff::window_start`.
fn place_in_cut(window: usize) -> usize {
    window / 4
}

/// The ranges of a state of `tokens` tokens that are read for an edit; any of them may be empty.
///
/// Before the change; its first token; what is taken away, if that is all that happens, else its first token again;
/// a little, and more, from there on.
pub fn ranges(action: &[f32], tokens: usize, window: usize) -> [Range<usize>; RANGES] {
    let share = |v: f32| {
        if v.is_finite() {
            v.clamp(0.0, 1.0)
        } else {
            0.0
        }
    };
    let grows = action
        .get(SIZE_DELTA)
        .map_or(0.0, |&v| 2.0 * share(v) - 1.0);
    let n = tokens as f32;
    // The longer of the two sides.
    let longest = if grows > 0.0 {
        n / (1.0 - grows).max(1e-3)
    } else {
        n
    };
    let mut first = (share(action[LOCATION]) * longest).round() as usize;
    if tokens >= window {
        first = first.min(place_in_cut(window));
    }
    let first = first.min(tokens.saturating_sub(1));
    let gone = ((-grows).max(0.0) * n).round() as usize;
    let until = |count: usize| first..(first + count).min(tokens);
    [
        first.saturating_sub(BEFORE)..first,
        until(1),
        until(gone.max(1)),
        until(NEAR),
        until(WIDE),
    ]
}

/// The same of many edits: lengths of the states before, and actions row by row; the ranges one after the other.
pub fn ranges_of(
    lengths: &[i64],
    actions: &[f32],
    version: Version,
    window: usize,
) -> Result<Vec<i64>> {
    let width = version.dim();
    if actions.len() != lengths.len() * width {
        let (values, n) = (actions.len(), lengths.len());
        let message = format!("{values} values are no {n} actions of {width}");
        return Err(Error::InvalidInput(message));
    }
    let mut out = Vec::with_capacity(lengths.len() * RANGES * 2);
    for (&tokens, action) in lengths.iter().zip(actions.chunks_exact(width)) {
        let tokens = usize::try_from(tokens)
            .map_err(|_| Error::InvalidInput(format!("length {tokens} is negative")))?;
        for range in ranges(action, tokens, window) {
            out.extend([range.start as i64, range.end as i64]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(location: f32, size_delta: f32) -> Vec<f32> {
        let mut a = vec![0.0; 15];
        a[LOCATION] = location;
        a[SIZE_DELTA] = 0.5 + 0.5 * size_delta;
        a
    }

    #[test]
    fn the_first_changed_token_is_found_whether_the_unit_grows_or_shrinks() {
        for (before, after, first) in [
            (40usize, 50usize, 17usize),
            (50, 40, 17),
            (33, 33, 0),
            (10, 200, 9),
        ] {
            let longest = before.max(after) as f32;
            let told = action(
                first as f32 / longest,
                (after as f32 - before as f32) / longest,
            );
            let [_, at, gone, near, wide] = ranges(&told, before, 256);
            assert_eq!(at, first..first + 1);
            assert_eq!(
                gone.len(),
                before.saturating_sub(after).max(1).min(before - first)
            );
            assert!(near.start == first && wide.start == first && wide.end <= before);
        }
    }

    #[test]
    fn every_range_lies_in_the_state_whatever_the_action_says() {
        for tokens in [0, 1, 2, 7, 255, 256] {
            for location in [-1.0, 0.0, 0.4, 1.0, 7.0, f32::NAN, f32::INFINITY] {
                for delta in [-9.0, -1.0, 0.0, 0.999, 1.0, f32::NAN] {
                    for range in ranges(&action(location, delta), tokens, 256) {
                        assert!(range.start <= range.end && range.end <= tokens);
                    }
                }
            }
        }
    }

    #[test]
    fn an_action_without_sizes_is_read_by_its_location_alone() {
        let told = action(0.5, 0.0);
        assert_eq!(ranges(&told[..7], 40, 256)[1], 20..21);
    }

    #[test]
    fn a_cut_state_has_its_change_where_it_was_cut_for() {
        assert_eq!(ranges(&action(0.9, 0.0), 256, 256)[1], 64..65);
        assert_eq!(ranges(&action(0.1, 0.0), 256, 256)[1], 26..27);
    }
}
