//! Statements and definitions' headers: lexemes in, tokens and the statements' places out.

use super::expressions::{List, Operand};
use super::lexemes::Tok;
use super::{Inner, Parser, is_name};
use crate::pieces::Span;
use crate::suites::{self, Opening};
use crate::texts::newlines;
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

    fn depth_marker(&mut self) {
        let range = self.vocabulary.depth;
        self.push_here((range.first + self.depth).min(range.last));
    }

    /// The depth marker and the kind of a statement or clause, whose first word is passed.
    fn begin(&mut self, token: u16) {
        self.depth_marker();
        self.push_here(token);
        self.step();
    }

    /// The last lexeme that was passed and has bytes.
    fn last(&self) -> Option<&super::Lexeme> {
        let layout = |k: Tok| matches!(k, Tok::Newline | Tok::Indent | Tok::Dedent);
        self.lexemes[..self.at]
            .iter()
            .rev()
            .find(|l| !layout(l.kind))
    }

    fn compound_node(&mut self, start: u32, start_line: u32) -> Option<()> {
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

    /// Simple statements up to the end of their line. Those of a piece are nodes of their own, as are semicolons.
    fn simple_line(&mut self, first: bool, nodes: bool) -> Option<()> {
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
        let (start, end) = (last.start as usize, last.end as usize);
        self.nodes.push(Span {
            start: first.start as usize,
            end,
            start_line: first.line,
            end_line: last.line + newlines(&self.text[start..end]),
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
        match self.kind() {
            Tok::Newline | Tok::Semicolon => {
                if first && list.operand == Operand::Text {
                    if list.comma {
                        return None;
                    }
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

    fn compound(&mut self) -> Option<()> {
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

    fn is_definition(&self) -> bool {
        matches!(self.kind(), Tok::Def | Tok::Class | Tok::At)
            || self.kind() == Tok::Async && self.second() == Tok::Def
    }

    fn definition(&mut self) -> Option<()> {
        if !self.nested {
            return self.leave_out();
        }
        self.signature()?;
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

    /// Decorators and signature up to the colon: whether it is a class, and its name's place among the names.
    pub(super) fn signature(&mut self) -> Option<(bool, usize)> {
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
            return Some((true, name));
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
        if self.eat(Tok::Arrow) {
            self.type_annotation()?;
        }
        Some((false, name))
    }
}

fn is_compound(kind: Tok) -> bool {
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
