//! What the tests of `incremental.rs` and `random_edits.rs` share: versions in, in what they differ from parsing each
//! by itself out.

use std::collections::BTreeSet;

use codewm_core::incremental::parse_after;
use codewm_core::units::{self, Parsed, Unit};
use codewm_core::vocab::fnv1a_64;

/// Parses every version after the one before it, and compares with parsing it alone.
pub fn check(versions: &[&str]) -> Result<(), String> {
    let words: BTreeSet<&str> = versions.iter().flat_map(|v| words(v)).collect();
    let mut before: Option<(&[u8], Parsed)> = None;
    for &version in versions {
        let source = version.as_bytes();
        let old = before.as_ref().map(|(text, parsed)| (*text, parsed));
        let ours = parse_after(source, old).map_err(|e| e.to_string())?;
        let right = units::parse(source).map_err(|e| e.to_string())?;
        compare(source, &ours, &right, &words)
            .map_err(|e| format!("{e}\nin version {version:?}\nof {versions:#?}"))?;
        before = Some((source, ours));
    }
    Ok(())
}

/// Whatever may be a name.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c != '_' && !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
}

fn compare(
    source: &[u8],
    ours: &Parsed,
    right: &Parsed,
    words: &BTreeSet<&str>,
) -> Result<(), String> {
    same("has_error", &ours.has_error, &right.has_error)?;
    let names =
        |p: &Parsed| -> Vec<String> { p.units.iter().map(|u| u.name.to_string()).collect() };
    same("units", &names(ours), &names(right))?;
    for (a, b) in ours.units.iter().zip(&right.units) {
        let what = |field: &str| format!("{field} of {}", b.name);
        same(&what("kind"), &a.kind, &b.kind)?;
        let bytes = |u: &Unit| (u.start_byte, u.end_byte);
        same(&what("bytes"), &bytes(a), &bytes(b))?;
        let lines = |u: &Unit| (u.start_line, u.end_line);
        same(&what("lines"), &lines(a), &lines(b))?;
        let (x, y) = (a.stream(), b.stream());
        same(&what("tokens"), &x.tokens, &y.tokens)?;
        same(&what("tokens' lines"), &x.lines, &y.lines)?;
        same(&what("names"), &x.names, &y.names)?;
        same(&what("source_hash"), &a.source_hash, &b.source_hash)?;
    }
    for word in words {
        let has = |p: &Parsed| p.has_name(source, fnv1a_64(word.as_bytes()));
        same(&format!("has_name {word}"), &has(ours), &has(right))?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, right: &T) -> Result<(), String> {
    if ours == right {
        Ok(())
    } else {
        Err(format!("{what}: {ours:?} is not {right:?}"))
    }
}
