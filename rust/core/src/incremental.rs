//! A source and the version before it in, its units out, by parsing only what changed.
//!
//! A source is kept in pieces: the statements and definitions of the module, the members of its classes, the
//! statements of its functions (`suites.rs` finds where they begin). A piece whose text was there before is
//! taken over with its tokens; only the others go through the grammar. The result is exactly that of
//! [`units::parse`]: whatever this cannot cut, or finds a syntax error in, is parsed whole. Tests and a fuzz
//! target compare the two.

use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tree_sitter::Node;

use crate::error::Result;
use crate::suites::{self, Cut, Irregular, Opening};
use crate::tokens::{NameUse, Setting, TokenStream, is_definition};
use crate::units::{
    self, Body, Finder, Kind, Origin, Parsed, SourceHash, Unit, definition_name, function_kind,
    parse_tree, run_name, undecorated,
};
use crate::vocab::{fnv1a_64, vocabulary};

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
        if let Ok(module) = Module::new(source, old) {
            let units = module.units();
            return Ok(Parsed::new(units, false, Some(module)));
        }
    }
    units::parse(source)
}

/// A piece of a suite and where it is: bytes and lines before it, counted from the start of the text around it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    at: Origin,
    item: Arc<Item>,
}

impl Placed {
    fn end(&self) -> usize {
        self.at.byte + self.item.len
    }
}

/// A piece with what the grammar made of it. All positions in it count from its own first byte and line.
#[derive(Debug)]
pub(crate) struct Item {
    /// Bytes, with the comments and blank lines after it.
    len: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Statements(Statements),
    Definition(Definition),
    Whole(WholeDefinition),
}

/// One or a few statements.
#[derive(Debug)]
struct Statements {
    stream: TokenStream,
    /// Of its names, sorted, with those of the definitions inside it.
    hashes: Vec<u64>,
    /// Stood at the start of its suite, and whether that can matter (it may be a docstring).
    first: bool,
    sensitive: bool,
    /// From the first node's first byte to the last node's end, if there is any.
    span: Option<Span>,
    /// `SourceHash` of each node.
    node_hashes: Vec<u64>,
    /// Definitions inside compound statements.
    units: Vec<Unit>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    start_line: u32,
    end_line: u32,
}

/// Decorators and signature of a function or class.
#[derive(Debug)]
struct Header {
    stream: TokenStream,
    hashes: Vec<u64>,
    name: Arc<str>,
}

/// A function or class whose body is a suite of lines of its own.
#[derive(Debug)]
struct Definition {
    header: Arc<Header>,
    header_len: usize,
    kind: Kind,
    span: Span,
    source_hash: u64,
    /// Where the suite starts and how far it is indented.
    suite_at: Origin,
    column: u32,
    suite: Vec<Placed>,
    /// Functions: of all names, sorted. Classes: empty, their members have them.
    hashes: Vec<u64>,
    /// Classes: the definitions inside, with names from this class on.
    members: Vec<Unit>,
}

/// A function or class with its body on the same line.
#[derive(Debug)]
struct WholeDefinition {
    name: Arc<str>,
    span: Span,
    hashes: Vec<u64>,
    /// Itself and the definitions inside.
    units: Vec<Unit>,
}

/// What the pieces of a suite belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Module,
    Class,
    Function,
}

/// A whole source in pieces.
#[derive(Debug)]
pub(crate) struct Module {
    suite: Arc<Vec<Placed>>,
}

/// Consecutive statements of a module.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    suite: Arc<Vec<Placed>>,
    range: Range<usize>,
}

/// The suite of the version before, in its text.
#[derive(Clone, Copy)]
struct OldSuite<'a> {
    text: &'a [u8],
    at: Origin,
    suite: &'a [Placed],
}

impl Module {
    fn new(source: &[u8], old: Option<OldSuite<'_>>) -> std::result::Result<Self, Irregular> {
        let suite = suite(source, Origin::default(), 0, Context::Module, old)?;
        Ok(Module {
            suite: Arc::new(suite),
        })
    }

    pub(crate) fn has_name(&self, hash: u64) -> bool {
        self.suite.iter().any(|p| p.item.has_name(hash))
    }

    fn units(&self) -> Vec<Unit> {
        let mut out = Vec::new();
        let mut run = 0..0;
        let mut name: Option<&Arc<str>> = None;
        for (i, placed) in self.suite.iter().enumerate() {
            let defined = match &placed.item.content {
                Content::Statements(_) => None,
                Content::Definition(d) => Some(&d.header.name),
                Content::Whole(w) => Some(&w.name),
            };
            if defined.is_some() {
                self.flush(run, name, &mut out);
                run = i + 1..i + 1;
                name = defined;
            } else {
                run.end = i + 1;
            }
            placed.item.push_units(&placed.item, placed.at, &mut out);
        }
        self.flush(run, name, &mut out);
        units::number(&mut out);
        units::sort(&mut out);
        out
    }

    fn flush(&self, range: Range<usize>, after: Option<&Arc<str>>, out: &mut Vec<Unit>) {
        let (mut first, mut last) = (None, None);
        let mut hash = SourceHash::default();
        let mut tokens = 0;
        for placed in &self.suite[range.clone()] {
            let Content::Statements(s) = &placed.item.content else {
                continue;
            };
            tokens += s.stream.tokens.len();
            s.node_hashes.iter().for_each(|&h| hash.push_hash(h));
            if let Some(span) = s.span {
                first = first.or(Some((placed.at, span)));
                last = Some((placed.at, span));
            }
        }
        let (Some((first_at, first)), Some((last_at, last))) = (first, last) else {
            return;
        };
        if tokens == 0 {
            return;
        }
        out.push(Unit {
            name: run_name(after.map(|n| &**n)).into(),
            kind: Kind::Module,
            start_byte: first_at.byte + first.start,
            end_byte: last_at.byte + last.end,
            start_line: first_at.line + first.start_line,
            end_line: last_at.line + last.end_line,
            source_hash: hash.0,
            body: Body::Run(Run {
                suite: Arc::clone(&self.suite),
                range,
            }),
        });
    }
}

impl Run {
    pub(crate) fn append(&self, out: &mut TokenStream) {
        for placed in &self.suite[self.range.clone()] {
            if let Content::Statements(s) = &placed.item.content {
                out.append(&s.stream, placed.at);
            }
        }
    }
}

impl Item {
    /// Appends the tokens of a definition that starts at `origin`.
    pub(crate) fn append_definition(&self, origin: Origin, out: &mut TokenStream) {
        let Content::Definition(d) = &self.content else {
            return;
        };
        out.append(&d.header.stream, origin);
        for placed in &d.suite {
            if let Content::Statements(s) = &placed.item.content {
                out.append(&s.stream, origin.plus(placed.at));
            }
        }
    }

    fn has_name(&self, hash: u64) -> bool {
        let among = |hashes: &[u64]| hashes.binary_search(&hash).is_ok();
        match &self.content {
            Content::Statements(s) => among(&s.hashes),
            Content::Whole(w) => among(&w.hashes),
            Content::Definition(d) if d.kind == Kind::Class => {
                among(&d.header.hashes) || d.suite.iter().any(|p| p.item.has_name(hash))
            }
            Content::Definition(d) => among(&d.hashes),
        }
    }

    /// First and last byte of its nodes.
    fn span(&self) -> Option<Span> {
        match &self.content {
            Content::Statements(s) => s.span,
            Content::Definition(d) => Some(d.span),
            Content::Whole(w) => Some(w.span),
        }
    }

    /// The units in it (`this` is itself), at their place.
    fn push_units(&self, this: &Arc<Item>, at: Origin, out: &mut Vec<Unit>) {
        match &self.content {
            Content::Statements(s) => out.extend(s.units.iter().map(|u| u.moved_by(at))),
            Content::Whole(w) => out.extend(w.units.iter().map(|u| u.moved_by(at))),
            Content::Definition(d) => {
                out.push(Unit {
                    name: Arc::clone(&d.header.name),
                    kind: d.kind,
                    start_byte: at.byte + d.span.start,
                    end_byte: at.byte + d.span.end,
                    start_line: at.line + d.span.start_line,
                    end_line: at.line + d.span.end_line,
                    source_hash: d.source_hash,
                    body: Body::Item(Arc::clone(this), at),
                });
                out.extend(d.members.iter().map(|u| u.moved_by(at)));
            }
        }
    }

    /// It may stand at this place of a suite: a plain string is a docstring only at the start.
    fn fits(&self, is_first: bool) -> bool {
        match &self.content {
            Content::Statements(s) => !s.sensitive || s.first == is_first,
            _ => true,
        }
    }
}

/// The pieces of the suite from `at` to the end of `text`.
fn suite(
    text: &[u8],
    at: Origin,
    column: u32,
    context: Context,
    old: Option<OldSuite<'_>>,
) -> std::result::Result<Vec<Placed>, Irregular> {
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
        at: Origin {
            byte: p.at.byte - old.at.byte + at.byte,
            line: p.at.line - old.at.line + at.line,
        },
        item: Arc::clone(&p.item),
    }));
    let from = match old.suite.get(keep) {
        Some(p) if keep > 0 => Origin {
            byte: p.at.byte - old.at.byte + at.byte,
            line: p.at.line - old.at.line + at.line,
        },
        _ => at,
    };

    // From the first piece that lies in the common end, cut at the same place, the old pieces hold again.
    let old_tail = old.text.len() - suffix;
    let tail = keep + old.suite[keep..].partition_point(|p| p.at.byte < old_tail);
    let mut index = keep;
    let stop = |start: usize| {
        let is_first = index == 0;
        index += 1;
        find_tail(text, &old, tail, start).is_some_and(|i| old.suite[i].item.fits(is_first))
    };
    let (cuts, met) = suites::cut(text, from.byte, column, stop)?;
    let resumed = met.and_then(|start| find_tail(text, &old, tail, start));
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
            at: Origin {
                byte: p.at.byte - there.byte + here.byte,
                line: p.at.line - there.line + here.line,
            },
            item: Arc::clone(&p.item),
        }));
    }
    Ok(out)
}

/// The old piece, from `tail` on, that starts as far from the end as `start` does in the new text.
fn find_tail(text: &[u8], old: &OldSuite<'_>, tail: usize, start: usize) -> Option<usize> {
    let there = (old.text.len() + start).checked_sub(text.len())?;
    let rest = &old.suite[tail..];
    let i = rest.binary_search_by_key(&there, |p| p.at.byte).ok()?;
    Some(tail + i)
}

/// Counts lines forwards from a known place.
struct LineCounter<'a> {
    text: &'a [u8],
    at: Origin,
}

impl LineCounter<'_> {
    fn to(&mut self, byte: usize) -> Origin {
        self.at.line += newlines(&self.text[self.at.byte..byte]);
        self.at.byte = byte;
        self.at
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
) -> std::result::Result<(), Irregular> {
    let old_text = |p: &Placed| &old.text[p.at.byte..p.end()];
    let table: HashMap<&[u8], &Placed> = if middle.len() > FEW {
        middle.iter().map(|p| (old_text(p), p)).collect()
    } else {
        HashMap::new()
    };
    let ends = cuts.iter().skip(1).map(|c| c.start).chain([end]);
    let ranges: Vec<Range<usize>> = cuts.iter().zip(ends).map(|(c, e)| c.start..e).collect();
    let mut i = 0;
    while i < cuts.len() {
        let range = ranges[i].clone();
        let piece = &text[range.clone()];
        let is_first = out.is_empty();
        let same = if middle.len() > FEW {
            table.get(piece).copied()
        } else {
            middle.iter().find(|p| old_text(p) == piece)
        };
        if let Some(same) = same
            && same.item.fits(is_first)
        {
            out.push(Placed {
                at: lines.to(range.start),
                item: Arc::clone(&same.item),
            });
            i += 1;
        } else if cuts[i].opening == Opening::Statement || context == Context::Function {
            // Statements that are new in a row are parsed together.
            let mut next = i + 1;
            while next < cuts.len()
                && (cuts[next].opening == Opening::Statement || context == Context::Function)
                && (next - i < 64)
                && !is_known(&text[ranges[next].clone()], middle, &table, old)
            {
                next += 1;
            }
            let items = statements(text, &ranges[i..next], context, is_first)?;
            for (item, range) in items.into_iter().zip(&ranges[i..next]) {
                out.push(Placed {
                    at: lines.to(range.start),
                    item: Arc::new(item),
                });
            }
            i = next;
        } else {
            let hint = same_name(piece, cuts[i].opening, middle);
            let hint = hint.map(|(p, d)| (old_text(p), d));
            let item = definition(piece, column, cuts[i].opening, context, hint)?;
            out.push(Placed {
                at: lines.to(range.start),
                item: Arc::new(item),
            });
            i += 1;
        }
    }
    Ok(())
}

fn is_known(
    piece: &[u8],
    middle: &[Placed],
    table: &HashMap<&[u8], &Placed>,
    old: &OldSuite<'_>,
) -> bool {
    if middle.len() > FEW {
        return table.contains_key(piece);
    }
    middle
        .iter()
        .any(|p| &old.text[p.at.byte..p.end()] == piece)
}

/// The old definition of the same kind and name: its pieces are the ones most likely to be taken over.
fn same_name<'a>(
    piece: &[u8],
    opening: Opening,
    middle: &'a [Placed],
) -> Option<(&'a Placed, &'a Definition)> {
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

/// The name after `def` or `class` of a piece that defines something; a guess is good enough.
fn defined_name(piece: &[u8]) -> Option<&[u8]> {
    let mut line = suites::next_line(piece, 0).ok()??;
    while piece[line.code] == b'@' {
        line = suites::next_line(piece, line.end).ok()??;
    }
    let mut words = piece[line.code..line.end]
        .split(|b| !(*b == b'_' || b.is_ascii_alphanumeric() || *b >= 0x80))
        .filter(|w| !w.is_empty());
    words.find(|w| !matches!(*w, b"async" | b"def" | b"class"))
}

/// Parses consecutive statements of a suite in one go; one item for each range.
fn statements(
    text: &[u8],
    ranges: &[Range<usize>],
    context: Context,
    is_first: bool,
) -> std::result::Result<Vec<Item>, Irregular> {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
        return Ok(Vec::new());
    };
    let run = &text[first.start..last.end];
    let tree = parse_tree(run).map_err(|_| Irregular)?;
    let root = tree.root_node();
    if root.has_error() {
        return Err(Irregular);
    }
    let mut cursor = root.walk();
    let mut children = root
        .children(&mut cursor)
        .filter(|c| !c.is_extra())
        .peekable();
    let mut items = Vec::with_capacity(ranges.len());
    let mut lines = LineCounter {
        text: run,
        at: Origin::default(),
    };
    for (i, range) in ranges.iter().enumerate() {
        let (start, end) = (range.start - first.start, range.end - first.start);
        let origin = lines.to(start);
        let mut nodes = Vec::new();
        while let Some(node) = children.next_if(|n| n.start_byte() < end) {
            nodes.push(node);
        }
        if context != Context::Function {
            if nodes.iter().any(|n| is_definition(n.kind())) {
                return Err(Irregular);
            }
            let mut finder = Finder::new(run);
            nodes
                .iter()
                .for_each(|n| finder.definitions(*n, context == Context::Class));
            if !finder.units.is_empty() && ranges.len() > 1 {
                // Units count from the start of what was parsed: parse this piece alone.
                let alone = std::slice::from_ref(range);
                items.extend(statements(text, alone, context, is_first && i == 0)?);
                continue;
            }
            items.push(statement(
                run,
                start..end,
                origin,
                &nodes,
                finder.units,
                context,
                is_first && i == 0,
            )?);
        } else {
            let is_first = is_first && i == 0;
            items.push(statement(
                run,
                start..end,
                origin,
                &nodes,
                Vec::new(),
                context,
                is_first,
            )?);
        }
    }
    if children.next().is_some() {
        return Err(Irregular);
    }
    Ok(items)
}

/// One piece of `run` with its nodes.
fn statement(
    run: &[u8],
    range: Range<usize>,
    origin: Origin,
    nodes: &[Node<'_>],
    units: Vec<Unit>,
    context: Context,
    is_first: bool,
) -> std::result::Result<Item, Irregular> {
    let setting = Setting {
        nested: context == Context::Function,
        depth: u16::from(context != Context::Module),
        first: is_first,
    };
    let mut stream = TokenStream::default();
    let mut node_hashes = Vec::with_capacity(nodes.len());
    for &node in nodes {
        if node.start_byte() < range.start || node.end_byte() > range.end {
            return Err(Irregular);
        }
        let before = stream.left_out.len();
        stream.walk(node, run, setting);
        node_hashes.push(SourceHash::of(
            run,
            (node.start_byte(), node.end_byte()),
            &stream.left_out[before..],
        ));
    }
    let mut hashes = name_hashes(run, &stream.names);
    for unit in &units {
        hashes.extend(name_hashes(run, &unit.stream().names));
    }
    sort_dedup(&mut hashes);
    stream.subtract(origin);
    let code = run[range.clone()]
        .iter()
        .find(|b| !matches!(b, b' ' | b'\t'));
    Ok(Item {
        len: range.len(),
        content: Content::Statements(Statements {
            stream,
            hashes,
            first: is_first,
            sensitive: code.is_some_and(|b| b"\"'rRuUbBfFtT".contains(b)),
            span: nodes.first().zip(nodes.last()).map(|(f, l)| Span {
                start: f.start_byte() - origin.byte,
                end: l.end_byte() - origin.byte,
                start_line: row(f.start_position().row) - origin.line,
                end_line: row(l.end_position().row) - origin.line,
            }),
            node_hashes,
            units,
        }),
    })
}

/// A function or class; `text` is its piece.
fn definition(
    text: &[u8],
    outer: u32,
    opening: Opening,
    context: Context,
    hint: Option<(&[u8], &Definition)>,
) -> std::result::Result<Item, Irregular> {
    let first = suites::next_line(text, 0)?.ok_or(Irregular)?;
    let mut line = first;
    while text[line.code] == b'@' {
        line = suites::next_line(text, line.end)?.ok_or(Irregular)?;
    }
    let body = suites::next_line(text, line.end)?;
    let Some(body) = body.filter(|b| line.opens_suite && b.indent > outer) else {
        return whole_definition(text, context);
    };
    let hint = hint.filter(|(_, d)| (d.kind == Kind::Class) == (opening == Opening::Class));
    let header = match hint {
        Some((old, d)) if old[..d.header_len] == text[..line.end] => Arc::clone(&d.header),
        _ => Arc::new(header(
            &text[..line.end],
            &text[body.start..body.code],
            opening,
        )?),
    };
    let suite_at = Origin {
        byte: body.start,
        line: newlines(&text[..body.start]),
    };
    let inner = match opening {
        Opening::Class => Context::Class,
        _ => Context::Function,
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

/// Decorators and signature, parsed with a body that says nothing, whose tokens are taken off again.
fn header(
    text: &[u8],
    indentation: &[u8],
    opening: Opening,
) -> std::result::Result<Header, Irregular> {
    let source = [text, indentation, b"pass\n"].concat();
    let tree = parse_tree(&source).map_err(|_| Irregular)?;
    let root = tree.root_node();
    let node = only_definition(root)?;
    let inner = undecorated(node).ok_or(Irregular)?;
    if (inner.kind() == "class_definition") != (opening == Opening::Class) {
        return Err(Irregular);
    }
    let mut stream = TokenStream::default();
    stream.walk(node, &source, Setting::unit(opening != Opening::Class));
    let v = vocabulary();
    let body = [
        v.depth.first + 1,
        v.token("pass_statement").ok_or(Irregular)?,
    ];
    let kept = stream
        .tokens
        .len()
        .checked_sub(body.len())
        .ok_or(Irregular)?;
    if stream.tokens[kept..] != body || !stream.left_out.is_empty() {
        return Err(Irregular);
    }
    stream.tokens.truncate(kept);
    stream.lines.truncate(kept);
    let mut hashes = name_hashes(&source, &stream.names);
    sort_dedup(&mut hashes);
    Ok(Header {
        hashes,
        name: definition_name(node, &source).into(),
        stream,
    })
}

/// A definition that is parsed as it is.
fn whole_definition(text: &[u8], context: Context) -> std::result::Result<Item, Irregular> {
    let tree = parse_tree(text).map_err(|_| Irregular)?;
    let node = only_definition(tree.root_node())?;
    let mut finder = Finder::new(text);
    finder.definitions(node, context == Context::Class);
    let mut hashes = Vec::new();
    for unit in &finder.units {
        hashes.extend(name_hashes(text, &unit.stream().names));
    }
    sort_dedup(&mut hashes);
    Ok(Item {
        len: text.len(),
        content: Content::Whole(WholeDefinition {
            name: definition_name(node, text).into(),
            span: Span {
                start: node.start_byte(),
                end: node.end_byte(),
                start_line: row(node.start_position().row),
                end_line: row(node.end_position().row),
            },
            hashes,
            units: finder.units,
        }),
    })
}

/// The one definition that a text without errors consists of.
fn only_definition(root: Node<'_>) -> std::result::Result<Node<'_>, Irregular> {
    if root.has_error() {
        return Err(Irregular);
    }
    let mut cursor = root.walk();
    let nodes: Vec<Node<'_>> = root
        .children(&mut cursor)
        .filter(|c| !c.is_extra())
        .collect();
    match nodes[..] {
        [node] if is_definition(node.kind()) => Ok(node),
        _ => Err(Irregular),
    }
}

fn name_hashes(source: &[u8], names: &[NameUse]) -> Vec<u64> {
    names.iter().map(|n| fnv1a_64(&source[n.range()])).collect()
}

fn sort_dedup(hashes: &mut Vec<u64>) {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.shrink_to_fit();
}

/// A row of the grammar, from 1.
fn row(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX - 1) + 1
}

fn newlines(text: &[u8]) -> u32 {
    // At most 64 MiB are parsed.
    text.iter().filter(|&&b| b == b'\n').count() as u32
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
