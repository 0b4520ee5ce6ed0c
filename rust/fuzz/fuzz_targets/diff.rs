//! Any two byte strings as two versions of a file: no panic, states within the window, equal sides no edits.
#![no_main]

use codewm_core::diff::Options;
use codewm_core::{action, batch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte says where the before side ends.
    let Some((&at, rest)) = data.split_first() else {
        return;
    };
    let middle = rest.len() * usize::from(at) / 256;
    let (before, after) = rest.split_at(middle);
    let options = Options {
        window: 32,
        action: action::Version::V15,
    };
    let pairs = [
        (Some(0), Some(1)),
        (None, Some(1)),
        (Some(0), None),
        (Some(0), Some(0)),
    ];
    let diffs =
        batch::diff_pairs(&[before, after], &pairs, options).expect("any bytes are accepted");
    for edit in diffs.iter().flat_map(|d| &d.edits) {
        assert!((1..=32).contains(&edit.before.len()) && (1..=32).contains(&edit.after.len()));
        assert!(edit.action.iter().all(|x| (0.0..=1.0).contains(x)));
    }
    assert!(diffs[3].edits.is_empty());
});
