//! The text of a piece in, its lexemes out: words, literals, operators, and where lines and blocks begin and end.
//!
//! Everything that can be told of one lexeme alone is decided here, in one pass over the bytes: a name's bucket,
//! a number's, a string's. What the grammar's own scanner treats in ways of its own (a comment to the left of the
//! code after it, a bracketed line indented by less than its statement, a name beyond ASCII) is declined.

use super::lexemes::{Lexeme, Operators, Tok, keyword, operator, operators};
use crate::suites;
use crate::texts::newlines;
use crate::tokens::number_text;
use crate::vocab::{FNV_32, Vocabulary, fnv1a_32_on, vocabulary};

/// How deep a format specifier's own braces may nest, as in Python.
const MAX_BRACES: u8 = 2;

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    vocabulary: &'static Vocabulary,
    operators: &'static Operators,
    at: usize,
    line: u32,
    /// Open brackets.
    depth: u32,
    out: &'a mut Vec<Lexeme>,
}

/// The text's lexemes, appended to `out`; none if it is beyond these rules.
pub(super) fn lex(text: &[u8], out: &mut Vec<Lexeme>) -> Option<()> {
    let mut lexer = Lexer {
        text,
        vocabulary: vocabulary(),
        operators: operators(),
        at: 0,
        line: 1,
        depth: 0,
        out,
    };
    lexer.lines()
}

impl Lexer<'_> {
    fn push(&mut self, kind: Tok, start: usize, line: u32, token: u16) {
        // A source has at most 64 MiB.
        self.out.push(Lexeme {
            start: start as u32,
            end: self.at as u32,
            line,
            token,
            kind,
        });
    }

    /// A lexeme without bytes of its own.
    fn mark(&mut self, kind: Tok, token: u16) {
        self.push(kind, self.at, self.line, token);
    }

    fn lines(&mut self) -> Option<()> {
        // Columns of the blocks that are open; the first is the text's own.
        let mut columns: Vec<u32> = Vec::new();
        // The least indentation of the comments since the last line of code.
        let mut comment = u32::MAX;
        loop {
            let (indent, code) = suites::indentation(self.text, self.at).ok()?;
            self.at = code;
            match self.text.get(code) {
                None => break,
                Some(b'\n' | b'\r') => {
                    self.at = suites::line_end(self.text, code);
                    self.line += 1;
                    continue;
                }
                Some(b'#') => {
                    comment = comment.min(indent);
                    self.at = suites::line_end(self.text, code);
                    self.line += 1;
                    continue;
                }
                Some(_) => {}
            }
            // To the grammar a comment to the left of the code after it may end a block.
            if comment < indent && !columns.is_empty() {
                return None;
            }
            comment = u32::MAX;
            match columns.last() {
                None => columns.push(indent),
                Some(&column) if indent > column => {
                    let opener = self.out.len().checked_sub(2)?;
                    if self.out[opener].kind != Tok::Colon {
                        return None;
                    }
                    columns.push(indent);
                    // At most `suites::MAX_INDENT`.
                    self.mark(Tok::Indent, indent as u16);
                }
                Some(_) => {
                    while columns.last().is_some_and(|&c| indent < c) {
                        columns.pop();
                        self.mark(Tok::Dedent, 0);
                    }
                    if columns.last() != Some(&indent) {
                        return None;
                    }
                }
            }
            self.logical_line(indent)?;
            self.mark(Tok::Newline, 0);
        }
        for _ in 1..columns.len() {
            self.mark(Tok::Dedent, 0);
        }
        self.mark(Tok::End, 0);
        Some(())
    }

    /// Up to the line end that ends it, which is passed, or the end of the text.
    fn logical_line(&mut self, indent: u32) -> Option<()> {
        while let Some(&b) = self.text.get(self.at) {
            match b {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                    if self.depth == 0 {
                        return Some(());
                    }
                    let (inner, code) = suites::indentation(self.text, self.at).ok()?;
                    if inner < indent && !suites::is_blank(self.text, code) {
                        return None;
                    }
                    self.at = code;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' => {
                    self.at = memchr::memchr(b'\n', &self.text[self.at..])
                        .map_or(self.text.len(), |n| self.at + n);
                }
                b'\\' => {
                    self.at += match self.text.get(self.at + 1..) {
                        Some([b'\n', ..]) => 2,
                        Some([b'\r', b'\n', ..]) => 3,
                        _ => return None,
                    };
                    self.line += 1;
                }
                _ => self.lexeme(b, self.text.len(), 0)?,
            }
        }
        (self.depth == 0).then_some(())
    }

    /// One word, literal or operator that starts here with `b` and ends at `limit` or before.
    fn lexeme(&mut self, b: u8, limit: usize, braces: u8) -> Option<()> {
        let start = self.at;
        match b {
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let (end, hash) = self.word(start);
                let word = &self.text[start..end];
                if matches!(self.text.get(end), Some(b'"' | b'\'')) && is_prefix(word) {
                    return self.string(end, limit, braces);
                }
                self.at = end;
                let kind = keyword(word);
                let token = self.vocabulary.identifier.at(hash);
                self.push(kind, start, self.line, token);
            }
            b'"' | b'\'' => return self.string(start, limit, braces),
            b'0'..=b'9' => self.number()?,
            b'.' if self.text.get(start + 1).is_some_and(u8::is_ascii_digit) => {
                // `a.1` is an attribute that is none.
                if self
                    .out
                    .last()
                    .is_some_and(|l| ends_operand(l.kind) && l.end as usize == start)
                {
                    return None;
                }
                self.number()?;
            }
            _ => {
                let rest = &self.text[start..];
                let (kind, width) = operator(rest)?;
                match kind {
                    Tok::LeftParen | Tok::LeftBracket | Tok::LeftBrace => self.depth += 1,
                    Tok::RightParen | Tok::RightBracket | Tok::RightBrace => {
                        self.depth = self.depth.checked_sub(1)?;
                    }
                    _ => {}
                }
                self.at += width;
                let token = match kind {
                    Tok::Augmented => self.operators.augmented(&rest[..width])?,
                    _ => self.operators.plain[kind as usize],
                };
                self.push(kind, start, self.line, token);
            }
        }
        (self.at <= limit).then_some(())
    }

    /// The end of a word and the hash of its bytes.
    fn word(&self, start: usize) -> (usize, u32) {
        let mut hash = FNV_32;
        let mut end = start;
        while let Some(&b) = self.text.get(end) {
            if !(b == b'_' || b.is_ascii_alphanumeric()) {
                break;
            }
            hash = fnv1a_32_on(hash, b);
            end += 1;
        }
        (end, hash)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let rest = &self.text[start..];
        let digits = |mut at: usize| {
            while rest.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut end = digits(0);
        if end == 1 && rest[0] == b'0' && matches!(rest.get(1), Some(b'x' | b'X')) {
            end = 2 + rest[2..]
                .iter()
                .take_while(|b| b.is_ascii_hexdigit())
                .count();
            if end == 2 {
                return None;
            }
        } else {
            let is_digit = |at: usize| rest.get(at).is_some_and(u8::is_ascii_digit);
            if rest.get(end) == Some(&b'.') {
                end = digits(end + 1);
            }
            if matches!(rest.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
                if !is_digit(end + 1 + sign) {
                    return None;
                }
                end = digits(end + 1 + sign);
            }
            if matches!(rest.get(end), Some(b'j' | b'J')) {
                end += 1;
            }
        }
        // Other bases, underscores, Python 2's suffixes, and what runs into a word.
        let odd = |b: &u8| *b == b'_' || *b == b'.' || b.is_ascii_alphanumeric() || *b >= 0x80;
        if rest.get(end).is_some_and(odd) {
            return None;
        }
        let token = self.vocabulary.number.bucket(&number_text(&rest[..end]));
        self.at += end;
        self.push(Tok::Number, start, self.line, token);
        Some(())
    }

    /// The string whose prefix starts here and whose quote is at `quote`.
    fn string(&mut self, quote: usize, limit: usize, braces: u8) -> Option<()> {
        let start = self.at;
        let text = self.text;
        let end = suites::string_end(text, quote).ok()?;
        if end > limit {
            return None;
        }
        let width = if text[quote..].starts_with(&[text[quote]; 3]) {
            3
        } else {
            1
        };
        let inside = quote + width..end - width;
        let (mut raw, mut format) = (false, false);
        let mut hash = FNV_32;
        for b in text[start..quote].iter().map(u8::to_ascii_lowercase) {
            raw |= b == b'r';
            format |= matches!(b, b'f' | b't');
            if b != b'u' {
                hash = fnv1a_32_on(hash, b);
            }
        }
        let content = &text[inside.clone()];
        if format {
            return self.format(start, end, inside, hash, raw, braces);
        }
        if raw && matches!(content, [b'\\', b'\\' | b'\'' | b'"' | b'\n' | b'\r', ..]) {
            // To the grammar a raw string of nothing but these has no content.
            return None;
        }
        if !content.is_empty() {
            hash = content
                .iter()
                .fold(fnv1a_32_on(hash, b':'), |h, &b| fnv1a_32_on(h, b));
        }
        let line = self.line;
        self.line += newlines(content);
        self.at = end;
        self.push(Tok::Text, start, line, self.vocabulary.string.at(hash));
        Some(())
    }

    /// A string with interpolations, the contents of which lie `inside`.
    fn format(
        &mut self,
        start: usize,
        end: usize,
        inside: std::ops::Range<usize>,
        mut hash: u32,
        raw: bool,
        braces: u8,
    ) -> Option<()> {
        let text = self.text;
        let first = self.out.len();
        self.at = end;
        self.push(Tok::Format, start, self.line, 0);
        self.at = inside.start;
        // Where the piece of contents starts that is being read.
        let mut piece = self.at;
        let close = |hash: u32, piece: &[u8]| {
            if piece.is_empty() {
                return hash;
            }
            piece
                .iter()
                .fold(fnv1a_32_on(hash, b':'), |h, &b| fnv1a_32_on(h, b))
        };
        while self.at < inside.end {
            match text[self.at] {
                b'{' if text[self.at + 1] == b'{' && self.at + 1 < inside.end => self.at += 2,
                b'}' if text[self.at + 1] == b'}' && self.at + 1 < inside.end => self.at += 2,
                b'{' => {
                    hash = close(hash, &text[piece..self.at]);
                    self.interpolation(inside.end, braces)?;
                    piece = self.at;
                }
                b'}' => return None,
                b'\\' => {
                    // Braces in escapes, and what a raw string makes of a backslash.
                    if raw || matches!(text[self.at + 1], b'{' | b'}' | b'N') {
                        return None;
                    }
                    self.line += u32::from(text[self.at + 1] == b'\n');
                    self.at += 2;
                }
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        hash = close(hash, &text[piece..inside.end]);
        self.out[first].token = self.vocabulary.string.at(hash);
        self.at = end;
        self.mark(Tok::FormatEnd, 0);
        Some(())
    }

    /// From a brace to one past the one that closes it.
    fn interpolation(&mut self, limit: usize, braces: u8) -> Option<()> {
        if braces >= MAX_BRACES {
            return None;
        }
        let text = self.text;
        self.mark(Tok::Open, 0);
        self.at += 1;
        let outer = std::mem::take(&mut self.depth);
        loop {
            let b = *text[..limit].get(self.at)?;
            let next = text.get(self.at + 1);
            match b {
                b' ' | b'\t' => self.at += 1,
                b':' if self.depth == 0 && next == Some(&b'=') => return None,
                b'}' | b':' if self.depth == 0 => break,
                b'!' if self.depth == 0 && next != Some(&b'=') => break,
                b'=' if self.depth == 0 && next != Some(&b'=') => {
                    self.at += 1;
                    while matches!(text[self.at], b' ' | b'\t') {
                        self.at += 1;
                    }
                    if !matches!(text[self.at], b'}' | b':' | b'!') {
                        return None;
                    }
                    break;
                }
                b'\n' | b'\r' | b'#' | b'\\' => return None,
                _ => self.lexeme(b, limit, braces + 1)?,
            }
        }
        self.depth = outer;
        if text[self.at] == b'!' {
            let conversion = *text.get(self.at + 1)?;
            if !conversion.is_ascii_lowercase() || !matches!(text[self.at + 2], b'}' | b':') {
                return None;
            }
            self.mark(Tok::Conversion, 0);
            self.at += 2;
        }
        if text[self.at] == b':' {
            self.mark(Tok::Specifier, 0);
            self.at += 1;
            loop {
                match *text[..limit].get(self.at)? {
                    b'{' if text[self.at + 1] == b'{' => return None,
                    b'{' => self.interpolation(limit, braces + 1)?,
                    b'}' => break,
                    b'\n' | b'\r' | b'\\' => return None,
                    _ => self.at += 1,
                }
            }
        }
        if self.at >= limit || text[self.at] != b'}' {
            return None;
        }
        self.at += 1;
        self.mark(Tok::Shut, 0);
        Some(())
    }
}

/// Letters that the grammar takes for a string's prefix, in any number.
fn is_prefix(word: &[u8]) -> bool {
    let letter = |b: &u8| matches!(b.to_ascii_lowercase(), b'f' | b't' | b'r' | b'b' | b'u');
    word.iter().all(letter)
}

/// Whether a lexeme may be the end of what a dot asks for an attribute.
fn ends_operand(kind: Tok) -> bool {
    matches!(
        kind,
        Tok::Name
            | Tok::Text
            | Tok::FormatEnd
            | Tok::RightParen
            | Tok::RightBracket
            | Tok::RightBrace
    )
}
