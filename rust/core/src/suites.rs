//! A suite of Python text in, the places where it can be cut into pieces that parse by themselves out.
//!
//! A piece is one or more whole logical lines of a suite (a module, a class body, a function body) with the
//! comments and blank lines that follow it. Only indentation, brackets, strings and comments are looked at.
//! Cutting too seldom is harmless; text whose layout this scan does not understand is [`Irregular`], and the
//! caller parses the whole source instead. A cut inside a statement cannot go unnoticed: its first half does
//! not parse.

/// The text's layout is beyond this scan; parse the source whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Irregular;

/// Deeper indentation is machine-made; the grammar's own stack of indentations is bounded, too.
const MAX_INDENT: u32 = 400;

/// One logical line: what lies between two line ends outside brackets and strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalLine {
    /// First byte of its first physical line, indentation included.
    pub start: usize,
    /// First byte that is not indentation.
    pub code: usize,
    /// Width of the indentation; a tab is eight, as in the grammar.
    pub indent: u32,
    /// One past its line end.
    pub end: usize,
    /// Its last token is a colon, so a suite follows on the next lines.
    pub opens_suite: bool,
    /// The least indentation of a later physical line of it, comments included, inside brackets.
    pub shallowest: u32,
}

/// What a piece starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A function, possibly decorated.
    Function,
    /// A class, possibly decorated.
    Class,
    /// Anything else.
    Statement,
}

/// A piece of a suite; it ends where the next one starts, or with the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// First byte, indentation included.
    pub start: usize,
    /// What it starts with.
    pub opening: Opening,
}

/// Whether the whole text is of a kind that this scan may cut: without the control characters that the grammar
/// treats in ways of its own.
pub fn is_plain(text: &[u8]) -> bool {
    // In blocks without an exit inside, which the compiler turns into vector code.
    let odd = |b: u8| matches!(b, 0 | 0x0b | 0x0c | b'\r');
    let is_odd = |block: &[u8]| block.iter().fold(false, |found, &b| found | odd(b));
    if !text.chunks(256).any(is_odd) {
        return true;
    }
    // A carriage return is fine before a line feed.
    let lone = |(i, &b): (usize, &u8)| odd(b) && !(b == b'\r' && text.get(i + 1) == Some(&b'\n'));
    !text.iter().enumerate().any(lone)
}

/// The next logical line at or after `at`, past blank lines and comments; `at` is the start of a line.
pub fn next_line(text: &[u8], mut at: usize) -> Result<Option<LogicalLine>, Irregular> {
    loop {
        let start = at;
        let (indent, code) = indentation(text, at)?;
        match text.get(code) {
            None => return Ok(None),
            Some(b'\n') => at = code + 1,
            Some(b'\r') => at = code + 2,
            Some(b'#') => at = line_end(text, code),
            Some(b'\\') => return Err(Irregular),
            Some(_) => {
                let mut line = LogicalLine {
                    start,
                    code,
                    indent,
                    end: code,
                    opens_suite: false,
                    shallowest: u32::MAX,
                };
                logical_end(text, &mut line)?;
                return Ok(Some(line));
            }
        }
    }
}

/// Width of the indentation of the line at `at`, and its first other byte.
pub fn indentation(text: &[u8], mut at: usize) -> Result<(u32, usize), Irregular> {
    let mut width = 0;
    while let Some(b) = text.get(at) {
        match b {
            b' ' => width += 1,
            b'\t' => width += 8,
            _ => break,
        }
        at += 1;
    }
    if width > MAX_INDENT {
        return Err(Irregular);
    }
    Ok((width, at))
}

/// One past the end of the physical line that `at` lies in.
pub fn line_end(text: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1)
}

/// Bytes that the scan of a logical line has to look at.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"\n#\"'\\([{)]}`";
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
};

/// Finds where a logical line ends, from where its code starts.
fn logical_end(text: &[u8], line: &mut LogicalLine) -> Result<(), Irregular> {
    let mut at = line.code;
    let mut depth = 0_u32;
    // Where the last code before the line end may end, if no comment follows it.
    let mut code_end = None;
    loop {
        let Some(step) = text[at..].iter().position(|&b| SPECIAL[usize::from(b)]) else {
            at = text.len();
            break;
        };
        at += step;
        match text[at] {
            b'\n' => {
                if depth == 0 {
                    line.end = at + 1;
                    line.opens_suite = ends_in_colon(text, code_end.unwrap_or(at));
                    return Ok(());
                }
                code_end = None;
                let (indent, code) = indentation(text, at + 1)?;
                if !is_blank(text, code) {
                    line.shallowest = line.shallowest.min(indent);
                }
                at += 1;
            }
            b'#' => {
                code_end = Some(at);
                at = line_end(text, at);
                // The line end itself is still to be looked at, unless the text ends in the comment.
                if text[at - 1] == b'\n' {
                    at -= 1;
                }
            }
            b'"' | b'\'' => at = string_end(text, at)?,
            b'\\' => {
                at += match text.get(at + 1..) {
                    Some([b'\n', ..]) => 2,
                    Some([b'\r', b'\n', ..]) => 3,
                    _ => return Err(Irregular),
                }
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                at += 1;
            }
            // Python 2's backquotes are brackets to Python and quotes to the grammar.
            b'`' => return Err(Irregular),
            _ => {
                depth = depth.checked_sub(1).ok_or(Irregular)?;
                at += 1;
            }
        }
    }
    if depth > 0 {
        return Err(Irregular);
    }
    line.end = at;
    line.opens_suite = ends_in_colon(text, code_end.unwrap_or(at));
    Ok(())
}

/// Nothing but a line end follows the indentation that ends at `code`.
pub(crate) fn is_blank(text: &[u8], code: usize) -> bool {
    matches!(text.get(code), None | Some(b'\n' | b'\r'))
}

fn ends_in_colon(text: &[u8], end: usize) -> bool {
    text[..end].trim_ascii_end().ends_with(b":")
}

/// One past the string whose opening quote is at `at`. Its prefix does not matter: a backslash keeps the next
/// character from ending it even in a raw string.
pub(crate) fn string_end(text: &[u8], at: usize) -> Result<usize, Irregular> {
    let quote = text[at];
    if text[at..].starts_with(&[quote; 3]) {
        return long_string_end(text, at + 3, quote);
    }
    let mut i = at + 1;
    while let Some(&b) = text.get(i) {
        match b {
            b'\\' => i += 2,
            b'\n' => return Err(Irregular),
            b if b == quote => return Ok(i + 1),
            _ => i += 1,
        }
    }
    Err(Irregular)
}

/// One past the string in three quotes whose contents start at `at`.
fn long_string_end(text: &[u8], mut at: usize, quote: u8) -> Result<usize, Irregular> {
    loop {
        let rest = text.get(at..).ok_or(Irregular)?;
        at += memchr::memchr2(quote, b'\\', rest).ok_or(Irregular)?;
        if text[at] == b'\\' {
            at += 2;
        } else if text[at..].starts_with(&[quote; 3]) {
            return Ok(at + 3);
        } else {
            at += 1;
        }
    }
}

/// What is known of a suite from the version before: keeps [`cut`] from reading again what did not change.
pub trait Known {
    /// Asked at every cut, in order; true ends the scan: the rest is known already.
    fn resumes(&mut self, start: usize) -> bool;
    /// Asked at every cut: the start of a later line of this piece up to which nothing changed, and what it opens.
    fn ahead(&self, start: usize) -> Option<(usize, Opening)>;
    /// Asked at every deeper line: where its piece ends, if nothing changes from here on.
    fn end_of(&self, line: usize) -> Option<usize>;
}

/// Nothing is known.
pub struct Nothing;

impl Known for Nothing {
    fn resumes(&mut self, _: usize) -> bool {
        false
    }

    fn ahead(&self, _: usize) -> Option<(usize, Opening)> {
        None
    }

    fn end_of(&self, _: usize) -> Option<usize> {
        None
    }
}

/// Cuts the suite of lines indented by `column` that goes from `at` to the end of `text`; with the cuts, where the
/// rest was known, if it was.
pub fn cut(
    text: &[u8],
    at: usize,
    column: u32,
    known: &mut impl Known,
) -> Result<(Vec<Cut>, Option<usize>), Irregular> {
    let mut cuts: Vec<Cut> = Vec::new();
    let mut at = at;
    let mut decorated = false;
    // The line before, if it was read.
    let mut before: Option<LogicalLine> = None;
    while let Some(line) = next_line(text, at)? {
        // Inside the suite the grammar sees a dedent where a bracketed line, or a comment after a decorator, is
        // indented by less than the suite. On its own a piece has no suite around it.
        if let Some(before) = before {
            let after_decorator = text[before.code] == b'@';
            if after_decorator && has_shallow_comment(&text[at..line.start], column) {
                return Err(Irregular);
            }
            // Nothing asked for it; where the grammar puts such a line depends on what is around.
            if line.indent > before.indent && !before.opens_suite {
                return Err(Irregular);
            }
        }
        before = Some(line);
        at = line.end;
        if line.indent > column {
            if cuts.is_empty() || decorated {
                return Err(Irregular);
            }
            if let Some(end) = known.end_of(line.start) {
                at = end;
                before = None;
            }
            continue;
        }
        if line.indent < column || line.shallowest < column {
            return Err(Irregular);
        }
        let code = &text[line.code..line.end];
        if decorated {
            if let Some(cut) = cuts.last_mut() {
                cut.opening = opening(code);
            }
            decorated = code[0] == b'@';
            continue;
        }
        if continues(code) {
            if cuts.is_empty() {
                return Err(Irregular);
            }
            continue;
        }
        if known.resumes(line.start) {
            return Ok((cuts, Some(line.start)));
        }
        let start = line.start;
        if let Some((later, opening)) = known.ahead(start) {
            at = later;
            before = None;
            cuts.push(Cut { start, opening });
            continue;
        }
        decorated = code[0] == b'@';
        cuts.push(Cut {
            start,
            opening: opening(code),
        });
    }
    Ok((cuts, None))
}

/// Whether a comment in lines of comments and blank lines is indented by less than `column`.
fn has_shallow_comment(lines: &[u8], column: u32) -> bool {
    let mut at = 0;
    while at < lines.len() {
        match indentation(lines, at) {
            Ok((indent, code)) if indent >= column || is_blank(lines, code) => {}
            _ => return true,
        }
        at = line_end(lines, at);
    }
    false
}

/// What a line of code starts.
pub fn opening(code: &[u8]) -> Opening {
    if starts_with_word(code, b"def") {
        return Opening::Function;
    }
    if starts_with_word(code, b"class") {
        return Opening::Class;
    }
    if starts_with_word(code, b"async") {
        let rest = code[5..].trim_ascii_start();
        if starts_with_word(rest, b"def") {
            return Opening::Function;
        }
    }
    Opening::Statement
}

/// Whether a line goes on with the compound statement before it.
fn continues(code: &[u8]) -> bool {
    [&b"else"[..], b"elif", b"except", b"finally"]
        .iter()
        .any(|word| starts_with_word(code, word))
}

fn starts_with_word(code: &[u8], word: &[u8]) -> bool {
    code.starts_with(word)
        && !code
            .get(word.len())
            .is_some_and(|&b| b == b'_' || b.is_ascii_alphanumeric() || b >= 0x80)
}

/// Where a suite indented by `column` ends whose last node ends at `at`: the rest of that line and the comments
/// that are indented at least as far belong to it, up to the first one that is not (so does the grammar).
pub fn suite_end(text: &[u8], mut at: usize, column: u32) -> Result<usize, Irregular> {
    let mut end = at;
    // What may follow a node on its own line.
    loop {
        match text.get(at) {
            None => return Ok(end),
            Some(b' ' | b'\t' | b'\r') => at += 1,
            Some(b';') => {
                at += 1;
                end = at;
            }
            Some(b'\n') => {
                at += 1;
                break;
            }
            Some(b'#') => {
                (end, at) = comment(text, at);
                break;
            }
            Some(_) => return Err(Irregular),
        }
    }
    while at < text.len() {
        let (indent, code) = indentation(text, at)?;
        match text.get(code) {
            None => break,
            Some(b'\n') => at = code + 1,
            Some(b'\r') => at = code + 2,
            Some(b'#') if indent >= column => (end, at) = comment(text, code),
            Some(_) => break,
        }
    }
    Ok(end)
}

/// The end of the comment at `at` without its line end, and the start of the next line.
fn comment(text: &[u8], at: usize) -> (usize, usize) {
    let next = line_end(text, at);
    let end = if text[..next].ends_with(b"\n") {
        next - 1
    } else {
        next
    };
    (end, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, column: u32) -> Vec<&str> {
        let (cuts, _) = cut(text.as_bytes(), 0, column, &mut Nothing).expect("regular");
        let ends = cuts.iter().skip(1).map(|c| c.start).chain([text.len()]);
        cuts.iter()
            .zip(ends)
            .map(|(c, end)| &text[c.start..end])
            .collect()
    }

    #[test]
    fn a_module_is_cut_at_its_statements() {
        let text = "# lead\nimport a\n@d\n# why\n@e(\n1)\ndef f():\n    x\n\n# of f\nif a:\n  b\nelse:\n  c\ns = '''\nx\n'''\nt = [\n1,\n]\n";
        assert_eq!(
            pieces(text, 0),
            [
                "import a\n",
                "@d\n# why\n@e(\n1)\ndef f():\n    x\n\n# of f\n",
                "if a:\n  b\nelse:\n  c\n",
                "s = '''\nx\n'''\n",
                "t = [\n1,\n]\n",
            ]
        );
    }

    #[test]
    fn words_that_only_begin_like_keywords_start_a_piece() {
        assert_eq!(pieces("a\nelsewhere\nexcept_ = 1\n", 0).len(), 3);
        assert_eq!(opening(b"defer()"), Opening::Statement);
        assert_eq!(opening(b"async with x: pass"), Opening::Statement);
        assert_eq!(opening(b"async  def f(): pass"), Opening::Function);
    }

    #[test]
    fn what_is_not_understood_is_irregular() {
        for text in [
            "  a\n",
            "(\n",
            "'\n",
            ")\n",
            "else: x\n",
            "a \\ b\n",
            "\\\na\n",
            "`a`\n",
        ] {
            assert_eq!(
                cut(text.as_bytes(), 0, 0, &mut Nothing),
                Err(Irregular),
                "{text}"
            );
        }
        for text in ["a\rb", "a\x0c", "a\0", "a\r"] {
            assert!(!is_plain(text.as_bytes()), "{text}");
        }
        assert!(is_plain(b"a\r\nb\r\n"));
    }
}
