//! Statements with suites and definitions: lexemes in, tokens out.

use super::expressions::Operand;
use super::lexemes::Tok;
use super::{Inner, Parser};
use crate::pieces::Span;
use crate::suites::{self, Opening};
use crate::texts::newlines;
use crate::tokens::NAME_BOUND;

/// What a definition's signature says.
pub(super) struct Signature {
    pub is_class: bool,
    /// The place of its name among the names.
    pub name: usize,
    /// It says what it returns.
    has_type: bool,
}

impl Parser<'_> {
    pub(super) fn compound_node(&mut self, start: u32, start_line: u32) -> Option<()> {
        let last = *self.last()?;
        // Sources are far below 4 GiB.
        let code_end = last.end as usize;
        let end = suites::suite_end(self.text, code_end, self.column).ok()?;
        self.nodes.push(Span {
            start: start as usize,
            end,
            start_line,
            end_line: last.line + newlines(&self.text[last.start as usize..end]),
        });
        Some(())
    }

    pub(super) fn compound(&mut self) -> Option<()> {
        self.deeper(|p| match p.kind() {
            Tok::If => p.if_statement(),
            Tok::For => p.for_statement(),
            Tok::While => {
                p.begin(p.kinds.while_statement);
                p.expression()?;
                p.suite(false)?;
                p.else_clause()
            }
            Tok::Try => p.try_statement(),
            Tok::With => p.with_statement(),
            Tok::Async => match p.second() {
                Tok::For => p.for_statement(),
                Tok::With => p.with_statement(),
                Tok::Def => p.definition(),
                _ => None,
            },
            Tok::Def | Tok::Class | Tok::At => p.definition(),
            _ => None,
        })
    }

    /// A colon and what belongs to it, one deeper.
    fn suite(&mut self, of_definition: bool) -> Option<()> {
        self.expect(Tok::Colon)?;
        self.depth = self.depth.saturating_add(1);
        let mut first = of_definition;
        if self.eat(Tok::Newline) {
            let column = u32::from(self.expect(Tok::Indent)?.token);
            while !self.eat(Tok::Dedent) {
                if is_compound(self.kind()) {
                    self.compound()?;
                } else {
                    self.simple_line(first, false)?;
                }
                first = false;
            }
            self.column = column;
        } else {
            self.simple_line(first, false)?;
            self.column = u32::MAX;
        }
        self.depth -= 1;
        Some(())
    }

    fn if_statement(&mut self) -> Option<()> {
        self.begin(self.kinds.if_statement);
        self.expression()?;
        self.suite(false)?;
        while self.kind() == Tok::Elif {
            self.begin(self.kinds.elif_clause);
            self.expression()?;
            self.suite(false)?;
        }
        self.else_clause()
    }

    fn else_clause(&mut self) -> Option<()> {
        if self.kind() == Tok::Else {
            self.begin(self.kinds.else_clause);
            self.suite(false)?;
        }
        Some(())
    }

    /// The `async` before a statement's own word, which comes after its kind.
    fn begin_async(&mut self, token: u16) -> Option<()> {
        self.depth_marker();
        self.push_here(token);
        if self.kind() == Tok::Async {
            self.push_here(self.kinds.op_async);
            self.step();
        }
        self.step();
        Some(())
    }

    fn for_statement(&mut self) -> Option<()> {
        self.begin_async(self.kinds.for_statement)?;
        self.patterns()?;
        self.expect(Tok::In)?;
        self.expression_list()?;
        self.suite(false)?;
        self.else_clause()
    }

    fn try_statement(&mut self) -> Option<()> {
        self.begin(self.kinds.try_statement);
        self.suite(false)?;
        while self.kind() == Tok::Except {
            self.begin(self.kinds.except_clause);
            if self.kind() != Tok::Colon {
                self.maybe_as()?;
            }
            self.suite(false)?;
        }
        self.else_clause()?;
        if self.kind() == Tok::Finally {
            self.begin(self.kinds.finally_clause);
            self.suite(false)?;
        }
        Some(())
    }

    /// An expression, possibly with the name it gets.
    fn maybe_as(&mut self) -> Option<()> {
        let mark = self.mark();
        self.expression()?;
        let kind = self.stream.tokens[mark.token];
        if self.eat(Tok::As) {
            // They end before it does: `a if b else c as d`.
            if kind == self.kinds.conditional_expression || kind == self.kinds.lambda {
                return None;
            }
            self.insert(mark, self.kinds.as_pattern);
            if let Operand::Name(i) = self.expression()? {
                self.stream.names[i].flags |= NAME_BOUND;
            }
        }
        Some(())
    }

    fn with_statement(&mut self) -> Option<()> {
        self.begin_async(self.kinds.with_statement)?;
        // Brackets around all items are not told from those around one expression here.
        if self.kind() == Tok::LeftParen {
            return None;
        }
        loop {
            self.push_here(self.kinds.with_item);
            self.maybe_as()?;
            if !self.eat(Tok::Comma) || self.kind() == Tok::Colon {
                break;
            }
        }
        self.suite(false)
    }

    pub(super) fn is_definition(&self) -> bool {
        matches!(self.kind(), Tok::Def | Tok::Class | Tok::At)
            || self.kind() == Tok::Async && self.second() == Tok::Def
    }

    fn definition(&mut self) -> Option<()> {
        if !self.nested {
            return self.leave_out();
        }
        let signature = self.signature()?;
        // To the grammar, a type may go on after a colon.
        if signature.has_type && self.second() != Tok::Newline {
            return None;
        }
        self.suite(true)
    }

    /// Passes a definition that is a unit of its own.
    fn leave_out(&mut self) -> Option<()> {
        let line_of = |text: &[u8], at: u32| {
            memchr::memrchr(b'\n', &text[..at as usize]).map_or(0, |n| n + 1)
        };
        let first = self.next().start;
        let start = line_of(self.text, first);
        let (column, _) = suites::indentation(self.text, start).ok()?;
        while self.kind() == Tok::At {
            self.pass_line()?;
        }
        let opening = match (self.kind(), self.second()) {
            (Tok::Class, _) => Opening::Class,
            (Tok::Def, _) | (Tok::Async, Tok::Def) => Opening::Function,
            _ => return None,
        };
        self.pass_line()?;
        if self.eat(Tok::Indent) {
            let mut open = 1;
            while open > 0 {
                match self.step().kind {
                    Tok::Indent => open += 1,
                    Tok::Dedent => open -= 1,
                    Tok::End => return None,
                    _ => {}
                }
            }
        }
        let end = match self.lexemes[self.at..]
            .iter()
            .find(|l| l.kind != Tok::Dedent)
        {
            Some(next) if next.kind != Tok::End => line_of(self.text, next.start),
            _ => self.text.len(),
        };
        self.definitions.push(Inner {
            range: start..end,
            column,
            opening,
        });
        Some(())
    }

    fn pass_line(&mut self) -> Option<()> {
        loop {
            match self.step().kind {
                Tok::Newline => return Some(()),
                Tok::End => return None,
                _ => {}
            }
        }
    }

    /// Decorators and signature up to the colon.
    pub(super) fn signature(&mut self) -> Option<Signature> {
        while self.kind() == Tok::At {
            self.begin(self.kinds.decorator);
            self.expression()?;
            self.expect(Tok::Newline)?;
        }
        if self.kind() == Tok::Class {
            self.begin(self.kinds.class_definition);
            let name = self.name(NAME_BOUND)?;
            if self.kind() == Tok::LeftParen {
                self.arguments(false)?;
            }
            return Some(Signature {
                is_class: true,
                name,
                has_type: false,
            });
        }
        if self.kind() != Tok::Def && self.second() != Tok::Def {
            return None;
        }
        self.begin_async(self.kinds.function_definition)?;
        let name = self.name(NAME_BOUND)?;
        self.push_here(self.kinds.parameters);
        self.expect(Tok::LeftParen)?;
        self.parameter_list(Tok::RightParen, true)?;
        self.close(Tok::RightParen)?;
        let has_type = self.eat(Tok::Arrow);
        if has_type {
            self.type_annotation()?;
        }
        Some(Signature {
            is_class: false,
            name,
            has_type,
        })
    }
}

/// Whether a statement that starts with this has a suite.
pub(super) fn is_compound(kind: Tok) -> bool {
    matches!(
        kind,
        Tok::If
            | Tok::For
            | Tok::While
            | Tok::Try
            | Tok::With
            | Tok::Async
            | Tok::Def
            | Tok::Class
            | Tok::At
    )
}
