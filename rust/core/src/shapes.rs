//! A statement's text in, its tokens out without parsing it, if a statement of the same shape was parsed before.
//!
//! The grammar does not care which name, number or string stands at a place, only that one does. So statements
//! whose lexemes are the same, names, whole numbers and strings apart, have the same tree: `a.b(c, 1)` and
//! `self.run(x, 20)`. What was learnt from one is filled in with the words of the other. Two thirds of the code
//! in a history have been seen before in this sense, and reading lexemes is many times faster than parsing.
//!
//! Only text that can be read by simple rules takes part: no f-strings, no names beyond ASCII. What is learnt is
//! checked on the statement it was learnt from; tests and a fuzz target compare the results with the grammar's.

use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock, RwLock};

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};

use crate::pieces::Span;
use crate::suites;
use crate::texts::newlines;
use crate::tokens::{NameFlags, NameUse, TokenStream, number_text};
use crate::vocab::{self, vocabulary};

/// Longer statements hardly ever have the shape of another.
const MAX_LEXEMES: usize = 400;
/// The memory of one process; when a shard is full, nothing more is learnt in it.
const SHARDS: usize = 16;
const SHARD_BYTES: usize = 3 << 20;

/// Words that mean something to the grammar, beside those that it lists as symbols of their own.
const WORDS: [&str; 12] = [
    "False", "None", "True", "break", "continue", "pass", "_", "print", "exec", "match", "case",
    "type",
];

/// Every word that is not just a name.
static RESERVED: LazyLock<HashSet<Box<[u8]>>> = LazyLock::new(|| {
    let language = vocab::language();
    // The grammar has at most 65,535 symbols by its own type.
    let symbols =
        (0..language.node_kind_count() as u16).filter_map(|s| language.node_kind_for_id(s));
    let words = symbols.flat_map(|s| s.split_ascii_whitespace());
    words
        .chain(WORDS)
        .filter(|w| w.bytes().all(|b| b == b'_' || b.is_ascii_alphabetic()))
        .map(|w| w.as_bytes().into())
        .collect()
});

/// What a lexeme is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Number,
    Text,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Lexeme {
    start: u32,
    end: u32,
    /// From 1.
    line: u32,
    kind: Kind,
}

/// A statement's lexemes, and what they have in common with those of the same shape.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    key: Vec<u8>,
    lexemes: Vec<Lexeme>,
}

/// What the tree of a shape comes to.
#[derive(Debug)]
struct Shape {
    tokens: Vec<Slot>,
    /// Lexeme and flags.
    names: Vec<(u16, NameFlags)>,
    /// First and last lexeme of each node.
    nodes: Vec<(u16, u16)>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The lexeme that says the line, and the words.
    lexeme: u16,
    /// The token, or what it is made from.
    token: u16,
    kind: Kind,
}

/// A statement's tokens and its nodes' byte ranges.
pub(crate) struct Filled {
    pub stream: TokenStream,
    pub nodes: Vec<Span>,
}

/// By the shapes' keys.
type Shard = RwLock<(HashMap<Box<[u8]>, Arc<Shape>>, usize)>;

static KNOWN: LazyLock<(DefaultHashBuilder, [Shard; SHARDS])> = LazyLock::new(Default::default);

fn shard(key: &[u8]) -> &'static Shard {
    let (hasher, shards) = &*KNOWN;
    // The high bits: the table inside uses the low ones.
    &shards[(hasher.hash_one(key) >> 60) as usize % SHARDS]
}

impl Lexed {
    /// Reads the lexemes of a piece; `setting` is all else that its tokens depend on. None if the text is beyond the
    /// simple rules.
    pub(crate) fn read(text: &[u8], setting: u8) -> Option<Self> {
        let mut out = Lexed::default();
        out.key.push(setting);
        let mut at = 0;
        let mut line = 1;
        let mut depth = 0_u32;
        let mut lines = 0;
        // How many lexemes stood before the last comment.
        let mut commented = None;
        let mut colon = false;
        let mut starts_line = true;
        let mut was_other = false;
        let mut base = 0;
        // Of the logical line; what is indented by less is a dedent to the grammar, even inside brackets.
        let mut current = 0;
        let mut shallow_comment = false;
        while let Some(&b) = text.get(at) {
            if starts_line && depth == 0 {
                let (indent, code) = suites::indentation(text, at).ok()?;
                at = code;
                let first = *text.get(at).unwrap_or(&b'\n');
                if !matches!(first, b'\n' | b'\r' | b'#') {
                    if lines == 0 {
                        base = indent;
                    }
                    if shallow_comment {
                        return None;
                    }
                    lines += 1;
                    current = indent;
                    let deeper = indent.checked_sub(base)?;
                    out.key.push(0);
                    // At most `suites::MAX_INDENT`.
                    out.key.extend((deeper as u16).to_le_bytes());
                }
                shallow_comment |= first == b'#' && lines > 0 && indent < current;
                starts_line = false;
                was_other = false;
                continue;
            }
            match b {
                b'\n' => {
                    line += 1;
                    at += 1;
                    starts_line = depth == 0;
                    if depth > 0 {
                        let (indent, code) = suites::indentation(text, at).ok()?;
                        if indent < current && !suites::is_blank(text, code) {
                            return None;
                        }
                    }
                    was_other = false;
                }
                b' ' | b'\t' | b'\r' => {
                    at += 1;
                    was_other = false;
                }
                b'#' => {
                    commented = Some(out.lexemes.len());
                    at = suites::line_end(text, at);
                    if text[at - 1] == b'\n' {
                        at -= 1;
                    }
                }
                b'\\' => {
                    at += match text.get(at + 1..) {
                        Some([b'\n', ..]) => 2,
                        Some([b'\r', b'\n', ..]) => 3,
                        _ => return None,
                    };
                    line += 1;
                    was_other = false;
                }
                b'"' | b'\'' => {
                    at = out.string(text, at, at, &mut line)?;
                    was_other = false;
                }
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                    let end = word_end(text, at);
                    if matches!(text.get(end), Some(b'"' | b'\'')) && is_prefix(&text[at..end]) {
                        at = out.string(text, at, end, &mut line)?;
                    } else {
                        out.word(text, at, end, line);
                        at = end;
                    }
                    was_other = false;
                }
                b'0'..=b'9' => {
                    at = out.number(text, at, line)?;
                    was_other = false;
                }
                0x21..0x7f => {
                    if b == b'.' && text.get(at + 1).is_some_and(u8::is_ascii_digit) && !was_other {
                        // Part of a number, or an attribute that is none: rare, and not for simple rules.
                        return None;
                    }
                    match b {
                        b'(' | b'[' | b'{' => depth += 1,
                        b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
                        b':' if depth == 0 => colon = true,
                        _ => {}
                    }
                    if !was_other {
                        // Characters that stand apart are not one operator.
                        out.key.push(1);
                    }
                    out.key.push(b);
                    out.push(at, at + 1, line, Kind::Other);
                    at += 1;
                    was_other = true;
                }
                _ => return None,
            }
            if out.lexemes.len() > MAX_LEXEMES {
                return None;
            }
        }
        // A comment after the last lexeme may be part of a suite, and so of the end of the statement.
        let is_simple = lines == 1 && !colon;
        let ends_in_code = is_simple || commented != Some(out.lexemes.len());
        (depth == 0 && !out.lexemes.is_empty() && ends_in_code).then_some(out)
    }

    fn push(&mut self, start: usize, end: usize, line: u32, kind: Kind) {
        // A source has at most 64 MiB.
        self.lexemes.push(Lexeme {
            start: start as u32,
            end: end as u32,
            line,
            kind,
        });
    }

    fn word(&mut self, text: &[u8], start: usize, end: usize, line: u32) {
        let word = &text[start..end];
        if RESERVED.contains(word) {
            self.key.push(2);
            self.key.extend_from_slice(word);
        } else {
            self.key.push(3);
        }
        self.push(start, end, line, Kind::Name);
    }

    fn number(&mut self, text: &[u8], start: usize, line: u32) -> Option<usize> {
        let mut end = word_end(text, start);
        while text.get(end) == Some(&b'.') {
            end = word_end(text, end + 1);
        }
        let written = &text[start..end];
        if matches!(written.last(), Some(b'e' | b'E')) && matches!(text.get(end), Some(b'+' | b'-'))
        {
            return None;
        }
        if written.iter().all(u8::is_ascii_digit) {
            self.key.push(4);
        } else {
            self.key.push(5);
            self.key.extend_from_slice(written);
        }
        self.push(start, end, line, Kind::Number);
        Some(end)
    }

    fn string(&mut self, text: &[u8], start: usize, quote: usize, line: &mut u32) -> Option<usize> {
        let prefix = &text[start..quote];
        if prefix
            .iter()
            .any(|b| matches!(b, b'f' | b'F' | b't' | b'T'))
        {
            return None;
        }
        let end = suites::string_end(text, quote).ok()?;
        let opening = if text[quote..].starts_with(&[text[quote]; 3]) {
            3
        } else {
            1
        };
        let escapes = [b'\\', b'\'', b'"', b'\n', b'\r'];
        let starts_escaped =
            matches!(text[quote + opening..], [b'\\', next, ..] if escapes.contains(&next));
        if starts_escaped && prefix.iter().any(|b| matches!(b, b'r' | b'R')) {
            // To the grammar a raw string of nothing but these has no content.
            return None;
        }
        self.key.push(6);
        // Raw strings and bytes have other escapes, which are no matter to the tree; kept apart all the same.
        self.key.extend(prefix.iter().map(u8::to_ascii_lowercase));
        self.push(start, end, *line, Kind::Text);
        *line += newlines(&text[start..end]);
        Some(end)
    }

    /// The statement's tokens, if its shape is known.
    pub(crate) fn fill(&self, text: &[u8]) -> Option<Filled> {
        let shape = {
            let known = shard(&self.key).read().ok()?;
            Arc::clone(known.0.get(&self.key[..])?)
        };
        Some(self.filled(&shape, text))
    }

    fn filled(&self, shape: &Shape, text: &[u8]) -> Filled {
        let v = vocabulary();
        let lexeme = |i: u16| self.lexemes[usize::from(i)];
        let mut stream = TokenStream {
            tokens: Vec::with_capacity(shape.tokens.len()),
            lines: Vec::with_capacity(shape.tokens.len()),
            names: Vec::with_capacity(shape.names.len()),
            ..TokenStream::default()
        };
        for slot in &shape.tokens {
            let from = lexeme(slot.lexeme);
            let written = &text[from.start as usize..from.end as usize];
            stream.tokens.push(match slot.kind {
                Kind::Other => slot.token,
                Kind::Name => v.identifier.bucket(written),
                Kind::Number => v.number.bucket(&number_text(written)),
                Kind::Text => v.string.bucket(&string_text(written)),
            });
            stream.lines.push(from.line);
        }
        stream
            .names
            .extend(shape.names.iter().map(|&(i, flags)| NameUse {
                start: lexeme(i).start,
                end: lexeme(i).end,
                flags,
                line: lexeme(i).line,
            }));
        let nodes = shape.nodes.iter().map(|&(first, last)| {
            let (first, last) = (lexeme(first), lexeme(last));
            let inside = &text[last.start as usize..last.end as usize];
            Span {
                start: first.start as usize,
                end: last.end as usize,
                start_line: first.line,
                end_line: last.line + newlines(inside),
            }
        });
        Filled {
            nodes: nodes.collect(),
            stream,
        }
    }

    /// Learns from a statement that was parsed: its tokens, with places, and its nodes.
    pub(crate) fn learn(self, text: &[u8], stream: &TokenStream, nodes: &[Span]) {
        let Some(shape) = self.shape(stream, nodes) else {
            return;
        };
        let again = self.filled(&shape, text);
        let same = again.stream.tokens == stream.tokens
            && again.stream.lines == stream.lines
            && again.stream.names == stream.names
            && again.nodes == nodes;
        let Ok(mut known) = shard(&self.key).write() else {
            return;
        };
        let size = self.key.len() + 8 * shape.tokens.len() + 4 * shape.names.len() + 128;
        if same && known.1 + size <= SHARD_BYTES {
            known.1 += size;
            known.0.insert(self.key.into_boxed_slice(), Arc::new(shape));
        }
    }

    fn shape(&self, stream: &TokenStream, nodes: &[Span]) -> Option<Shape> {
        if !stream.left_out.is_empty() {
            return None;
        }
        let v = vocabulary();
        // The number of lexemes is bounded far below 2^16.
        let starting = |at: u32| {
            let found = self.lexemes.binary_search_by_key(&at, |l| l.start);
            found.ok().map(|i| i as u16)
        };
        let ending = |at: u32| {
            let found = self.lexemes.binary_search_by_key(&at, |l| l.end);
            found.ok().map(|i| i as u16)
        };
        let mut tokens = Vec::with_capacity(stream.tokens.len());
        for (&token, &(start, end)) in stream.tokens.iter().zip(stream.places.as_ref()?) {
            let kind = if v.identifier.contains(token) {
                Kind::Name
            } else if v.number.contains(token) {
                Kind::Number
            } else if v.string.contains(token) {
                Kind::Text
            } else {
                Kind::Other
            };
            let lexeme = if token == vocab::END {
                ending(end)?
            } else {
                starting(start)?
            };
            // A word that is filled in has to be the lexeme, the whole lexeme, and nothing but the lexeme.
            let from = self.lexemes[usize::from(lexeme)];
            if kind != Kind::Other && (from.kind, from.end) != (kind, end) {
                return None;
            }
            tokens.push(Slot {
                lexeme,
                token,
                kind,
            });
        }
        let names = stream.names.iter().map(|n| {
            let i = starting(n.start)?;
            (self.lexemes[usize::from(i)].end == n.end).then_some((i, n.flags))
        });
        let nodes = nodes
            .iter()
            .map(|n| Some((starting(n.start as u32)?, ending(n.end as u32)?)));
        Some(Shape {
            tokens,
            names: names.collect::<Option<_>>()?,
            nodes: nodes.collect::<Option<_>>()?,
        })
    }
}

fn word_end(text: &[u8], at: usize) -> usize {
    let is_word = |b: &u8| *b == b'_' || b.is_ascii_alphanumeric();
    let rest = &text[at..];
    at + rest.iter().position(|b| !is_word(b)).unwrap_or(rest.len())
}

/// Letters that the grammar takes for a string's prefix, in any number.
fn is_prefix(word: &[u8]) -> bool {
    let letter = |b: &u8| matches!(b.to_ascii_lowercase(), b'f' | b't' | b'r' | b'b' | b'u');
    word.iter().all(letter)
}

/// What of a string is hashed, from the string as written; see `tokens::string_text`.
fn string_text(written: &[u8]) -> Vec<u8> {
    let quote = written
        .iter()
        .position(|b| matches!(b, b'"' | b'\''))
        .unwrap_or(0);
    let (prefix, quoted) = written.split_at(quote);
    let width = if quoted.len() >= 6 && quoted[..3] == [quoted[0]; 3] {
        3
    } else {
        1
    };
    let content = quoted
        .get(width..quoted.len().saturating_sub(width))
        .unwrap_or(&[]);
    let mut text: Vec<u8> = prefix
        .iter()
        .map(u8::to_ascii_lowercase)
        .filter(|&b| b != b'u')
        .collect();
    if !content.is_empty() {
        text.push(b':');
        text.extend_from_slice(content);
    }
    text
}
