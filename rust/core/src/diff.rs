//! Two versions of one source in, the edits of its units out.
//!
//! Units pair by qualified name first; what is left pairs by content (Dice over token counts, at least
//! [`MOVED_SIMILARITY`]), so that a renamed or moved unit is not called deleted and created. A unit whose text
//! changed but whose tokens did not is kept, flagged as a no-op.

use hashbrown::{HashMap, HashSet};

use crate::action::{self, EditView, Version};
use crate::changes::TokenChanges;
use crate::error::Result;
use crate::texts::line_counts;
use crate::tokens::{NAME_IN_MODULE, NAME_IN_UNIT, NameFlags, NameUse, TokenStream};
use crate::units::{Kind, Parsed, Unit};
use crate::vocab::{EMPTY, TRUNC, fnv1a_64};

/// The unit did not exist before.
pub const CREATED: u16 = 1;
/// The unit is gone.
pub const DELETED: u16 = 2;
/// The unit was matched by content under another name.
pub const MOVED: u16 = 4;
/// The text changed, the tokens did not.
pub const NOOP: u16 = 8;
/// A window cut at least one of the states.
pub const WINDOWED: u16 = 16;
/// One of the two sources has a syntax error.
pub const SYNTAX_ERROR: u16 = 32;

/// Units with at least this Dice similarity of their tokens are one unit, moved or renamed.
pub const MOVED_SIMILARITY: f64 = 0.6;

/// More candidate pairs than this are not compared one by one; only equal contents are matched.
const MAX_MOVE_CANDIDATES: usize = 40_000;

/// What to compute for each edit.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The longest state, in tokens.
    pub window: usize,
    /// Which action vector.
    pub action: action::Version,
}

/// A name whose count grew in an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedName {
    /// The name, decoded lossily.
    pub name: String,
    /// How it is used in the after side, and where it was known before.
    pub flags: NameFlags,
    /// Line of its first use in the after side, from 1.
    pub line: u32,
}

/// One changed unit.
#[derive(Debug, Clone)]
pub struct UnitEdit {
    /// Kind (of the after side unless deleted).
    pub kind: Kind,
    /// Flags, see the constants of this module.
    pub flags: u16,
    /// Qualified name before; empty if created.
    pub before_name: String,
    /// Qualified name after; empty if deleted.
    pub after_name: String,
    /// State before, windowed.
    pub before: Vec<u16>,
    /// State after, windowed.
    pub after: Vec<u16>,
    /// Action vector.
    pub action: Vec<f32>,
    /// Tokens added.
    pub tokens_added: u32,
    /// Tokens removed.
    pub tokens_removed: u32,
    /// First and last line in the after source (before source if deleted).
    pub lines: (u32, u32),
    /// Line of the first change, same source.
    pub first_changed_line: u32,
    /// Names whose count grew.
    pub names: Vec<AddedName>,
}

/// A file's edit: its units' edits and its line counts.
#[derive(Debug, Clone, Default)]
pub struct FileDiff {
    /// Changed units, in order of position.
    pub edits: Vec<UnitEdit>,
    /// Lines added.
    pub lines_added: u32,
    /// Lines deleted.
    pub lines_deleted: u32,
    /// A side has a syntax error.
    pub has_error: bool,
}

/// One side of a file's edit.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The source's bytes.
    pub source: &'a [u8],
    /// Its units.
    pub parsed: &'a Parsed,
}

/// The edits of the units between two versions; a missing side is a created or deleted file.
pub fn diff(
    before: Option<Side<'_>>,
    after: Option<Side<'_>>,
    options: Options,
) -> Result<FileDiff> {
    let none: &[Unit] = &[];
    let before_units = before.map_or(none, |s| s.parsed.units.as_slice());
    let after_units = after.map_or(none, |s| s.parsed.units.as_slice());
    let (lines_added, lines_deleted) = line_counts(
        before.map_or(&[][..], |s| s.source),
        after.map_or(&[][..], |s| s.source),
    );
    let has_error = [before, after].iter().flatten().any(|s| s.parsed.has_error);
    let mut pairs = pair(before_units, after_units);
    // By position in the after source; deleted units by their position before.
    pairs.sort_by_key(|p| match *p {
        (_, Some(a)) => (0, after_units[a].start_byte),
        (Some(b), None) => (1, before_units[b].start_byte),
        (None, None) => (2, 0),
    });
    let mut edits = Vec::new();
    for (b, a) in pairs {
        let (b, a) = (b.map(|i| &before_units[i]), a.map(|i| &after_units[i]));
        let moved = matches!((b, a), (Some(b), Some(a)) if b.name != a.name);
        if let (Some(b), Some(a)) = (b, a)
            && b.source_hash == a.source_hash
        {
            // Same text under another name is a run of statements whose neighbour was renamed: no edit.
            continue;
        }
        let b = b.map(|u| (u, u.stream()));
        let a = a.map(|u| (u, u.stream()));
        let b = b.as_ref().map(|(u, s)| (*u, &**s));
        let a = a.as_ref().map(|(u, s)| (*u, &**s));
        let mut edit = unit_edit(b, a, options);
        if moved {
            edit.flags |= MOVED;
        }
        if has_error {
            edit.flags |= SYNTAX_ERROR;
        }
        if let (Some((_, a)), Some(side)) = (a, after) {
            let unit_before = b.zip(before).map(|((_, names), s)| (names, s.source));
            edit.names = added_names(unit_before, (a, side.source), before);
        }
        edits.push(edit);
    }
    Ok(FileDiff {
        edits,
        lines_added,
        lines_deleted,
        has_error,
    })
}

type Pair = (Option<usize>, Option<usize>);

fn pair(before: &[Unit], after: &[Unit]) -> Vec<Pair> {
    let by_name: HashMap<&str, usize> = before
        .iter()
        .enumerate()
        .map(|(i, u)| (&*u.name, i))
        .collect();
    let mut pairs: Vec<Pair> = Vec::new();
    let mut left_before: Vec<bool> = vec![true; before.len()];
    let mut left_after: Vec<usize> = Vec::new();
    for (i, unit) in after.iter().enumerate() {
        match by_name.get(&*unit.name) {
            Some(&j) if scope(before[j].kind) == scope(unit.kind) => {
                left_before[j] = false;
                pairs.push((Some(j), Some(i)));
            }
            _ => left_after.push(i),
        }
    }
    let left_before: Vec<usize> = (0..before.len()).filter(|&j| left_before[j]).collect();
    let moved = match_moved(before, after, &left_before, &left_after);
    let (gone, come): (HashSet<usize>, HashSet<usize>) = moved.iter().copied().unzip();
    pairs.extend(moved.iter().map(|&(j, i)| (Some(j), Some(i))));
    pairs.extend(
        left_before
            .iter()
            .filter(|j| !gone.contains(*j))
            .map(|&j| (Some(j), None)),
    );
    pairs.extend(
        left_after
            .iter()
            .filter(|i| !come.contains(*i))
            .map(|&i| (None, Some(i))),
    );
    pairs
}

/// Functions and methods may turn into each other; nothing else may.
fn scope(kind: Kind) -> u8 {
    match kind {
        Kind::Function | Kind::Method => 0,
        Kind::Class => 1,
        Kind::Module => 2,
    }
}

/// Greedy best-first matching of what names did not match, ties by position.
fn match_moved(
    before: &[Unit],
    after: &[Unit],
    left: &[usize],
    right: &[usize],
) -> Vec<(usize, usize)> {
    let exact_only = left.len().saturating_mul(right.len()) > MAX_MOVE_CANDIDATES;
    let counts = |u: &Unit| {
        let mut c: HashMap<u16, u32> = HashMap::new();
        let stream = u.stream();
        for &t in &stream.tokens {
            *c.entry(t).or_insert(0) += 1;
        }
        (c, stream.tokens.len())
    };
    let mut candidates: Vec<(f64, usize, usize)> = Vec::new();
    if exact_only {
        let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
        for &j in left {
            by_hash.entry(before[j].source_hash).or_default().push(j);
        }
        for &i in right {
            for &j in by_hash
                .get(&after[i].source_hash)
                .map_or(&[][..], Vec::as_slice)
            {
                candidates.push((1.0, j, i));
            }
        }
    } else {
        if left.is_empty() || right.is_empty() {
            return Vec::new();
        }
        let right_counts: Vec<_> = right.iter().map(|&i| counts(&after[i])).collect();
        for &j in left {
            let (cj, nj) = counts(&before[j]);
            for (&i, (ci, ni)) in right.iter().zip(&right_counts) {
                let ni = *ni;
                let bound = 2.0 * nj.min(ni) as f64 / (nj + ni) as f64;
                if scope(before[j].kind) != scope(after[i].kind) || bound < MOVED_SIMILARITY {
                    continue;
                }
                let shared: u32 = cj
                    .iter()
                    .map(|(t, n)| *n.min(ci.get(t).unwrap_or(&0)))
                    .sum();
                let dice = 2.0 * f64::from(shared) / (nj + ni) as f64;
                if dice >= MOVED_SIMILARITY {
                    candidates.push((dice, j, i));
                }
            }
        }
    }
    candidates.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
    let (mut used_j, mut used_i) = (HashSet::new(), HashSet::new());
    let mut out = Vec::new();
    for (_, j, i) in candidates {
        if !used_j.contains(&j) && !used_i.contains(&i) {
            used_j.insert(j);
            used_i.insert(i);
            out.push((j, i));
        }
    }
    out
}

/// A unit and its tokens in one piece.
type Streamed<'a> = (&'a Unit, &'a TokenStream);

fn unit_edit(
    before: Option<Streamed<'_>>,
    after: Option<Streamed<'_>>,
    options: Options,
) -> UnitEdit {
    let empty = TokenStream::default();
    let b = before.map_or(&empty, |(_, stream)| stream);
    let a = after.map_or(&empty, |(_, stream)| stream);
    let (before, after) = (before.map(|(u, _)| u), after.map(|(u, _)| u));
    let changes = TokenChanges::between(&b.tokens, &a.tokens);
    let mut flags = match (before, after) {
        (None, _) => CREATED,
        (_, None) => DELETED,
        _ if b.tokens == a.tokens => NOOP,
        _ => 0,
    };
    let longest = b.tokens.len().max(a.tokens.len());
    let start = window_start(changes.first, longest, options.window);
    let state = |exists: bool, tokens: &[u16]| {
        if exists {
            windowed(tokens, start, options.window)
        } else {
            vec![EMPTY]
        }
    };
    if longest > options.window {
        flags |= WINDOWED;
    }
    let mut vector = Vec::with_capacity(options.action.dim());
    // A unit that is in neither side has no edit; `pair` never yields one.
    let shown = after.or(before);
    let kind = shown.map_or(Kind::Module, |u| u.kind);
    action::encode(
        &EditView {
            kind,
            before: before.map(|_| b.tokens.as_slice()),
            after: after.map(|_| a.tokens.as_slice()),
            first_change: changes.first,
            removed: &changes.removed,
            added: &changes.added,
        },
        options.action,
        &mut vector,
    );
    let lines = shown.map_or((0, 0), |u| (u.start_line, u.end_line));
    let shown_lines = if after.is_some() { &a.lines } else { &b.lines };
    let first_changed_line = if flags & NOOP != 0 {
        lines.0
    } else {
        shown_lines
            .get(changes.first)
            .or(shown_lines.last())
            .copied()
            .unwrap_or(lines.0)
    };
    UnitEdit {
        kind,
        flags,
        before_name: before.map_or_else(String::new, |u| u.name.to_string()),
        after_name: after.map_or_else(String::new, |u| u.name.to_string()),
        before: state(before.is_some(), &b.tokens),
        after: state(after.is_some(), &a.tokens),
        action: vector,
        tokens_added: changes.added.len() as u32,
        tokens_removed: changes.removed.len() as u32,
        lines,
        first_changed_line,
        names: Vec::new(),
    }
}

/// Appends the action of a modified unit that is only known by its two states; a diff describes whole units, so where
/// states are windowed the two differ in what is relative to the length.
pub fn describe(before: &[u16], after: &[u16], kind: Kind, version: Version, out: &mut Vec<f32>) {
    let changes = TokenChanges::between(before, after);
    let edit = EditView {
        kind,
        before: Some(before),
        after: Some(after),
        first_change: changes.first,
        removed: &changes.removed,
        added: &changes.added,
    };
    action::encode(&edit, version, out);
}

/// The window rule, version 1: units up to the window are whole; longer ones start a quarter of a window before
/// the first change, never so late that tokens at the end are wasted. Both sides use the same start.
pub fn window_start(first_change: usize, longest: usize, window: usize) -> usize {
    if longest <= window {
        return 0;
    }
    first_change
        .saturating_sub(window / 4)
        .min(longest - window)
}

fn windowed(tokens: &[u16], start: usize, window: usize) -> Vec<u16> {
    // The shorter side may end before the common start; its last token keeps the state from being empty.
    let start = start.min(tokens.len().saturating_sub(1));
    let end = (start + window).min(tokens.len());
    let mut out = tokens[start..end].to_vec();
    if start > 0
        && let Some(first) = out.first_mut()
    {
        *first = TRUNC;
    }
    if end < tokens.len()
        && let Some(last) = out.last_mut()
    {
        *last = TRUNC;
    }
    if out.is_empty() {
        out.push(EMPTY);
    }
    out
}

fn text<'s>(source: &'s [u8], name: &NameUse) -> &'s [u8] {
    &source[name.range()]
}

/// Names that occur more often in the unit than before, each once, in order of first use; `module` is the file
/// before the edit.
fn added_names(
    before: Option<(&TokenStream, &[u8])>,
    after: (&TokenStream, &[u8]),
    module: Option<Side<'_>>,
) -> Vec<AddedName> {
    let (unit, source) = after;
    let (old, old_source) = before.map_or((&[][..], source), |(u, s)| (&u.names[..], s));
    // What both sides share at their ends can make no count grow; most names are there.
    let new = &unit.names[..];
    let same = |(x, y): &(&NameUse, &NameUse)| text(old_source, x) == text(source, y);
    let prefix = old.iter().zip(new).take_while(same).count();
    let rest = old[prefix..].iter().rev().zip(new[prefix..].iter().rev());
    let suffix = rest.take_while(same).count();
    let mut counts: HashMap<&[u8], i64> = HashMap::new();
    for n in &new[prefix..new.len() - suffix] {
        *counts.entry(text(source, n)).or_insert(0) += 1;
    }
    for n in &old[prefix..old.len() - suffix] {
        *counts.entry(text(old_source, n)).or_insert(0) -= 1;
    }
    counts.retain(|_, growth| *growth > 0);
    if counts.is_empty() {
        return Vec::new();
    }
    let mut grown: HashMap<&[u8], AddedName> = HashMap::with_capacity(counts.len());
    let mut order = Vec::with_capacity(counts.len());
    for n in new {
        let name = text(source, n);
        if !counts.contains_key(name) {
            continue;
        }
        let added = grown.entry(name).or_insert_with(|| {
            order.push(name);
            AddedName {
                name: String::from_utf8_lossy(name).into_owned(),
                flags: 0,
                line: n.line,
            }
        });
        added.flags |= n.flags;
    }
    for n in old {
        if let Some(added) = grown.get_mut(text(old_source, n)) {
            added.flags |= NAME_IN_UNIT;
        }
    }
    let mut out = Vec::with_capacity(order.len());
    for name in order {
        out.extend(grown.remove(name).map(|mut added| {
            if module.is_some_and(|m| m.parsed.has_name(m.source, fnv1a_64(name))) {
                added.flags |= NAME_IN_MODULE;
            }
            added
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::parse;

    fn edits(before: Option<&str>, after: Option<&str>) -> Vec<UnitEdit> {
        let options = Options {
            window: 256,
            action: action::Version::V15,
        };
        let parsed_before = before.map(|s| parse(s.as_bytes()).expect("parses"));
        let parsed_after = after.map(|s| parse(s.as_bytes()).expect("parses"));
        diff(
            before.zip(parsed_before.as_ref()).map(|(s, parsed)| Side {
                source: s.as_bytes(),
                parsed,
            }),
            after.zip(parsed_after.as_ref()).map(|(s, parsed)| Side {
                source: s.as_bytes(),
                parsed,
            }),
            options,
        )
        .expect("diffs")
        .edits
    }

    #[test]
    fn an_unchanged_file_has_no_edits() {
        let s = "def f():\n    return 1\n";
        assert!(edits(Some(s), Some(s)).is_empty());
    }

    #[test]
    fn created_deleted_modified_and_no_op_are_told_apart() {
        let before = "def f():\n    return 1\n\ndef g():\n    return [1, 2]\n\ndef h(a, b):\n    # why\n    return a\n";
        let after = "def f():\n    return 2\n\ndef new(x):\n    while x.more():\n        x = x.next()\n    raise KeyError(x)\n\ndef h(a, b):\n    # because\n    return a\n";
        let got: Vec<_> = edits(Some(before), Some(after))
            .iter()
            .map(|e| (e.before_name.clone(), e.after_name.clone(), e.flags))
            .collect();
        let expected = [
            ("f", "f", 0),
            ("", "new", CREATED),
            ("h", "h", NOOP),
            ("g", "", DELETED),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|&(b, a, f)| (b.to_owned(), a.to_owned(), f))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_renamed_function_is_moved_not_recreated() {
        let before = "def old(a, b):\n    total = a + b\n    return total * 2\n";
        let after = "def new(a, b):\n    total = a + b\n    return total * 2\n";
        let got = edits(Some(before), Some(after));
        assert_eq!(got.len(), 1);
        assert_eq!(
            (got[0].before_name.as_str(), got[0].after_name.as_str()),
            ("old", "new")
        );
        assert_eq!(got[0].flags, MOVED);
    }

    #[test]
    fn new_names_say_where_they_were_known() {
        let before = "import os\ndef f(a):\n    return a\n";
        let after = "import os\ndef f(a):\n    exec(os.path)\n    return a\n";
        let got = edits(Some(before), Some(after));
        let names: Vec<_> = got[0]
            .names
            .iter()
            .map(|n| (n.name.as_str(), n.flags, n.line))
            .collect();
        use crate::tokens::{NAME_ATTRIBUTE, NAME_CALL};
        assert_eq!(
            names,
            [
                ("exec", NAME_CALL, 3),
                ("os", NAME_IN_MODULE, 3),
                ("path", NAME_ATTRIBUTE, 3)
            ]
        );
    }

    #[test]
    fn a_window_keeps_the_change_in_view_and_marks_its_cuts() {
        let body: String = (0..400).map(|i| format!("    x{i} = {i}\n")).collect();
        let before = format!("def f():\n{body}    return 1\n");
        let after = format!("def f():\n{body}    return 2\n");
        let got = edits(Some(&before), Some(&after));
        assert_eq!(got[0].flags, WINDOWED);
        assert_eq!((got[0].before.len(), got[0].after.len()), (256, 256));
        assert_eq!(got[0].after[0], TRUNC);
        assert_ne!(got[0].before, got[0].after);
    }
}
