//! The statements of a piece, and simple statements: lexemes in, tokens and the statements' places out.

use super::compounds::is_compound;
use super::expressions::{List, Operand};
use super::lexemes::Tok;
use super::{Parser, is_name};
use crate::pieces::Span;
use crate::tokens::{NAME_BOUND, NAME_IMPORT};
use crate::vocab;

impl Parser<'_> {
    /// All statements of a piece, up to the end of its text; each is a node.
    pub(super) fn piece(&mut self, first: bool) -> Option<()> {
        let mut first = first;
        while self.kind() != Tok::End {
            if is_compound(self.kind()) {
                if !self.nested && self.is_definition() {
                    return None;
                }
                let start = *self.next();
                self.compound()?;
                self.compound_node(start.start, start.line)?;
            } else {
                self.simple_line(first, true)?;
            }
            first = false;
        }
        Some(())
    }

    pub(super) fn depth_marker(&mut self) {
        let range = self.vocabulary.depth;
        self.push_here((range.first + self.depth).min(range.last));
    }

    /// The depth marker and the kind of a statement or clause, whose first word is passed.
    pub(super) fn begin(&mut self, token: u16) {
        self.depth_marker();
        self.push_here(token);
        self.step();
    }

    /// The last lexeme that was passed and has bytes.
    pub(super) fn last(&self) -> Option<&super::Lexeme> {
        let layout = |k: Tok| matches!(k, Tok::Newline | Tok::Indent | Tok::Dedent);
        self.lexemes[..self.at]
            .iter()
            .rev()
            .find(|l| !layout(l.kind))
    }

    /// Simple statements up to the end of their line. Those of a piece are nodes of their own, as are semicolons.
    pub(super) fn simple_line(&mut self, first: bool, nodes: bool) -> Option<()> {
        let mut first = first;
        loop {
            let start = self.at;
            self.simple(first)?;
            if nodes {
                self.simple_node(start)?;
            }
            first = false;
            let semicolon = self.at;
            if !self.eat(Tok::Semicolon) {
                break;
            }
            if nodes {
                self.simple_node(semicolon)?;
            }
            if self.kind() == Tok::Newline {
                break;
            }
        }
        self.expect(Tok::Newline)?;
        Some(())
    }

    /// A node from a lexeme to the last one that was passed.
    fn simple_node(&mut self, start: usize) -> Option<()> {
        let (first, last) = (self.lexemes[start], *self.last()?);
        self.nodes.push(Span {
            start: first.start as usize,
            end: last.end as usize,
            start_line: first.line,
            end_line: self.end_line(&last),
        });
        Some(())
    }

    fn ends_statement(&self) -> bool {
        matches!(self.kind(), Tok::Newline | Tok::Semicolon)
    }

    fn simple(&mut self, first: bool) -> Option<()> {
        match self.kind() {
            Tok::Pass => self.begin(self.kinds.pass_statement),
            Tok::Break => self.begin(self.kinds.break_statement),
            Tok::Continue => self.begin(self.kinds.continue_statement),
            Tok::Return => {
                self.begin(self.kinds.return_statement);
                if !self.ends_statement() {
                    self.expression_list()?;
                }
            }
            Tok::Raise => {
                self.begin(self.kinds.raise_statement);
                if !self.ends_statement() {
                    self.expression_list()?;
                    if self.kind() == Tok::From {
                        self.push_here(self.kinds.op_from);
                        self.step();
                        self.expression()?;
                    }
                }
            }
            Tok::Del => {
                self.begin(self.kinds.delete_statement);
                self.expression_list()?;
            }
            Tok::Assert => {
                self.begin(self.kinds.assert_statement);
                self.expression()?;
                while self.eat(Tok::Comma) {
                    self.expression()?;
                }
            }
            Tok::Global => self.names(self.kinds.global_statement)?,
            Tok::Nonlocal => self.names(self.kinds.nonlocal_statement)?,
            Tok::Import => {
                self.begin(self.kinds.import_statement);
                self.flags = NAME_IMPORT;
                self.import_list(false)?;
                self.flags = 0;
            }
            Tok::From => {
                self.flags = NAME_IMPORT;
                self.import_from()?;
                self.flags = 0;
            }
            _ => self.expression_statement(first)?,
        }
        self.ends_statement().then_some(())
    }

    fn names(&mut self, token: u16) -> Option<()> {
        self.begin(token);
        self.name(0)?;
        while self.eat(Tok::Comma) {
            self.name(0)?;
        }
        Some(())
    }

    fn dotted_name(&mut self) -> Option<()> {
        self.push_here(self.kinds.dotted_name);
        self.name(0)?;
        while self.eat(Tok::Dot) {
            self.name(0)?;
        }
        Some(())
    }

    fn import_list(&mut self, bracketed: bool) -> Option<()> {
        loop {
            let mark = self.mark();
            self.dotted_name()?;
            if self.eat(Tok::As) {
                self.insert(mark, self.kinds.aliased_import);
                self.name(0)?;
            }
            if !self.eat(Tok::Comma) || (bracketed && self.kind() == Tok::RightParen) {
                return Some(());
            }
        }
    }

    fn import_from(&mut self) -> Option<()> {
        let mark = self.mark();
        self.begin(self.kinds.import_from_statement);
        let module = self.next();
        if module.kind == Tok::Name && self.written(module) == b"__future__" {
            // The depth marker stands before the kind.
            self.stream.tokens[mark.token + 1] = self.kinds.future_import_statement;
            self.step();
        } else if module.kind == Tok::Dot {
            self.push(self.kinds.relative_import, module.line);
            self.push(self.kinds.import_prefix, module.line);
            while self.kind() == Tok::Dot {
                let dot = self.step();
                self.push(dot.token, dot.line);
            }
            if self.kind() != Tok::Import {
                self.dotted_name()?;
            }
        } else {
            self.dotted_name()?;
        }
        self.expect(Tok::Import)?;
        let of_future = self.stream.tokens[mark.token + 1] == self.kinds.future_import_statement;
        if self.kind() == Tok::Star && !of_future {
            self.push_here(self.kinds.wildcard_import);
            self.step();
        } else if self.eat(Tok::LeftParen) {
            self.import_list(true)?;
            self.expect(Tok::RightParen)?;
        } else {
            self.import_list(false)?;
        }
        Some(())
    }

    fn written(&self, lexeme: &super::Lexeme) -> &[u8] {
        &self.text[lexeme.start as usize..lexeme.end as usize]
    }

    fn expression_statement(&mut self, first: bool) -> Option<()> {
        let opener = self.kind();
        if is_name(opener) && opener != Tok::Name && !self.is_plain_name() {
            return None;
        }
        // See `unsettled.rs`.
        if opener == Tok::LeftBracket {
            return None;
        }
        self.depth_marker();
        if opener == Tok::Yield {
            return self.yield_expression();
        }
        let (at, names) = (self.at, self.stream.names.len());
        if opener == Tok::Star {
            return self.assignment_to_patterns();
        }
        self.unpacks = false;
        let list = self.list()?;
        if opener != Tok::Name && is_name(opener) && self.unpacks {
            return None;
        }
        // It may go on from the line before; see `unsettled.rs`.
        if opener == Tok::LeftParen && list.starts_as_place {
            return None;
        }
        match self.kind() {
            Tok::Newline | Tok::Semicolon => {
                // The grammar might take what is on the next line for a part of it.
                if self.lexemes[self.at - 1].kind == Tok::Comma {
                    return None;
                }
                if first && list.operand == Operand::Text && !list.comma {
                    self.stream.names.truncate(names);
                    self.stream.tokens.truncate(list.mark.token);
                    self.stream.lines.truncate(list.mark.token);
                    self.push(vocab::DOCSTRING, list.mark.line);
                }
                Some(())
            }
            // A type alias, then, or a match.
            Tok::Assign | Tok::Colon
                if opener != Tok::Name
                    && is_name(opener)
                    && list.mark.token + 1 < self.stream.tokens.len() =>
            {
                None
            }
            Tok::Assign | Tok::Augmented if !list.assignable => {
                self.back(list.mark, at, names);
                self.assignment_to_patterns()
            }
            Tok::Assign | Tok::Augmented => self.assignment(list),
            Tok::Colon if !list.comma && list.assignable => {
                self.bind(list);
                self.step();
                self.type_annotation()?;
                if self.eat(Tok::Assign) {
                    self.right_hand_side()?;
                }
                self.insert(list.mark, self.kinds.assignment);
                Some(())
            }
            _ => None,
        }
    }

    /// A word that may begin a statement of its own is a name here.
    fn is_plain_name(&self) -> bool {
        match self.kind() {
            Tok::Print | Tok::Exec => self.second() == Tok::LeftParen,
            _ => matches!(self.second(), Tok::LeftParen | Tok::Dot | Tok::Assign),
        }
    }

    /// Says of what was read as expressions that it is assigned to.
    fn bind(&mut self, list: List) {
        if let (false, Operand::Name(i)) = (list.comma, list.operand) {
            self.stream.names[i].flags |= NAME_BOUND;
        }
        if list.comma {
            for &i in &self.targets {
                self.stream.names[i].flags |= NAME_BOUND;
            }
            self.insert(list.mark, self.kinds.pattern_list);
        }
    }

    /// The rest of an assignment whose left side was read as expressions.
    fn assignment(&mut self, list: List) -> Option<()> {
        self.bind(list);
        self.assigned(list.mark)
    }

    fn assignment_to_patterns(&mut self) -> Option<()> {
        let mark = self.mark();
        self.patterns()?;
        self.assigned(mark)
    }

    /// From the operator of an assignment on, whose left side began at `mark`.
    fn assigned(&mut self, mark: super::Mark) -> Option<()> {
        let lexeme = self.next();
        match lexeme.kind {
            Tok::Assign => self.insert(mark, self.kinds.assignment),
            Tok::Augmented => {
                self.insert(mark, self.kinds.augmented_assignment);
                self.push(lexeme.token, lexeme.line);
            }
            _ => return None,
        }
        self.step();
        self.deeper(Self::right_hand_side)
    }

    fn right_hand_side(&mut self) -> Option<()> {
        if self.kind() == Tok::Yield {
            return self.yield_expression();
        }
        let (at, names) = (self.at, self.stream.names.len());
        let list = self.list()?;
        match self.kind() {
            Tok::Assign if list.assignable => self.assignment(list),
            Tok::Assign => {
                self.back(list.mark, at, names);
                self.assignment_to_patterns()
            }
            _ => {
                if list.comma {
                    self.insert(list.mark, self.kinds.expression_list);
                }
                Some(())
            }
        }
    }
}
