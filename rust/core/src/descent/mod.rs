//! The text of a statement or a definition's header in, its tokens out: codewm's own parser, without a tree.
//!
//! What the tokeniser says of a source is defined by the grammar's syntax tree (`tokens.rs`). Building that tree
//! is the cost of a harvest; for the Python that people write, a descent over the lexemes emits the same tokens,
//! lines, names and spans at some ten times the speed. It is exact or it declines: whatever it does not know for
//! certain (Python 2, soft keywords in odd places, errors, `match`) goes to the grammar. Tests and a fuzz target
//! compare the two.

mod compounds;
mod displays;
mod expressions;
mod lexemes;
mod lexer;
mod patterns;
mod statements;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

use crate::pieces::Span;
use crate::suites::Opening;
use crate::texts::newlines;
use crate::tokens::{NameFlags, NameUse, TokenStream};
use crate::vocab::{self, Vocabulary, vocabulary};
use lexemes::{Lexeme, Tok};

/// Deeper nesting is the grammar's, which needs no stack for it.
const MAX_NESTING: u16 = 60;

/// A piece's tokens, its nodes' places, and the definitions in it that are units of their own.
#[derive(Default)]
pub(crate) struct Read {
    pub stream: TokenStream,
    pub nodes: Vec<Span>,
    pub definitions: Vec<Inner>,
}

/// A definition inside a compound statement, which was not read: the lines it takes, with the comments and blank
/// lines after it, how far it is indented, what it is.
pub(crate) struct Inner {
    pub range: Range<usize>,
    pub column: u32,
    pub opening: Opening,
}

/// Reads consecutive statements of one suite. `depth` is their statement depth; `first`: nothing but comments
/// stands before them in their suite; `nested`: definitions inside are part of them, and
/// not left to the caller.
pub(crate) fn statements(text: &[u8], depth: u16, first: bool, nested: bool) -> Option<Read> {
    read(text, nested, |parser| {
        parser.depth = depth;
        parser.piece(first)?;
        Some(Read {
            stream: parser.stream.clone(),
            nodes: std::mem::take(&mut parser.nodes),
            definitions: std::mem::take(&mut parser.definitions),
        })
    })
}

/// Decorators and signature of a definition.
pub(crate) struct ReadHeader {
    pub stream: TokenStream,
    pub is_class: bool,
    /// The bytes of its name.
    pub name: Range<usize>,
}

/// Reads decorators and signature, which end with the colon. Definitions are units: the depth is 0.
pub(crate) fn header(text: &[u8]) -> Option<ReadHeader> {
    read(text, true, |parser| {
        let signature = parser.signature()?;
        parser.expect(Tok::Colon)?;
        parser.expect(Tok::Newline)?;
        parser.expect(Tok::End)?;
        Some(ReadHeader {
            name: parser.stream.names[signature.name].range(),
            stream: parser.stream.clone(),
            is_class: signature.is_class,
        })
    })
}

/// What a parser grows its results in; kept by each thread, so that what is given away is as large as it has to be.
#[derive(Default)]
struct Scratch {
    lexemes: Vec<Lexeme>,
    stream: TokenStream,
}

fn read<T>(
    text: &[u8],
    nested: bool,
    parse: impl FnOnce(&mut Parser<'_>) -> Option<T>,
) -> Option<T> {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let Scratch { lexemes, stream } = scratch;
        lexemes.clear();
        lexer::lex(text, lexemes)?;
        stream.clear();
        parse(&mut Parser::new(text, lexemes, stream, nested))
    })
}

/// Where the tokens of a node begin, so that the node's own can be put before them.
#[derive(Debug, Clone, Copy)]
struct Mark {
    token: usize,
    line: u32,
}

struct Parser<'a> {
    text: &'a [u8],
    lexemes: &'a [Lexeme],
    at: usize,
    kinds: &'static Kinds,
    vocabulary: &'static Vocabulary,
    stream: &'a mut TokenStream,
    nodes: Vec<Span>,
    definitions: Vec<Inner>,
    /// Of statements.
    depth: u16,
    nested: bool,
    nesting: u16,
    /// Flags that every name gets.
    flags: NameFlags,
    /// Names of the list being read that are bound if it turns out to be assigned to.
    targets: Vec<usize>,
    /// A call unpacks more than a name.
    unpacks: bool,
    /// How far the last suite was indented; nothing is if it stood on its header's line.
    column: u32,
}

impl<'a> Parser<'a> {
    fn new(
        text: &'a [u8],
        lexemes: &'a [Lexeme],
        stream: &'a mut TokenStream,
        nested: bool,
    ) -> Self {
        Parser {
            text,
            lexemes,
            at: 0,
            kinds: &KINDS,
            vocabulary: vocabulary(),
            stream,
            nodes: Vec::new(),
            definitions: Vec::new(),
            depth: 0,
            nested,
            nesting: 0,
            flags: 0,
            targets: Vec::new(),
            unpacks: false,
            column: 0,
        }
    }

    /// The lexeme that comes next; the last one is without end.
    fn next(&self) -> &'a Lexeme {
        &self.lexemes[self.at]
    }

    fn kind(&self) -> Tok {
        self.next().kind
    }

    /// The kind of the lexeme after the next.
    fn second(&self) -> Tok {
        self.lexemes.get(self.at + 1).map_or(Tok::End, |l| l.kind)
    }

    fn step(&mut self) -> &'a Lexeme {
        let lexeme = self.next();
        if lexeme.kind != Tok::End {
            self.at += 1;
        }
        lexeme
    }

    fn eat(&mut self, kind: Tok) -> bool {
        let found = self.kind() == kind;
        if found {
            self.step();
        }
        found
    }

    fn expect(&mut self, kind: Tok) -> Option<&'a Lexeme> {
        (self.kind() == kind).then(|| self.step())
    }

    fn mark(&self) -> Mark {
        Mark {
            token: self.stream.tokens.len(),
            line: self.next().line,
        }
    }

    fn push(&mut self, token: u16, line: u32) {
        self.stream.tokens.push(token);
        self.stream.lines.push(line);
    }

    /// Emits a token for the lexeme that comes next.
    fn push_here(&mut self, token: u16) {
        self.push(token, self.next().line);
    }

    /// Emits a token before those of what began at a mark.
    fn insert(&mut self, mark: Mark, token: u16) {
        self.stream.tokens.insert(mark.token, token);
        self.stream.lines.insert(mark.token, mark.line);
    }

    /// Emits the name that comes next; its place among the names.
    fn name(&mut self, flags: NameFlags) -> Option<usize> {
        let lexeme = self.next();
        if !is_name(lexeme.kind) {
            return None;
        }
        self.step();
        self.push(lexeme.token, lexeme.line);
        self.stream.names.push(NameUse {
            start: lexeme.start,
            end: lexeme.end,
            flags: flags | self.flags,
            line: lexeme.line,
        });
        Some(self.stream.names.len() - 1)
    }

    /// Emits the end of a bracket at the lexeme that closes it, which is passed.
    fn close(&mut self, kind: Tok) -> Option<()> {
        let line = self.expect(kind)?.line;
        self.push(vocab::END, line);
        Some(())
    }

    /// The line that a lexeme's last byte is on.
    fn end_line(&self, lexeme: &Lexeme) -> u32 {
        lexeme.line + newlines(&self.text[lexeme.start as usize..lexeme.end as usize])
    }

    /// Forgets what was emitted from a mark on, and goes back to a lexeme.
    fn back(&mut self, mark: Mark, at: usize, names: usize) {
        self.stream.tokens.truncate(mark.token);
        self.stream.lines.truncate(mark.token);
        self.stream.names.truncate(names);
        self.at = at;
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.nesting += 1;
        let out = if self.nesting > MAX_NESTING {
            None
        } else {
            read(self)
        };
        self.nesting -= 1;
        out
    }
}

fn is_name(kind: Tok) -> bool {
    matches!(
        kind,
        Tok::Name | Tok::Print | Tok::Exec | Tok::Match | Tok::Type
    )
}

/// The token of each syntax kind that the parser emits, by the kind's name in the grammar.
macro_rules! kinds {
    ($($kind:ident)*) => {
        struct Kinds { $($kind: u16),* }

        impl Kinds {
            fn new() -> Self {
                let token = |name: &str| {
                    let name = match name {
                        "op_not_in" => "not in",
                        "op_is_not" => "is not",
                        _ => name.trim_start_matches("op_"),
                    };
                    vocabulary().token(name).unwrap_or(vocab::UNKNOWN)
                };
                Kinds { $($kind: token(stringify!($kind))),* }
            }

            #[cfg(test)]
            fn all(&self) -> Vec<(&'static str, u16)> {
                vec![$((stringify!($kind), self.$kind)),*]
            }
        }
    };
}

kinds! {
    assert_statement break_statement class_definition continue_statement decorator delete_statement elif_clause
    else_clause except_clause finally_clause for_statement function_definition future_import_statement
    global_statement if_statement import_from_statement import_statement nonlocal_statement pass_statement
    raise_statement return_statement try_statement while_statement with_statement
    argument_list parameters lambda_parameters list tuple set dictionary list_pattern tuple_pattern type_parameter
    augmented_assignment binary_operator boolean_operator comparison_operator unary_operator for_in_clause
    import_prefix slice
    aliased_import as_pattern assignment attribute concatenated_string conditional_expression default_parameter
    dictionary_comprehension dictionary_splat dictionary_splat_pattern dotted_name ellipsis expression_list
    format_specifier generator_expression generic_type if_clause interpolation keyword_argument keyword_separator
    lambda list_comprehension list_splat list_splat_pattern named_expression not_operator pair pattern_list
    positional_separator relative_import set_comprehension subscript type_conversion typed_default_parameter
    typed_parameter union_type wildcard_import with_item
    op_and op_or op_in op_not_in op_is op_is_not op_from op_async op_await op_yield op_none op_true op_false
}

static KINDS: LazyLock<Kinds> = LazyLock::new(Kinds::new);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_token() {
        for (name, token) in KINDS.all() {
            assert_ne!(token, vocab::UNKNOWN, "{name}");
        }
    }
    /// What a harvest's speed rests on: ordinary Python is not left to the grammar.
    #[test]
    fn ordinary_statements_are_not_declined() {
        for text in [
            "x = a.b(c, *d, e=1, **f)[0].g\n",
            "a, b.c = d[1:2, ::3] = yield\n",
            "x: Dict[str, List[int]] | None = {**a, 'b': [i for i in c if i], (1,): {2}}\n",
            "return not a < b <= c is not d or -e ** 2 if f else lambda g, *h: (i := g)\n",
            "f'a{b!r:>{c}}{d=}' 'e'\n",
            "from ..a import (b as c, d)\n",
            "if a:  # why\n    b\n# or\nelif c: d; e\nelse:\n    f\n    # end\n",
            "async with a() as b, c:\n    async for d, e in f:\n        await g\n",
            "try:\n    a\nexcept (B, c.D) as e:\n    raise F from e\nfinally:\n    del g\n",
            "print('a', file=b)\n",
            "@a.b(c)\ndef d(self, e, /, f: int = 1, *g: str, h=2, **i) -> List[j]:\n    'doc'\n    def k(): pass\n",
        ] {
            assert!(
                statements(text.as_bytes(), 1, true, true).is_some(),
                "{text}"
            );
        }
        let inside = statements(b"if a:\n    class B:\n        c\n    d\n", 0, false, false);
        assert_eq!(inside.expect("is read").definitions.len(), 1);
    }

    /// What the grammar alone knows, it is left to.
    #[test]
    fn what_is_not_certain_is_declined() {
        for text in [
            "print a\n",
            "exec a in b\n",
            "match a:\n    case 1:\n        b\n",
            "a b\n",
            "x = *a.b, c\n",
            "[a, b] = c\n",
            "a,\n",
            "x = 1_000\n",
            "\u{e9} = 1\n",
            "f'{a:=1}'\n",
            "if a:\n    b\n  c\n",
        ] {
            assert!(
                statements(text.as_bytes(), 0, true, true).is_none(),
                "{text}"
            );
        }
    }
}
