//! A source and the version before it in, its units out, by parsing only what changed.
//!
//! A source is kept in pieces: the statements and definitions of the module, the members of its classes, the
//! statements of its functions (`suites.rs` finds where they begin). A piece whose text was there before is
//! taken over with its tokens; only the others go through the grammar. The result is exactly that of
//! [`units::parse`]: whatever this cannot cut, or finds a syntax error in, is parsed whole. Tests and a fuzz
//! target compare the two.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::error::Result;
use crate::pieces::{Content, Definition, Item, Module, Placed, Span, WholeDefinition};
use crate::statements::{
    Context, Cuttable, defined_name, header, parse_run, read_statement, sort_dedup,
    whole_definition,
};
use crate::suites::{self, Cut, Irregular, Opening};
use crate::texts::{LineCounter, common_prefix, common_suffix, newlines};
use crate::units::{self, Kind, Origin, Parsed, SourceHash, function_kind};

/// Old pieces up to this number are compared one by one with a new one, more through a table.
const FEW: usize = 8;

/// Parses a source, taking over what it shares with the version before it.
pub fn parse_after(source: &[u8], before: Option<(&[u8], &Parsed)>) -> Result<Parsed> {
    if source.len() <= units::MAX_SOURCE_BYTES && suites::is_plain(source) {
        let old = before.and_then(|(text, parsed)| {
            parsed.pieces.as_ref().map(|m| OldSuite {
                text,
                at: Origin::default(),
                suite: &m.suite,
            })
        });
        if let Ok(suite) = suite(source, Origin::default(), 0, Context::Module, old) {
            let module = Module {
                suite: Arc::new(suite),
            };
            let units = module.units();
            return Ok(Parsed::new(units, false, Some(module)));
        }
    }
    units::parse(source)
}

/// The suite of the version before, in its text.
#[derive(Clone, Copy)]
struct OldSuite<'a> {
    text: &'a [u8],
    at: Origin,
    suite: &'a [Placed],
}

/// The pieces of the suite from `at` to the end of `text`.
fn suite(
    text: &[u8],
    at: Origin,
    column: u32,
    context: Context,
    old: Option<OldSuite<'_>>,
) -> Cuttable<Vec<Placed>> {
    let none = OldSuite {
        text: &[],
        at: Origin::default(),
        suite: &[],
    };
    let old = old.unwrap_or(none);
    let (old_region, region) = (&old.text[old.at.byte..], &text[at.byte..]);
    let prefix = common_prefix(old_region, region);
    let suffix = common_suffix(&old_region[prefix..], &region[prefix..]);

    // Pieces before the first difference stay, but for the last of them: where it ends is to be seen.
    let whole = old
        .suite
        .partition_point(|p| p.end() <= old.at.byte + prefix);
    let keep = whole.saturating_sub(1);
    let mut out: Vec<Placed> = Vec::with_capacity(old.suite.len() + 1);
    out.extend(old.suite[..keep].iter().map(|p| Placed {
        at: p.at.shifted(old.at, at),
        item: Arc::clone(&p.item),
    }));
    let from = match old.suite.get(keep) {
        Some(p) if keep > 0 => p.at.shifted(old.at, at),
        _ => at,
    };

    // From the first piece that lies in the common end, cut at the same place, the old pieces hold again.
    let old_tail = old.text.len() - suffix;
    let mut known = OldPieces {
        old,
        shared: old.at.byte + prefix,
        start: at.byte,
        tail: keep + old.suite[keep..].partition_point(|p| p.at.byte < old_tail),
        old_tail,
        len: text.len(),
        index: keep,
    };
    let (cuts, met) = suites::cut(text, from.byte, column, &mut known)?;
    let resumed = met.and_then(|start| known.in_tail(start));
    let end = met.unwrap_or(text.len());

    let middle = &old.suite[keep..resumed.unwrap_or(old.suite.len())];
    let mut lines = LineCounter { text, at: from };
    pieces(
        text, &cuts, end, column, context, &old, middle, &mut lines, &mut out,
    )?;
    if let Some(first) = resumed {
        let here = lines.to(end);
        let there = old.suite[first].at;
        out.extend(old.suite[first..].iter().map(|p| Placed {
            at: p.at.shifted(there, here),
            item: Arc::clone(&p.item),
        }));
    }
    Ok(out)
}

/// The old pieces of a suite, by places in the new text.
struct OldPieces<'a> {
    old: OldSuite<'a>,
    /// One past the last old byte up to which both suites are the same from their starts.
    shared: usize,
    /// Where the new suite starts.
    start: usize,
    /// The first old piece in what both have in common at the end, which starts at `old_tail`.
    tail: usize,
    old_tail: usize,
    /// Of the new text.
    len: usize,
    /// The place in the suite of the next cut.
    index: usize,
}

impl OldPieces<'_> {
    /// A place in the common end, in the old text.
    fn mirrored(&self, place: usize) -> Option<usize> {
        let there = (self.old.text.len() + place).checked_sub(self.len)?;
        (there >= self.old_tail).then_some(there)
    }

    /// The old piece in the common end that starts at a place of the new text.
    fn in_tail(&self, start: usize) -> Option<usize> {
        let there = self.mirrored(start)?;
        let rest = &self.old.suite[self.tail..];
        let i = rest.binary_search_by_key(&there, |p| p.at.byte).ok()?;
        Some(self.tail + i)
    }
}

impl suites::Known for OldPieces<'_> {
    fn resumes(&mut self, start: usize) -> bool {
        let is_first = self.index == 0;
        self.index += 1;
        let piece = self.in_tail(start);
        piece.is_some_and(|i| self.old.suite[i].item.fits(is_first))
    }

    fn ahead(&self, start: usize) -> Option<(usize, Opening)> {
        let there = start - self.start + self.old.at.byte;
        if there >= self.shared {
            return None;
        }
        let suite = self.old.suite;
        let i = suite.binary_search_by_key(&there, |p| p.at.byte).ok()?;
        let (opening, inside) = suite[i].item.last_start_before(self.shared - there)?;
        Some((start + inside, opening))
    }

    fn end_of(&self, line: usize) -> Option<usize> {
        let there = self.mirrored(line)?;
        let i = self.old.suite.partition_point(|p| p.at.byte <= there);
        let piece = self.old.suite.get(i.checked_sub(1)?)?;
        if !piece.item.has_start(there - piece.at.byte) {
            return None;
        }
        Some(piece.end() + self.len - self.old.text.len())
    }
}

/// Appends the pieces between `cuts`, taken over from `middle` where the text was there before.
#[allow(clippy::too_many_arguments)]
fn pieces(
    text: &[u8],
    cuts: &[Cut],
    end: usize,
    column: u32,
    context: Context,
    old: &OldSuite<'_>,
    middle: &[Placed],
    lines: &mut LineCounter<'_>,
    out: &mut Vec<Placed>,
) -> Cuttable<()> {
    let old_text = |p: &Placed| &old.text[p.at.byte..p.end()];
    let table: HashMap<&[u8], &Placed> = if middle.len() > FEW {
        middle.iter().map(|p| (old_text(p), p)).collect()
    } else {
        HashMap::new()
    };
    let same_text = |piece: &[u8]| {
        if middle.len() > FEW {
            table.get(piece).copied()
        } else {
            middle.iter().find(|p| old_text(p) == piece)
        }
    };
    // Statements with nothing to take over: they are parsed together where they follow each other.
    let mut fresh: Vec<Cut> = Vec::new();
    let mut put = |item: Arc<Item>, start: usize, out: &mut Vec<Placed>| {
        out.push(Placed {
            at: lines.to(start),
            item,
        });
    };
    let ends = cuts.iter().skip(1).map(|c| c.start).chain([end]);
    for (cut, end) in cuts.iter().zip(ends) {
        let piece = &text[cut.start..end];
        let is_first = out.is_empty() && fresh.is_empty();
        let defines = cut.opening != Opening::Statement && context != Context::Function;
        let item = if let Some(same) = same_text(piece).filter(|p| p.item.fits(is_first)) {
            Arc::clone(&same.item)
        } else if defines {
            let hint = same_name(piece, cut.opening, middle).map(|(p, d)| (old_text(p), d));
            Arc::new(definition(piece, column, cut.opening, context, hint)?)
        } else if let Some(item) = read_statement(piece, context, is_first, |text, inner| {
            definition(text, inner.column, inner.opening, context, None)
        }) {
            Arc::new(item)
        } else {
            fresh.push(*cut);
            continue;
        };
        for (item, start) in parse_run(text, &fresh, cut.start, context, out.is_empty())? {
            put(item, start, out);
        }
        fresh.clear();
        put(item, cut.start, out);
    }
    for (item, start) in parse_run(text, &fresh, end, context, out.is_empty())? {
        put(item, start, out);
    }
    Ok(())
}

/// The old definition of the same kind and name: its pieces are the ones most likely to be taken over.
fn same_name<'a>(
    piece: &[u8],
    opening: Opening,
    middle: &'a [Placed],
) -> Option<(&'a Placed, &'a Definition)> {
    if middle.is_empty() {
        return None;
    }
    let name = defined_name(piece)?;
    middle.iter().find_map(|p| match &p.item.content {
        Content::Definition(d)
            if (d.kind == Kind::Class) == (opening == Opening::Class)
                && d.header.name.as_bytes() == name =>
        {
            Some((p, d))
        }
        _ => None,
    })
}

/// A function or class. `text` is its piece; `hint` is an old definition and its text, where there is something to
/// take over.
fn definition(
    text: &[u8],
    outer: u32,
    opening: Opening,
    context: Context,
    hint: Option<(&[u8], &Definition)>,
) -> Cuttable<Item> {
    let first = suites::next_line(text, 0)?.ok_or(Irregular)?;
    let mut line = first;
    while text[line.code] == b'@' {
        line = suites::next_line(text, line.end)?.ok_or(Irregular)?;
    }
    let body = suites::next_line(text, line.end)?;
    let Some(body) = body.filter(|b| line.opens_suite && b.indent > outer) else {
        return whole_definition(text, context);
    };
    let suite_at = Origin {
        byte: body.start,
        line: newlines(&text[..body.start]),
    };
    let inner = match opening {
        Opening::Class => Context::Class,
        _ => Context::Function,
    };
    let header = match hint {
        Some((old, d)) if old[..d.header_len] == text[..line.end] => Arc::clone(&d.header),
        _ => Arc::new(header(
            &text[..line.end],
            &text[body.start..body.code],
            opening,
        )?),
    };
    let old = hint
        .filter(|(_, d)| d.column == body.indent)
        .map(|(old, d)| OldSuite {
            text: old,
            at: d.suite_at,
            suite: &d.suite,
        });
    let suite = suite(text, suite_at, body.indent, inner, old)?;
    let last = suite.last().ok_or(Irregular)?;
    let last_end = last.at.byte + last.item.span().ok_or(Irregular)?.end;
    let end = suites::suite_end(text, last_end, body.indent)?;
    let span = Span {
        start: first.code,
        end,
        start_line: 1 + newlines(&text[..first.code]),
        end_line: 1 + last.at.line + newlines(&text[last.at.byte..end]),
    };
    let mut left_out = Vec::new();
    let mut hashes = Vec::new();
    let mut members = Vec::new();
    for placed in &suite {
        let at = placed.at.byte;
        match &placed.item.content {
            Content::Statements(s) => {
                left_out.extend(s.stream.left_out.iter().map(|(a, b)| (a + at, b + at)));
                if inner == Context::Function {
                    hashes.extend_from_slice(&s.hashes);
                }
            }
            Content::Definition(Definition { span, .. })
            | Content::Whole(WholeDefinition { span, .. }) => {
                left_out.push((span.start + at, span.end + at));
            }
        }
        if inner == Context::Class {
            placed
                .item
                .push_units(&placed.item, placed.at, &mut members);
        }
    }
    for unit in &mut members {
        unit.name = format!("{}.{}", header.name, unit.name).into();
    }
    if inner == Context::Function {
        hashes.extend_from_slice(&header.hashes);
        sort_dedup(&mut hashes);
    }
    let mut source_hash = SourceHash::default();
    source_hash.push_hash(SourceHash::of(text, (span.start, span.end), &left_out));
    Ok(Item {
        len: text.len(),
        content: Content::Definition(Definition {
            header,
            header_len: line.end,
            kind: match opening {
                Opening::Class => Kind::Class,
                _ => function_kind(context == Context::Class),
            },
            span,
            source_hash: source_hash.0,
            suite_at,
            column: body.indent,
            suite,
            hashes,
            members,
        }),
    })
}
