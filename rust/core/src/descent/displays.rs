//! What stands in brackets: lists, tuples, sets, dictionaries, comprehensions, arguments, subscripts.

use super::Parser;
use super::expressions::Operand;
use super::is_name;
use super::lexemes::Tok;
use crate::tokens::NAME_KEYWORD;

impl Parser<'_> {
    pub(super) fn parenthesized(&mut self) -> Option<Operand> {
        let mark = self.mark();
        self.expect(Tok::LeftParen)?;
        if self.kind() == Tok::RightParen {
            self.insert(mark, self.kinds.tuple);
            self.close(Tok::RightParen)?;
            return Some(Operand::Other);
        }
        if self.kind() == Tok::Yield {
            self.yield_expression()?;
            self.expect(Tok::RightParen)?;
            return Some(Operand::Other);
        }
        let splat = self.element()?;
        match self.kind() {
            Tok::RightParen if !splat => {
                self.step();
            }
            Tok::For | Tok::Async if !splat => {
                self.insert(mark, self.kinds.generator_expression);
                self.clauses(Tok::RightParen)?;
            }
            Tok::Comma => {
                self.insert(mark, self.kinds.tuple);
                self.elements(Tok::RightParen)?;
            }
            _ => return None,
        }
        Some(Operand::Other)
    }

    pub(super) fn list_display(&mut self) -> Option<Operand> {
        let mark = self.mark();
        self.expect(Tok::LeftBracket)?;
        if self.kind() == Tok::RightBracket {
            self.insert(mark, self.kinds.list);
            self.close(Tok::RightBracket)?;
            return Some(Operand::Other);
        }
        let splat = self.element()?;
        if matches!(self.kind(), Tok::For | Tok::Async) && !splat {
            self.insert(mark, self.kinds.list_comprehension);
            self.clauses(Tok::RightBracket)?;
        } else {
            self.insert(mark, self.kinds.list);
            self.elements(Tok::RightBracket)?;
        }
        Some(Operand::Other)
    }

    pub(super) fn brace_display(&mut self) -> Option<Operand> {
        let mark = self.mark();
        self.expect(Tok::LeftBrace)?;
        if self.kind() == Tok::RightBrace {
            self.insert(mark, self.kinds.dictionary);
            self.close(Tok::RightBrace)?;
            return Some(Operand::Other);
        }
        if self.kind() == Tok::Power {
            self.insert(mark, self.kinds.dictionary);
            self.dictionary_splat()?;
            self.pairs()?;
            return Some(Operand::Other);
        }
        let key = self.mark();
        let splat = self.element()?;
        if self.kind() == Tok::Colon && !splat {
            self.insert(key, self.kinds.pair);
            self.step();
            self.expression()?;
            if matches!(self.kind(), Tok::For | Tok::Async) {
                self.insert(mark, self.kinds.dictionary_comprehension);
                self.clauses(Tok::RightBrace)?;
            } else {
                self.insert(mark, self.kinds.dictionary);
                self.pairs()?;
            }
        } else if matches!(self.kind(), Tok::For | Tok::Async) && !splat {
            self.insert(mark, self.kinds.set_comprehension);
            self.clauses(Tok::RightBrace)?;
        } else {
            self.insert(mark, self.kinds.set);
            self.elements(Tok::RightBrace)?;
        }
        Some(Operand::Other)
    }

    /// The pairs of a dictionary after its first, up to its end.
    fn pairs(&mut self) -> Option<()> {
        while self.eat(Tok::Comma) && self.kind() != Tok::RightBrace {
            if self.kind() == Tok::Power {
                self.dictionary_splat()?;
                continue;
            }
            self.push_here(self.kinds.pair);
            self.expression()?;
            self.expect(Tok::Colon)?;
            self.expression()?;
        }
        self.close(Tok::RightBrace)
    }

    fn dictionary_splat(&mut self) -> Option<()> {
        self.push_here(self.kinds.dictionary_splat);
        self.expect(Tok::Power)?;
        self.expression()?;
        Some(())
    }

    /// An element of a tuple, list or set; true if it is unpacked.
    fn element(&mut self) -> Option<bool> {
        if self.kind() != Tok::Star {
            self.expression()?;
            return Some(false);
        }
        self.splat()?;
        Some(true)
    }

    /// What is unpacked in brackets, or without any. To the grammar `[*a.b]` gets the attribute of something
    /// unpacked and `[*a.b, c]` does not, and what it takes `*a.b, c` for depends on the rest of the file; see
    /// [`crate::unsettled`].
    pub(super) fn splat(&mut self) -> Option<()> {
        self.push_here(self.kinds.list_splat);
        self.expect(Tok::Star)?;
        matches!(self.expression()?, Operand::Name(_)).then_some(())
    }

    /// The elements after the first, up to the end.
    fn elements(&mut self, close: Tok) -> Option<()> {
        while self.eat(Tok::Comma) && self.kind() != close {
            self.element()?;
        }
        self.close(close)
    }

    /// The clauses of a comprehension, up to the bracket that ends it.
    fn clauses(&mut self, close: Tok) -> Option<()> {
        loop {
            match self.kind() {
                Tok::For | Tok::Async => {
                    self.push_here(self.kinds.for_in_clause);
                    if self.kind() == Tok::Async {
                        self.push_here(self.kinds.op_async);
                        self.step();
                    }
                    self.expect(Tok::For)?;
                    self.patterns()?;
                    self.push_here(self.kinds.op_in);
                    self.expect(Tok::In)?;
                    self.disjunction()?;
                }
                Tok::If => {
                    self.push_here(self.kinds.if_clause);
                    self.step();
                    self.disjunction()?;
                }
                _ => return self.expect(close).map(|_| ()),
            }
        }
    }

    /// The arguments of a call, or of a class, which takes no generator.
    pub(super) fn arguments(&mut self, generator: bool) -> Option<()> {
        self.deeper(|p| p.argument_list(generator))
    }

    fn argument_list(&mut self, generator: bool) -> Option<()> {
        let mark = self.mark();
        self.push_here(self.kinds.argument_list);
        self.expect(Tok::LeftParen)?;
        let mut count = 0;
        while self.kind() != Tok::RightParen {
            match (self.kind(), self.second()) {
                (Tok::Star, _) => {
                    self.push_here(self.kinds.list_splat);
                    self.step();
                    self.unpacks |= !matches!(self.expression()?, Operand::Name(_));
                }
                (Tok::Power, _) => self.dictionary_splat()?,
                (kind, Tok::Assign) if is_name(kind) => {
                    self.push_here(self.kinds.keyword_argument);
                    self.name(NAME_KEYWORD)?;
                    self.step();
                    self.expression()?;
                }
                _ => {
                    self.expression()?;
                    if matches!(self.kind(), Tok::For | Tok::Async) {
                        if count > 0 || !generator {
                            return None;
                        }
                        self.stream.tokens[mark.token] = self.kinds.generator_expression;
                        return self.clauses(Tok::RightParen);
                    }
                }
            }
            count += 1;
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.close(Tok::RightParen)
    }

    pub(super) fn subscripts(&mut self) -> Option<()> {
        self.deeper(|p| {
            p.expect(Tok::LeftBracket)?;
            loop {
                p.subscript()?;
                if !p.eat(Tok::Comma) || p.kind() == Tok::RightBracket {
                    break;
                }
            }
            p.expect(Tok::RightBracket)?;
            Some(())
        })
    }

    fn subscript(&mut self) -> Option<()> {
        let mark = self.mark();
        if self.kind() == Tok::Star {
            return self.splat();
        }
        if self.kind() != Tok::Colon {
            self.expression()?;
        }
        if self.kind() != Tok::Colon {
            return Some(());
        }
        self.insert(mark, self.kinds.slice);
        for _ in 0..2 {
            if self.kind() != Tok::Colon {
                break;
            }
            let lexeme = self.step();
            self.push(lexeme.token, lexeme.line);
            if !matches!(self.kind(), Tok::Colon | Tok::Comma | Tok::RightBracket) {
                self.expression()?;
            }
        }
        Some(())
    }
}
