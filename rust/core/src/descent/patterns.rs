//! What names are bound by: patterns, parameters and their types.

use super::Parser;
use super::expressions::Operand;
use super::is_name;
use super::lexemes::Tok;
use crate::tokens::NAME_BOUND;

impl Parser<'_> {
    /// What a `for` binds.
    pub(super) fn patterns(&mut self) -> Option<()> {
        let mark = self.mark();
        self.deeper(Self::pattern)?;
        if self.kind() != Tok::Comma {
            return Some(());
        }
        self.insert(mark, self.kinds.pattern_list);
        while self.eat(Tok::Comma) && !matches!(self.kind(), Tok::In | Tok::Assign | Tok::Augmented)
        {
            self.deeper(Self::pattern)?;
        }
        Some(())
    }

    fn pattern(&mut self) -> Option<()> {
        let (token, close) = match self.kind() {
            Tok::Star => {
                self.push_here(self.kinds.list_splat_pattern);
                self.step();
                // See `splat`.
                self.name(NAME_BOUND)?;
                return Some(());
            }
            Tok::LeftParen => (self.kinds.tuple_pattern, Tok::RightParen),
            Tok::LeftBracket => (self.kinds.list_pattern, Tok::RightBracket),
            _ => return self.bound_place(),
        };
        self.push_here(token);
        self.step();
        while self.kind() != close {
            self.deeper(Self::pattern)?;
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.close(close)?;
        // It was an expression, then.
        let goes_on = matches!(self.kind(), Tok::Dot | Tok::LeftBracket | Tok::LeftParen);
        (!goes_on).then_some(())
    }

    /// A name, which is bound, an attribute or a subscript.
    fn bound_place(&mut self) -> Option<()> {
        match self.primary()? {
            Operand::Name(i) => self.stream.names[i].flags |= NAME_BOUND,
            Operand::Attribute(_) | Operand::Subscript => {}
            Operand::Text | Operand::Other => return None,
        }
        Some(())
    }

    /// An annotation. `List[int]` has a syntax of its own where a name and a bracket begin it.
    pub(super) fn type_annotation(&mut self) -> Option<()> {
        let mark = self.mark();
        let mut generic = self.one_type()?;
        while generic && self.eat(Tok::Pipe) {
            self.insert(mark, self.kinds.union_type);
            generic = self.one_type()?;
        }
        Some(())
    }

    /// True with a generic type: more may follow it.
    fn one_type(&mut self) -> Option<bool> {
        // `print[a]` is a subscript.
        let may_be_generic = matches!(self.kind(), Tok::Name | Tok::Type);
        if !(may_be_generic && self.second() == Tok::LeftBracket) {
            if is_name(self.kind()) && self.second() == Tok::Walrus {
                return None;
            }
            self.expression()?;
            return Some(false);
        }
        self.push_here(self.kinds.generic_type);
        self.name(0)?;
        self.push_here(self.kinds.type_parameter);
        self.step();
        loop {
            self.deeper(Self::type_annotation)?;
            if !self.eat(Tok::Comma) || self.kind() == Tok::RightBracket {
                break;
            }
        }
        self.close(Tok::RightBracket)?;
        Some(true)
    }

    /// Parameters up to `close`, which is left.
    pub(super) fn parameter_list(&mut self, close: Tok, typed: bool) -> Option<()> {
        while self.kind() != close {
            let mark = self.mark();
            match self.kind() {
                Tok::Slash => {
                    self.push_here(self.kinds.positional_separator);
                    self.step();
                }
                Tok::Star if matches!(self.second(), Tok::Comma) || self.second() == close => {
                    self.push_here(self.kinds.keyword_separator);
                    self.step();
                }
                kind @ (Tok::Star | Tok::Power) => {
                    self.push_here(match kind {
                        Tok::Star => self.kinds.list_splat_pattern,
                        _ => self.kinds.dictionary_splat_pattern,
                    });
                    self.step();
                    self.name(NAME_BOUND)?;
                    if typed && self.eat(Tok::Colon) {
                        self.insert(mark, self.kinds.typed_parameter);
                        self.type_annotation()?;
                    }
                }
                _ => {
                    self.name(NAME_BOUND)?;
                    let is_typed = typed && self.eat(Tok::Colon);
                    if is_typed {
                        self.type_annotation()?;
                    }
                    let has_default = self.eat(Tok::Assign);
                    match (is_typed, has_default) {
                        (true, true) => self.insert(mark, self.kinds.typed_default_parameter),
                        (true, false) => self.insert(mark, self.kinds.typed_parameter),
                        (false, true) => self.insert(mark, self.kinds.default_parameter),
                        (false, false) => {}
                    }
                    if has_default {
                        self.expression()?;
                    }
                }
            }
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        Some(())
    }
}
