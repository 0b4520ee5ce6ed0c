//! Claim: codewm's own parser (`descent/`) emits what a walk of the grammar's tree does, or declines: for random
//! programs of all of Python's syntax, whole and damaged.
//!
//! A program is drawn rule by rule from a seed; damage is a word less, twice, or in another's place. Which
//! statements it must not decline is said by the tests beside it.

use programs::Writer;
use proptest::prelude::*;
use versions::check;

mod programs;
mod versions;

/// Words, runs of blanks and single other characters.
fn words(text: &str) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    let mut start = 0;
    let class = |c: char| {
        if c == '_' || c.is_alphanumeric() {
            1
        } else {
            i32::from(c == ' ') * 2
        }
    };
    let mut last = None;
    for (i, c) in text.char_indices() {
        let own = class(c);
        if last.is_some() && (last != Some(own) || own == 0) {
            out.push(&text[start..i]);
            start = i;
        }
        last = Some(own);
    }
    out.push(&text[start..]);
    out
}

fn damaged(program: &str, seed: u64) -> String {
    let mut draw = Writer::new(seed);
    let mut words = words(program);
    for _ in 0..=draw.below(2) {
        let (i, j) = (draw.below(words.len()), draw.below(words.len()));
        match draw.below(3) {
            0 => words[i] = "",
            1 => words[i] = words[j],
            _ => words.insert(i, words[j]),
        }
    }
    words.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_have_the_tokens_of_their_trees(seed: u64, damage: u64) {
        let program = Writer::new(seed).program();
        prop_assert_eq!(check(&[&program]), Ok(()));
        let damaged = damaged(&program, damage);
        prop_assert_eq!(check(&[&damaged]), Ok(()));
    }
}
