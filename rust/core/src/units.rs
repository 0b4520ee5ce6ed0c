//! One Python source in, its units out: functions, methods, class headers and runs of module statements.
//!
//! A unit is the state of the world model (DESIGN 4). Qualified names are dotted (`Class.method`); a name that
//! occurs again in a file gets `#2`, `#3`. Runs of module statements are named after the definition before them,
//! so that a statement added in one run does not rename the others.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, LazyLock, OnceLock};

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};

use tree_sitter::{Node, Parser, Tree};

use crate::error::{Error, Result};
use crate::pieces::{Item, Module, Run};
use crate::tokens::{Setting, TokenStream, is_definition, line_of};
use crate::vocab::{self, fnv1a_64};

/// Larger sources are refused: a name's position is stored in 32 bits.
pub const MAX_SOURCE_BYTES: usize = 64 << 20;

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A function outside any class.
    Function = 0,
    /// A function in a class body.
    Method = 1,
    /// A class header with its attributes, without its methods.
    Class = 2,
    /// A run of module-level statements.
    Module = 3,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        [Kind::Function, Kind::Method, Kind::Class, Kind::Module]
            .into_iter()
            .find(|&kind| kind as u8 == number)
    }
}

/// Names of the kinds, in the order of their numbers.
pub const KIND_NAMES: [&str; 4] = ["function", "method", "class", "module"];

/// One unit of one source.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Qualified name, unique in the file.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start_byte: usize,
    /// One past the last byte.
    pub end_byte: usize,
    /// First line, from 1.
    pub start_line: u32,
    /// Last line, from 1.
    pub end_line: u32,
    /// Hash of its own source, blank lines and left-out definitions apart.
    pub source_hash: u64,
    pub(crate) body: Body,
}

/// Where a unit's tokens are: units that an edit did not touch never need them in one piece.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// All here; positions count from the given byte and line.
    Stream(Arc<TokenStream>, Origin),
    /// A function or class that is kept in pieces.
    Item(Arc<Item>, Origin),
    /// Module statements that are kept in pieces.
    Run(Run),
}

/// The byte and the number of lines before something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    pub byte: usize,
    pub line: u32,
}

impl Origin {
    /// The same place where what starts at `from` starts at `to`.
    pub(crate) fn shifted(self, from: Origin, to: Origin) -> Origin {
        Origin {
            byte: self.byte - from.byte + to.byte,
            line: self.line - from.line + to.line,
        }
    }

    pub(crate) fn plus(self, inner: Origin) -> Origin {
        Origin {
            byte: self.byte + inner.byte,
            line: self.line + inner.line,
        }
    }
}

impl Unit {
    /// Its tokens, unwindowed, with lines and names.
    pub fn stream(&self) -> Cow<'_, TokenStream> {
        match &self.body {
            Body::Stream(stream, origin) if *origin == Origin::default() => Cow::Borrowed(stream),
            Body::Stream(stream, origin) => {
                let mut out = TokenStream::default();
                out.append(stream, *origin);
                Cow::Owned(out)
            }
            Body::Item(item, origin) => {
                let mut out = TokenStream::default();
                item.append_definition(*origin, &mut out);
                Cow::Owned(out)
            }
            Body::Run(run) => {
                let mut out = TokenStream::default();
                run.append(&mut out);
                Cow::Owned(out)
            }
        }
    }

    pub(crate) fn moved_by(&self, origin: Origin) -> Unit {
        Unit {
            start_byte: self.start_byte + origin.byte,
            end_byte: self.end_byte + origin.byte,
            start_line: self.start_line + origin.line,
            end_line: self.end_line + origin.line,
            body: match &self.body {
                Body::Stream(stream, inner) => {
                    Body::Stream(Arc::clone(stream), origin.plus(*inner))
                }
                Body::Item(item, inner) => Body::Item(Arc::clone(item), origin.plus(*inner)),
                // A module does not lie inside anything.
                Body::Run(run) => Body::Run(run.clone()),
            },
            ..self.clone()
        }
    }
}

/// A source with its units.
#[derive(Debug)]
pub struct Parsed {
    /// Units in order of their first byte.
    pub units: Vec<Unit>,
    /// Whether the grammar had to recover from an error.
    pub has_error: bool,
    /// The pieces that the next version can take over; none if the source was parsed whole.
    pub(crate) pieces: Option<Module>,
    names: OnceLock<HashSet<u64>>,
}

impl Parsed {
    pub(crate) fn new(units: Vec<Unit>, has_error: bool, pieces: Option<Module>) -> Self {
        Parsed {
            units,
            has_error,
            pieces,
            names: OnceLock::new(),
        }
    }

    /// Whether a name occurs in the source; `hash` is its [`fnv1a_64`].
    pub fn has_name(&self, source: &[u8], hash: u64) -> bool {
        if let Some(pieces) = &self.pieces {
            return pieces.has_name(hash);
        }
        let names = self.names.get_or_init(|| {
            let of_unit = |u: &Unit| -> Vec<u64> {
                let stream = u.stream();
                let text = |n: &crate::tokens::NameUse| fnv1a_64(&source[n.range()]);
                stream.names.iter().map(text).collect()
            };
            self.units.iter().flat_map(of_unit).collect()
        });
        names.contains(&hash)
    }
}

/// Parses any bytes; syntax errors are recovered from and marked.
pub fn parse(source: &[u8]) -> Result<Parsed> {
    let tree = parse_tree(source)?;
    let root = tree.root_node();
    let mut found = Finder::new(source);
    found.module(root);
    let mut units = found.units;
    number(&mut units);
    sort(&mut units);
    Ok(Parsed::new(units, root.has_error(), None))
}

/// Gives a name that occurs again `#2`, `#3`, in the order in which units were found.
pub(crate) fn number(units: &mut [Unit]) {
    let mut seen: HashMap<Arc<str>, u32> = HashMap::with_capacity(units.len());
    for unit in units {
        let count = seen.entry(Arc::clone(&unit.name)).or_insert(0);
        *count += 1;
        if *count > 1 {
            unit.name = format!("{}#{count}", unit.name).into();
        }
    }
}

/// Puts units into the order of their first byte.
pub(crate) fn sort(units: &mut [Unit]) {
    units.sort_by_key(|u| (u.start_byte, u.end_byte));
}

/// The tokens of a whole source as one sequence, definitions included.
pub fn tokenize(source: &[u8]) -> Result<Vec<u16>> {
    let tree = parse_tree(source)?;
    let mut stream = TokenStream::default();
    stream.walk(tree.root_node(), source, Setting::unit(true));
    Ok(stream.tokens)
}

pub(crate) fn parse_tree(source: &[u8]) -> Result<Tree> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error::InvalidInput(format!(
            "source of {} bytes; at most {MAX_SOURCE_BYTES} are parsed",
            source.len()
        )));
    }
    thread_local! {
        static PARSER: std::cell::RefCell<Option<Parser>> = const { std::cell::RefCell::new(None) };
    }
    PARSER.with_borrow_mut(|slot| {
        let parser = match slot {
            Some(parser) => parser,
            None => {
                let mut parser = Parser::new();
                parser
                    .set_language(&vocab::language())
                    .map_err(|e| Error::InvalidInput(format!("grammar: {e}")))?;
                slot.insert(parser)
            }
        };
        parser
            .parse(source, None)
            .ok_or_else(|| Error::InvalidInput("the parser gave no tree".to_owned()))
    })
}

/// Collects the units of a syntax tree, not yet numbered.
pub(crate) struct Finder<'s> {
    source: &'s [u8],
    pub(crate) units: Vec<Unit>,
}

/// A place that may hold definitions: a node, the dotted prefix there, whether it is a class body.
struct Place<'t> {
    node: Node<'t>,
    prefix: String,
    in_class: bool,
}

impl<'s> Finder<'s> {
    pub(crate) fn new(source: &'s [u8]) -> Self {
        Finder {
            source,
            units: Vec::new(),
        }
    }

    fn module<'t>(&mut self, root: Node<'t>) {
        let mut run: Vec<Node<'t>> = Vec::new();
        let mut run_name = run_name(None);
        let mut cursor = root.walk();
        for child in root.children(&mut cursor) {
            if child.is_extra() && !child.is_error() {
                continue;
            }
            if is_definition(child.kind()) {
                self.flush(&mut run, &run_name);
                run_name = self::run_name(Some(&definition_name(child, self.source)));
            } else {
                run.push(child);
            }
            self.definitions(child, false);
        }
        self.flush(&mut run, &run_name);
    }

    /// Every definition at or below a node, outside function bodies, in source order; an explicit stack.
    pub(crate) fn definitions(&mut self, node: Node<'_>, in_class: bool) {
        let mut stack = vec![Place {
            node,
            prefix: String::new(),
            in_class,
        }];
        while let Some(Place {
            node,
            prefix,
            in_class,
        }) = stack.pop()
        {
            if is_definition(node.kind()) {
                let Some(inner) = undecorated(node) else {
                    continue;
                };
                let name = format!("{prefix}{}", definition_name(node, self.source));
                if inner.kind() == "class_definition" {
                    self.add(&[node], &name, Kind::Class);
                    if let Some(body) = inner.child_by_field_name("body") {
                        stack.push(Place {
                            node: body,
                            prefix: format!("{name}."),
                            in_class: true,
                        });
                    }
                } else {
                    self.add(&[node], &name, function_kind(in_class));
                }
            } else if may_hold_definitions(node) {
                let mut cursor = node.walk();
                let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
                // Reversed, so that the stack yields source order and `#2` goes to the later one.
                for child in children.into_iter().rev() {
                    stack.push(Place {
                        node: child,
                        prefix: prefix.clone(),
                        in_class,
                    });
                }
            }
        }
    }

    fn flush(&mut self, run: &mut Vec<Node<'_>>, name: &str) {
        if !run.is_empty() {
            self.add(run, name, Kind::Module);
            run.clear();
        }
    }

    fn add(&mut self, nodes: &[Node<'_>], name: &str, kind: Kind) {
        let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else {
            return;
        };
        let mut stream = TokenStream::default();
        let nested = matches!(kind, Kind::Function | Kind::Method);
        let mut hash = SourceHash::default();
        for &node in nodes {
            let before = stream.left_out.len();
            stream.walk(node, self.source, Setting::unit(nested));
            hash.push_hash(SourceHash::of(
                self.source,
                (node.start_byte(), node.end_byte()),
                &stream.left_out[before..],
            ));
        }
        if stream.tokens.is_empty() {
            return;
        }
        self.units.push(Unit {
            name: name.into(),
            kind,
            start_byte: first.start_byte(),
            end_byte: last.end_byte(),
            start_line: line_of(first.start_position().row),
            end_line: line_of(last.end_position().row),
            source_hash: hash.0,
            body: Body::Stream(Arc::new(stream), Origin::default()),
        });
    }
}

pub(crate) fn function_kind(in_class: bool) -> Kind {
    if in_class {
        Kind::Method
    } else {
        Kind::Function
    }
}

/// The name of the run of module statements after a definition, or of the first.
pub(crate) fn run_name(after: Option<&str>) -> String {
    after.map_or_else(
        || "<module>".to_owned(),
        |name| format!("<module after {name}>"),
    )
}

/// What "this unit's own text" means: its nodes' source without left-out definitions and blank lines.
///
/// It says which units are the same in two versions, within one process, and nothing is stored of it. So it is
/// seeded anew for each process: nobody can write a change that has the hash of what it replaces.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SourceHash(pub(crate) u64);

static SEED: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

impl SourceHash {
    /// The hash of one node by its byte range; `left_out` are ranges inside it, in order.
    pub(crate) fn of(source: &[u8], node: (usize, usize), left_out: &[(usize, usize)]) -> u64 {
        let mut hash = SEED.build_hasher();
        let mut at = node.0;
        for &(start, end) in left_out.iter().chain([&(node.1, node.1)]) {
            let mut rest = &source[at..start.max(at)];
            while !rest.is_empty() {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let line = rest[..end].trim_ascii_end();
                if !line.is_empty() {
                    hash.write(line);
                    hash.write_usize(line.len());
                }
                rest = rest.get(end + 1..).unwrap_or(&[]);
            }
            at = end.max(at);
        }
        hash.finish()
    }

    /// Adds a node by its [`SourceHash::of`].
    pub(crate) fn push_hash(&mut self, node: u64) {
        self.0 = (self.0.rotate_left(5) ^ node).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

pub(crate) fn undecorated(node: Node<'_>) -> Option<Node<'_>> {
    if node.kind() == "decorated_definition" {
        node.child_by_field_name("definition")
    } else {
        Some(node)
    }
}

pub(crate) fn definition_name(node: Node<'_>, source: &[u8]) -> String {
    undecorated(node)
        .and_then(|n| n.child_by_field_name("name"))
        .map(|n| String::from_utf8_lossy(&source[n.byte_range()]).into_owned())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| "?".to_owned())
}

/// Compound statements and their blocks; expressions are not searched.
fn may_hold_definitions(node: Node<'_>) -> bool {
    node.is_error()
        || matches!(
            node.kind(),
            "block"
                | "if_statement"
                | "elif_clause"
                | "else_clause"
                | "try_statement"
                | "except_clause"
                | "finally_clause"
                | "with_statement"
                | "for_statement"
                | "while_statement"
                | "match_statement"
                | "case_clause"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<(String, Kind)> {
        let parsed = parse(source.as_bytes()).expect("parses");
        parsed
            .units
            .iter()
            .map(|u| (u.name.to_string(), u.kind))
            .collect()
    }

    #[test]
    fn units_have_qualified_names_and_repeated_ones_are_numbered() {
        let source = "import a\nclass C:\n    x = 1\n    def m(self): pass\n    @property\n    def p(self): pass\n    @p.setter\n    def p(self, v): pass\n    class D:\n        def n(self): pass\nY = 2\nif Y:\n    def f(): pass\n";
        let expected = [
            ("<module>", Kind::Module),
            ("C", Kind::Class),
            ("C.m", Kind::Method),
            ("C.p", Kind::Method),
            ("C.p#2", Kind::Method),
            ("C.D", Kind::Class),
            ("C.D.n", Kind::Method),
            ("<module after C>", Kind::Module),
            ("f", Kind::Function),
        ];
        let expected: Vec<_> = expected.iter().map(|&(n, k)| (n.to_owned(), k)).collect();
        assert_eq!(names(source), expected);
    }

    #[test]
    fn a_method_does_not_belong_to_its_class_unit() {
        let with =
            parse(b"class C:\n    x = 1\n    def m(self):\n        return 1\n").expect("parses");
        let without = parse(b"class C:\n    x = 1\n").expect("parses");
        assert_eq!(
            with.units[0].stream().tokens,
            without.units[0].stream().tokens
        );
        assert_eq!(with.units[0].source_hash, without.units[0].source_hash);
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        let deep = "(".repeat(50_000);
        parse(deep.as_bytes()).expect("recovers");
        let mut blocks = String::new();
        for i in 0..400 {
            blocks.push_str(&" ".repeat(i));
            blocks.push_str("if x:\n");
        }
        parse(blocks.as_bytes()).expect("recovers");
    }
}
