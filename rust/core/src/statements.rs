//! The text of statements and headers in, pieces out: by our own parser where it knows the way, by the grammar if not.

use std::ops::Range;
use std::sync::Arc;

use tree_sitter::Node;

use crate::descent::{self, Inner, Read};
use crate::pieces::{Content, Header, Item, Span, Statements, WholeDefinition};
use crate::suites::{self, Cut, Irregular, Opening};
use crate::texts::{LineCounter, newlines};
use crate::tokens::{NameUse, Setting, TokenStream, is_definition, line_of};
use crate::units::{Finder, Origin, SourceHash, Unit, definition_name, parse_tree, undecorated};
use crate::unsettled::is_unsettled;
use crate::vocab::fnv1a_64;

pub(crate) type Cuttable<T> = std::result::Result<T, Irregular>;

/// What the pieces of a suite belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Module,
    Class,
    Function,
}

/// The name after `def` or `class` of a piece that defines something; a guess is good enough.
pub(crate) fn defined_name(piece: &[u8]) -> Option<&[u8]> {
    let mut line = suites::next_line(piece, 0).ok()??;
    while piece[line.code] == b'@' {
        line = suites::next_line(piece, line.end).ok()??;
    }
    let mut words = piece[line.code..line.end]
        .split(|b| !(*b == b'_' || b.is_ascii_alphanumeric() || *b >= 0x80))
        .filter(|w| !w.is_empty());
    words.find(|w| !matches!(*w, b"async" | b"def" | b"class"))
}

fn may_be_docstring(text: &[u8]) -> bool {
    let code = text.iter().find(|b| !matches!(b, b' ' | b'\t'));
    code.is_some_and(|b| b"\"'rRuUbBfFtT".contains(b))
}

/// A statement, if our own parser knows it; `define` reads a definition inside it that is a unit of its own.
pub(crate) fn read_statement(
    text: &[u8],
    context: Context,
    is_first: bool,
    define: impl Fn(&[u8], &Inner) -> Cuttable<Item>,
) -> Option<Item> {
    let is_nested = context == Context::Function;
    let mut read = descent::statements(text, depth(context), is_first, is_nested)?;
    let mut units = Vec::new();
    for inner in std::mem::take(&mut read.definitions) {
        let item = Arc::new(define(&text[inner.range.clone()], &inner).ok()?);
        let at = Origin {
            byte: inner.range.start,
            line: newlines(&text[..inner.range.start]),
        };
        let span = item.span()?;
        let left_out = (at.byte + span.start, at.byte + span.end);
        read.stream.left_out.push(left_out);
        item.push_units(&item, at, &mut units);
    }
    Some(statements(text, read, units, context, is_first))
}

/// Statement depth inside what the suite belongs to.
fn depth(context: Context) -> u16 {
    u16::from(context != Context::Module)
}

/// The item of a piece, from its tokens and nodes.
fn statements(text: &[u8], read: Read, units: Vec<Unit>, context: Context, is_first: bool) -> Item {
    let Read {
        mut stream, nodes, ..
    } = read;
    let mut hashes = name_hashes(text, &stream.names);
    for unit in &units {
        hashes.extend(name_hashes(text, &unit.stream().names));
    }
    sort_dedup(&mut hashes);
    let mut node_hashes = Vec::new();
    // Only runs of module statements are made of nodes.
    if context == Context::Module {
        node_hashes.extend(nodes.iter().map(|n| {
            let inside = |l: &&(usize, usize)| l.0 >= n.start && l.1 <= n.end;
            let left_out: Vec<_> = stream.left_out.iter().filter(inside).copied().collect();
            SourceHash::of(text, (n.start, n.end), &left_out)
        }));
    }
    stream.shrink();
    Item {
        len: text.len(),
        content: Content::Statements(Statements {
            stream,
            hashes,
            first: is_first,
            sensitive: may_be_docstring(text),
            span: nodes.first().zip(nodes.last()).map(|(f, l)| Span {
                end: l.end,
                end_line: l.end_line,
                ..*f
            }),
            node_hashes,
            units,
        }),
    }
}

/// Parses consecutive statements of a suite, the last of which ends at `end`: each with its start.
pub(crate) fn parse_run(
    text: &[u8],
    cuts: &[Cut],
    end: usize,
    context: Context,
    is_first: bool,
) -> Cuttable<Vec<(Arc<Item>, usize)>> {
    let Some(first) = cuts.first() else {
        return Ok(Vec::new());
    };
    let run = &text[first.start..end];
    let tree = parse_tree(run).map_err(|_| Irregular)?;
    let root = tree.root_node();
    if root.has_error() {
        return Err(Irregular);
    }
    let mut nodes = own_nodes(root).into_iter().peekable();
    let mut lines = LineCounter {
        text: run,
        at: Origin::default(),
    };
    let mut out = Vec::with_capacity(cuts.len());
    let ends = cuts.iter().skip(1).map(|c| c.start).chain([end]);
    for (i, (cut, end)) in cuts.iter().zip(ends).enumerate() {
        let range = cut.start - first.start..end - first.start;
        let origin = lines.to(range.start);
        let mut own = Vec::new();
        while let Some(node) = nodes.next_if(|n| n.start_byte() < range.end) {
            if node.start_byte() < range.start || node.end_byte() > range.end {
                return Err(Irregular);
            }
            own.push(node);
        }
        let item = statement(run, range, origin, &own, context, is_first && i == 0)?;
        out.push((Arc::new(item), cut.start));
    }
    match nodes.next() {
        None => Ok(out),
        Some(_) => Err(Irregular),
    }
}

/// A node's children but for comments.
fn own_nodes(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    let children = node.children(&mut cursor);
    children.filter(|c| !c.is_extra()).collect()
}

/// The piece in a range of what was parsed, with its nodes.
fn statement(
    run: &[u8],
    range: Range<usize>,
    origin: Origin,
    nodes: &[Node<'_>],
    context: Context,
    is_first: bool,
) -> Cuttable<Item> {
    let text = &run[range];
    let units = inner_units(run, nodes, context)?;
    if !units.is_empty() && run.len() > text.len() {
        // They count from the start of what was parsed: parse this piece alone.
        let cut = Cut {
            start: 0,
            opening: Opening::Statement,
        };
        let items = parse_run(text, &[cut], text.len(), context, is_first)?;
        let item = items
            .into_iter()
            .next()
            .and_then(|(item, _)| Arc::into_inner(item));
        return item.ok_or(Irregular);
    }
    let setting = Setting {
        depth: depth(context),
        first: is_first,
        ..Setting::unit(context == Context::Function)
    };
    let mut stream = TokenStream::default();
    for &node in nodes {
        stream.walk(node, run, setting);
    }
    if is_unsettled(nodes) {
        return Err(Irregular);
    }
    stream.subtract(origin);
    let spans = nodes.iter().map(|n| Span {
        start: n.start_byte() - origin.byte,
        end: n.end_byte() - origin.byte,
        start_line: line_of(n.start_position().row) - origin.line,
        end_line: line_of(n.end_position().row) - origin.line,
    });
    let nodes: Vec<Span> = spans.collect();
    Ok(statements(
        text,
        Read {
            stream,
            nodes,
            ..Read::default()
        },
        units,
        context,
        is_first,
    ))
}

/// Definitions inside compound statements, outside functions.
fn inner_units(run: &[u8], nodes: &[Node<'_>], context: Context) -> Cuttable<Vec<Unit>> {
    if context == Context::Function {
        return Ok(Vec::new());
    }
    let mut finder = Finder::new(run);
    for &node in nodes {
        // Where the text did not look like one.
        if is_definition(node.kind()) {
            return Err(Irregular);
        }
        finder.definitions(node, context == Context::Class);
    }
    Ok(finder.units)
}

/// Decorators and signature.
pub(crate) fn header(text: &[u8], indentation: &[u8], opening: Opening) -> Cuttable<Header> {
    let is_class = opening == Opening::Class;
    if let Some(read) = descent::header(text).filter(|r| r.is_class == is_class)
        && let Ok(name) = std::str::from_utf8(&text[read.name])
    {
        return Ok(new_header(text, read.stream, name));
    }
    // The grammar wants a body; this one says nothing.
    let source = [text, indentation, b"pass\n"].concat();
    let tree = parse_tree(&source).map_err(|_| Irregular)?;
    let node = only_definition(tree.root_node())?;
    let inner = undecorated(node).ok_or(Irregular)?;
    if (inner.kind() == "class_definition") != is_class {
        return Err(Irregular);
    }
    let setting = Setting {
        without_body: true,
        ..Setting::unit(!is_class)
    };
    let mut stream = TokenStream::default();
    stream.walk(node, &source, setting);
    Ok(new_header(&source, stream, &definition_name(node, &source)))
}

fn new_header(source: &[u8], mut stream: TokenStream, name: &str) -> Header {
    stream.shrink();
    let mut hashes = name_hashes(source, &stream.names);
    sort_dedup(&mut hashes);
    Header {
        hashes,
        name: name.into(),
        stream,
    }
}

/// A definition that is parsed as it is.
pub(crate) fn whole_definition(text: &[u8], context: Context) -> Cuttable<Item> {
    let tree = parse_tree(text).map_err(|_| Irregular)?;
    let node = only_definition(tree.root_node())?;
    if is_unsettled(&[node]) {
        return Err(Irregular);
    }
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
                start_line: line_of(node.start_position().row),
                end_line: line_of(node.end_position().row),
            },
            hashes,
            units: finder.units,
        }),
    })
}

/// The one definition that a text without errors consists of.
fn only_definition(root: Node<'_>) -> Cuttable<Node<'_>> {
    if root.has_error() {
        return Err(Irregular);
    }
    match own_nodes(root)[..] {
        [node] if is_definition(node.kind()) => Ok(node),
        _ => Err(Irregular),
    }
}

fn name_hashes(source: &[u8], names: &[NameUse]) -> Vec<u64> {
    names.iter().map(|n| fnv1a_64(&source[n.range()])).collect()
}

pub(crate) fn sort_dedup(hashes: &mut Vec<u64>) {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.shrink_to_fit();
}
