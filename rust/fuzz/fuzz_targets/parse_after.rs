//! Up to three versions of a file, any bytes: each, parsed after the one before it, has the units of parsing it
//! alone.
#![no_main]

use codewm_core::incremental::parse_after;
use codewm_core::units::{self, Parsed};
use codewm_core::vocab::fnv1a_64;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first two bytes say where the first and the second version end.
    let [at, then, rest @ ..] = data else {
        return;
    };
    let (first, rest) = rest.split_at(rest.len() * usize::from(*at) / 256);
    let (second, third) = rest.split_at(rest.len() * usize::from(*then) / 256);
    let mut before: Option<(&[u8], Parsed)> = None;
    for source in [first, second, third] {
        let old = before.as_ref().map(|(text, parsed)| (*text, parsed));
        let parsed = parse_after(source, old).expect("any bytes are accepted");
        check(source, &parsed);
        before = Some((source, parsed));
    }
});

fn check(source: &[u8], ours: &Parsed) {
    let right = units::parse(source).expect("any bytes are accepted");
    assert_eq!(ours.has_error, right.has_error);
    assert_eq!(ours.units.len(), right.units.len());
    for (a, b) in ours.units.iter().zip(&right.units) {
        assert_eq!((&a.name, a.kind), (&b.name, b.kind));
        let place = |u: &units::Unit| (u.start_byte, u.end_byte, u.start_line, u.end_line);
        assert_eq!(place(a), place(b), "{}", a.name);
        let (x, y) = (a.stream(), b.stream());
        assert_eq!(x.tokens, y.tokens, "{}", a.name);
        assert_eq!(x.lines, y.lines, "{}", a.name);
        assert_eq!(x.names, y.names, "{}", a.name);
        assert_eq!(a.source_hash, b.source_hash, "{}", a.name);
    }
    let words =
        source.split(|b| b.is_ascii_whitespace() || (b.is_ascii_punctuation() && *b != b'_'));
    for word in words {
        let hash = fnv1a_64(word);
        assert_eq!(ours.has_name(source, hash), right.has_name(source, hash));
    }
}
