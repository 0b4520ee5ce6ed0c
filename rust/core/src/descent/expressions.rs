//! Expressions, patterns and types: lexemes in, tokens out, by the grammar's own precedences.
//!
//! Tokens stand in the order of a walk from the root down, so an operator's kind is put before what was read of
//! its left side already.

use super::lexemes::Tok;
use super::{Mark, Parser, is_name};
use crate::tokens::{NAME_ATTRIBUTE, NAME_BOUND, NAME_CALL};

/// What an expression turned out to be, as far as the things around it ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    /// A name alone, by its place among the names.
    Name(usize),
    /// `a.b`, with the place of `b`.
    Attribute(usize),
    Subscript,
    /// One string, or several that stand side by side.
    Text,
    Other,
}

/// What a list of expressions turned out to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub mark: Mark,
    /// The last one.
    pub operand: Operand,
    /// The first one may be assigned to, and is no name.
    pub starts_as_place: bool,
    /// There was a comma.
    pub comma: bool,
    /// The grammar takes the same words for patterns, in the same order.
    pub assignable: bool,
}

/// The precedence of unary operators and `await`; of binary ones only the power binds closer.
const UNARY: u8 = 20;

/// The grammar's precedences of binary operators (`^` binds closer than `&` there).
fn precedence(kind: Tok) -> Option<u8> {
    Some(match kind {
        Tok::Pipe => 14,
        Tok::Ampersand => 15,
        Tok::Caret => 16,
        Tok::ShiftLeft | Tok::ShiftRight => 17,
        Tok::Plus | Tok::Minus => 18,
        Tok::Star | Tok::At | Tok::Slash | Tok::Percent | Tok::Floor => 19,
        Tok::Power => 21,
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Option<Operand> {
        if is_name(self.kind()) && self.second() == Tok::Walrus {
            self.push_here(self.kinds.named_expression);
            self.name(NAME_BOUND)?;
            self.expect(Tok::Walrus)?;
            self.deeper(Self::disjunction)?;
            // To the grammar, the condition's first part is all of `x := a`.
            return (self.kind() != Tok::If).then_some(Operand::Other);
        }
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Option<Operand> {
        if self.kind() == Tok::Lambda {
            return self.lambda();
        }
        let mark = self.mark();
        let operand = self.disjunction()?;
        if !self.eat(Tok::If) {
            return Some(operand);
        }
        self.insert(mark, self.kinds.conditional_expression);
        self.disjunction()?;
        self.expect(Tok::Else)?;
        self.deeper(Self::conditional)?;
        Some(Operand::Other)
    }

    fn lambda(&mut self) -> Option<Operand> {
        self.push_here(self.kinds.lambda);
        self.expect(Tok::Lambda)?;
        if self.kind() != Tok::Colon {
            self.push_here(self.kinds.lambda_parameters);
            self.parameter_list(Tok::Colon, false)?;
            // It ends where its last lexeme does.
            let last = self.lexemes[self.at - 1];
            let line = self.end_line(&last);
            self.push(crate::vocab::END, line);
        }
        self.expect(Tok::Colon)?;
        self.deeper(Self::conditional)?;
        Some(Operand::Other)
    }

    pub(super) fn disjunction(&mut self) -> Option<Operand> {
        self.boolean(Tok::Or, self.kinds.op_or, |p| {
            p.boolean(Tok::And, p.kinds.op_and, Self::inversion)
        })
    }

    /// Operands of one boolean operator, which binds to the left.
    fn boolean(
        &mut self,
        kind: Tok,
        token: u16,
        operand: impl Fn(&mut Self) -> Option<Operand>,
    ) -> Option<Operand> {
        let mark = self.mark();
        let mut left = operand(self)?;
        while self.kind() == kind {
            self.insert(mark, self.kinds.boolean_operator);
            self.push_here(token);
            self.step();
            left = Operand::Other;
            if self.kind() == Tok::Lambda {
                self.lambda()?;
                break;
            }
            operand(self)?;
        }
        Some(left)
    }

    fn inversion(&mut self) -> Option<Operand> {
        if self.kind() != Tok::Not {
            return self.comparison();
        }
        self.push_here(self.kinds.not_operator);
        self.step();
        self.deeper(Self::inversion)?;
        Some(Operand::Other)
    }

    fn comparison(&mut self) -> Option<Operand> {
        let mark = self.mark();
        let operand = self.binary(0)?;
        let mut compared = false;
        loop {
            let lexeme = self.next();
            let (token, width) = match (lexeme.kind, self.second()) {
                (Tok::In, _) => (self.kinds.op_in, 1),
                (Tok::Not, Tok::In) => (self.kinds.op_not_in, 2),
                (Tok::Is, Tok::Not) => (self.kinds.op_is_not, 2),
                (Tok::Is, _) => (self.kinds.op_is, 1),
                (
                    Tok::Less
                    | Tok::LessEqual
                    | Tok::Equal
                    | Tok::NotEqual
                    | Tok::GreaterEqual
                    | Tok::Greater,
                    _,
                ) => (lexeme.token, 1),
                _ => break,
            };
            if !compared {
                self.insert(mark, self.kinds.comparison_operator);
                compared = true;
            }
            self.push(token, lexeme.line);
            self.at += width;
            self.binary(0)?;
        }
        Some(if compared { Operand::Other } else { operand })
    }

    /// Binary operators that bind closer than `above`.
    fn binary(&mut self, above: u8) -> Option<Operand> {
        let mark = self.mark();
        let mut left = self.unary()?;
        loop {
            let lexeme = self.next();
            let Some(own) = precedence(lexeme.kind).filter(|&p| p > above) else {
                return Some(left);
            };
            self.insert(mark, self.kinds.binary_operator);
            self.push(lexeme.token, lexeme.line);
            self.step();
            // The power alone binds to the right.
            let above = if lexeme.kind == Tok::Power {
                own - 1
            } else {
                own
            };
            self.deeper(|p| p.binary(above))?;
            left = Operand::Other;
        }
    }

    fn unary(&mut self) -> Option<Operand> {
        let lexeme = self.next();
        match lexeme.kind {
            Tok::Plus | Tok::Minus | Tok::Tilde => {
                self.push(self.kinds.unary_operator, lexeme.line);
                self.push(lexeme.token, lexeme.line);
            }
            Tok::Await => self.push(self.kinds.op_await, lexeme.line),
            _ => return self.primary(),
        }
        self.step();
        self.deeper(|p| p.binary(UNARY))?;
        Some(Operand::Other)
    }

    /// An atom with the attributes, calls and subscripts after it.
    pub(super) fn primary(&mut self) -> Option<Operand> {
        let mark = self.mark();
        let mut operand = self.atom()?;
        loop {
            operand = match self.kind() {
                Tok::Dot => {
                    self.step();
                    self.insert(mark, self.kinds.attribute);
                    Operand::Attribute(self.name(NAME_ATTRIBUTE)?)
                }
                Tok::LeftParen => {
                    if let Operand::Name(i) | Operand::Attribute(i) = operand {
                        self.stream.names[i].flags |= NAME_CALL;
                    }
                    self.arguments(true)?;
                    Operand::Other
                }
                Tok::LeftBracket => {
                    self.insert(mark, self.kinds.subscript);
                    self.subscripts()?;
                    Operand::Subscript
                }
                _ => return Some(operand),
            };
        }
    }

    fn atom(&mut self) -> Option<Operand> {
        let lexeme = self.next();
        let token = match lexeme.kind {
            kind if is_name(kind) => return self.name(0).map(Operand::Name),
            Tok::Text | Tok::Format => return self.strings(),
            Tok::Number => lexeme.token,
            Tok::None => self.kinds.op_none,
            Tok::True => self.kinds.op_true,
            Tok::False => self.kinds.op_false,
            Tok::Dot => {
                let dots = self.lexemes.get(self.at..self.at + 3)?;
                let adjacent = dots.windows(2).all(|w| w[0].end == w[1].start);
                if !adjacent || dots.iter().any(|l| l.kind != Tok::Dot) {
                    return None;
                }
                self.at += 2;
                self.kinds.ellipsis
            }
            Tok::LeftParen => return self.deeper(Self::parenthesized),
            Tok::LeftBracket => return self.deeper(Self::list_display),
            Tok::LeftBrace => return self.deeper(Self::brace_display),
            _ => return None,
        };
        self.push(token, lexeme.line);
        self.step();
        Some(Operand::Other)
    }

    fn strings(&mut self) -> Option<Operand> {
        let mark = self.mark();
        let mut count = 0;
        loop {
            let lexeme = self.next();
            match lexeme.kind {
                Tok::Text => {
                    self.push(lexeme.token, lexeme.line);
                    self.step();
                }
                Tok::Format => {
                    self.push(lexeme.token, lexeme.line);
                    self.step();
                    while !self.eat(Tok::FormatEnd) {
                        self.push_here(self.kinds.interpolation);
                        self.deeper(Self::interpolation)?;
                    }
                }
                _ => break,
            }
            count += 1;
        }
        if count > 1 {
            self.insert(mark, self.kinds.concatenated_string);
        }
        Some(Operand::Text)
    }

    /// What stands in the braces of a string.
    fn interpolation(&mut self) -> Option<()> {
        self.expect(Tok::Open)?;
        let list = self.list()?;
        if list.comma {
            self.insert(list.mark, self.kinds.expression_list);
        }
        if self.kind() == Tok::Conversion {
            self.push_here(self.kinds.type_conversion);
            self.step();
        }
        if self.kind() == Tok::Specifier {
            self.push_here(self.kinds.format_specifier);
            self.step();
            while self.kind() == Tok::Open {
                self.deeper(Self::interpolation)?;
            }
        }
        self.expect(Tok::Shut)?;
        Some(())
    }

    pub(super) fn yield_expression(&mut self) -> Option<()> {
        let line = self.expect(Tok::Yield)?.line;
        self.push(self.kinds.op_yield, line);
        if self.kind() == Tok::From {
            self.push_here(self.kinds.op_from);
            self.step();
            self.expression()?;
        } else if !self.ends_list() {
            self.expression_list()?;
        }
        Some(())
    }

    /// One expression, or several as a list of their own.
    pub(super) fn expression_list(&mut self) -> Option<()> {
        let list = self.list()?;
        if list.comma {
            self.insert(list.mark, self.kinds.expression_list);
        }
        Some(())
    }

    /// Expressions between commas, without brackets around them.
    pub(super) fn list(&mut self) -> Option<List> {
        let mut list = List {
            mark: self.mark(),
            operand: Operand::Other,
            starts_as_place: false,
            comma: false,
            assignable: true,
        };
        let mut targets = Vec::new();
        loop {
            if self.kind() == Tok::Star {
                self.splat()?;
                list.operand = Operand::Other;
                list.assignable = false;
            } else {
                list.operand = self.expression()?;
                match list.operand {
                    // One alone is in `operand`.
                    Operand::Name(i) if list.comma || self.kind() == Tok::Comma => targets.push(i),
                    Operand::Name(_) | Operand::Attribute(_) | Operand::Subscript => {}
                    Operand::Text | Operand::Other => list.assignable = false,
                }
            }
            if !list.comma {
                let operand = list.operand;
                list.starts_as_place =
                    matches!(operand, Operand::Attribute(_) | Operand::Subscript);
            }
            if !self.eat(Tok::Comma) {
                break;
            }
            list.comma = true;
            if self.ends_list() {
                break;
            }
        }
        self.targets = targets;
        Some(list)
    }

    fn ends_list(&self) -> bool {
        matches!(
            self.kind(),
            Tok::Newline
                | Tok::Semicolon
                | Tok::Assign
                | Tok::Augmented
                | Tok::Colon
                | Tok::RightParen
                | Tok::Conversion
                | Tok::Specifier
                | Tok::Shut
        )
    }
}
