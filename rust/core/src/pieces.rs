//! A source that is kept in pieces: what the grammar made of each, and the units that they add up to.
//!
//! A piece is part of a suite (see `suites.rs`): one or a few statements, or a function or class, which is kept in
//! pieces itself. Pieces are shared between versions, so every position in one counts from its own start.

use std::ops::Range;
use std::sync::Arc;

use crate::suites::Opening;
use crate::tokens::TokenStream;
use crate::units::{self, Body, Kind, Origin, SourceHash, Unit, run_name};

/// A piece of a suite and where it is: bytes and lines before it, counted from the start of the text around it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) at: Origin,
    pub(crate) item: Arc<Item>,
}

impl Placed {
    pub(crate) fn end(&self) -> usize {
        self.at.byte + self.item.len
    }
}

/// A piece with what the grammar made of it. All positions in it count from its own first byte and line.
#[derive(Debug)]
pub(crate) struct Item {
    /// Bytes, with the comments and blank lines after it.
    pub(crate) len: usize,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Statements(Statements),
    Definition(Definition),
    Whole(WholeDefinition),
}

/// One or a few statements.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) stream: TokenStream,
    /// Of its names, sorted, with those of the definitions inside it.
    pub(crate) hashes: Vec<u64>,
    /// Stood at the start of its suite, and whether that can matter (it may be a docstring).
    pub(crate) first: bool,
    pub(crate) sensitive: bool,
    /// From the first node's first byte to the last node's end, if there is any.
    pub(crate) span: Option<Span>,
    /// `SourceHash` of each node.
    pub(crate) node_hashes: Vec<u64>,
    /// Definitions inside compound statements.
    pub(crate) units: Vec<Unit>,
}

/// A node's first byte, end, and their lines, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) start_line: u32,
    pub(crate) end_line: u32,
}

/// Decorators and signature of a function or class.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) stream: TokenStream,
    pub(crate) hashes: Vec<u64>,
    pub(crate) name: Arc<str>,
}

/// A function or class whose body is a suite of lines of its own.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) header: Arc<Header>,
    pub(crate) header_len: usize,
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    pub(crate) source_hash: u64,
    /// Where the suite starts and how far it is indented.
    pub(crate) suite_at: Origin,
    pub(crate) column: u32,
    pub(crate) suite: Vec<Placed>,
    /// Functions: of all names, sorted. Classes: empty, their members have them.
    pub(crate) hashes: Vec<u64>,
    /// Classes: the definitions inside, with names from this class on.
    pub(crate) members: Vec<Unit>,
}

/// A function or class with its body on the same line.
#[derive(Debug)]
pub(crate) struct WholeDefinition {
    pub(crate) name: Arc<str>,
    pub(crate) span: Span,
    pub(crate) hashes: Vec<u64>,
    /// Itself and the definitions inside.
    pub(crate) units: Vec<Unit>,
}

/// A whole source in pieces.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) suite: Arc<Vec<Placed>>,
}

/// Consecutive statements of a module.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    suite: Arc<Vec<Placed>>,
    range: Range<usize>,
}

impl Module {
    pub(crate) fn has_name(&self, hash: u64) -> bool {
        self.suite.iter().any(|p| p.item.has_name(hash))
    }

    pub(crate) fn units(&self) -> Vec<Unit> {
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

    pub(crate) fn has_name(&self, hash: u64) -> bool {
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
    pub(crate) fn span(&self) -> Option<Span> {
        match &self.content {
            Content::Statements(s) => s.span,
            Content::Definition(d) => Some(d.span),
            Content::Whole(w) => Some(w.span),
        }
    }

    /// The units in it (`this` is itself), at their place.
    pub(crate) fn push_units(&self, this: &Arc<Item>, at: Origin, out: &mut Vec<Unit>) {
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

    /// Of a definition: what it opens, and the start of its last inner piece that ends at `limit` or before.
    pub(crate) fn last_start_before(&self, limit: usize) -> Option<(Opening, usize)> {
        let Content::Definition(d) = &self.content else {
            return None;
        };
        let opening = match d.kind {
            Kind::Class => Opening::Class,
            _ => Opening::Function,
        };
        let whole = d.suite.partition_point(|p| p.end() <= limit);
        let deeper = d.suite.get(whole).and_then(|p| {
            let (_, inside) = p.item.last_start_before(limit.checked_sub(p.at.byte)?)?;
            Some(p.at.byte + inside)
        });
        let last = whole.checked_sub(1).map(|i| d.suite[i].at.byte);
        Some((opening, deeper.or(last)?))
    }

    /// An inner piece of a definition, however deep, starts at this byte.
    pub(crate) fn has_start(&self, byte: usize) -> bool {
        let Content::Definition(d) = &self.content else {
            return false;
        };
        let after = d.suite.partition_point(|p| p.at.byte <= byte);
        let inner = after.checked_sub(1).map(|i| &d.suite[i]);
        inner.is_some_and(|p| p.at.byte == byte || p.item.has_start(byte - p.at.byte))
    }

    /// It may stand at this place of a suite: a plain string is a docstring only at the start.
    pub(crate) fn fits(&self, is_first: bool) -> bool {
        match &self.content {
            Content::Statements(s) => !s.sensitive || s.first == is_first,
            _ => true,
        }
    }
}
