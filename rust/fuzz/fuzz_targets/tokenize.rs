//! Any bytes as a source, as they are and decoded: no panic, tokens of the vocabulary, units with names of their
//! own and positions inside the source.
#![no_main]

use std::collections::HashSet;
use std::ops::Range;

use codewm_core::decode::decode;
use codewm_core::units::{self, Unit};
use codewm_core::vocab::{EMPTY, MASK, PAD, TRUNC, vocabulary};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check(data);
    let text = decode(data);
    if text != data {
        check(&text);
    }
});

fn check(source: &[u8]) {
    check_tokens(&units::tokenize(source).expect("any bytes are accepted"));
    let parsed = units::parse(source).expect("any bytes are accepted");
    let names: HashSet<&str> = parsed.units.iter().map(|u| &*u.name).collect();
    assert_eq!(names.len(), parsed.units.len());
    let mut around: Vec<Range<usize>> = Vec::new();
    for unit in &parsed.units {
        check_unit(unit, source);
        let range = unit.start_byte..unit.end_byte;
        // In order of the first byte; a unit lies wholly in another or wholly after it.
        while around.pop_if(|outer| outer.end <= range.start).is_some() {}
        if let Some(outer) = around.last() {
            assert!(outer.start <= range.start);
            assert!(range.end <= outer.end || range.start == outer.start);
        }
        around.push(range);
    }
}

fn check_unit(unit: &Unit, source: &[u8]) {
    let range = unit.start_byte..unit.end_byte;
    assert!(range.start <= range.end && range.end <= source.len());
    assert_eq!(unit.start_line, line(source, range.start));
    assert_eq!(unit.end_line, line(source, range.end));
    let stream = unit.stream();
    assert!(!stream.tokens.is_empty());
    check_tokens(&stream.tokens);
    assert_eq!(stream.lines.len(), stream.tokens.len());
    let lines = unit.start_line..=unit.end_line;
    assert!(stream.lines.iter().all(|l| lines.contains(l)));
    let mut at = range.start;
    for name in &stream.names {
        let (start, end) = (name.start as usize, name.end as usize);
        assert!(at <= start && start <= end && end <= range.end);
        assert_eq!(name.line, line(source, start));
        at = end;
    }
}

fn check_tokens(tokens: &[u16]) {
    let size = vocabulary().names().len();
    for &token in tokens {
        assert!(usize::from(token) < size && ![PAD, EMPTY, MASK, TRUNC].contains(&token));
    }
}

/// Line of a byte, from 1.
fn line(source: &[u8], at: usize) -> u32 {
    1 + source[..at].iter().filter(|&&b| b == b'\n').count() as u32
}
