//! What lexemes there are: the words and operators of Python, and the tokens of the operators.

use crate::vocab::vocabulary;

/// What a lexeme is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tok {
    Name,
    // Names that begin a statement of their own where the grammar likes to.
    Print,
    Exec,
    Match,
    Type,
    Number,
    Text,
    // A string with interpolations: what stands in its braces follows, up to `FormatEnd`.
    Format,
    FormatEnd,
    Open,
    Conversion,
    Specifier,
    Shut,
    False,
    None,
    True,
    And,
    As,
    Assert,
    Async,
    Await,
    Break,
    Class,
    Continue,
    Def,
    Del,
    Elif,
    Else,
    Except,
    Finally,
    For,
    From,
    Global,
    If,
    Import,
    In,
    Is,
    Lambda,
    Nonlocal,
    Not,
    Or,
    Pass,
    Raise,
    Return,
    Try,
    While,
    With,
    Yield,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    Comma,
    Colon,
    Semicolon,
    Dot,
    Assign,
    Walrus,
    Arrow,
    /// An augmented assignment's operator.
    Augmented,
    Plus,
    Minus,
    Star,
    Power,
    Slash,
    Floor,
    Percent,
    At,
    Pipe,
    Ampersand,
    Caret,
    Tilde,
    ShiftLeft,
    ShiftRight,
    Less,
    LessEqual,
    Equal,
    NotEqual,
    GreaterEqual,
    Greater,
    Newline,
    Indent,
    Dedent,
    /// After the last one, without end.
    End,
}

/// One lexeme: its bytes in the text, the line of its first byte, what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexeme {
    pub start: u32,
    pub end: u32,
    /// From 1.
    pub line: u32,
    /// Of a name, number, string or operator: its token. Of an indent: its width.
    pub token: u16,
    pub kind: Tok,
}

/// What a word is.
pub(super) fn keyword(word: &[u8]) -> Tok {
    match word {
        b"False" => Tok::False,
        b"None" => Tok::None,
        b"True" => Tok::True,
        b"and" => Tok::And,
        b"as" => Tok::As,
        b"assert" => Tok::Assert,
        b"async" => Tok::Async,
        b"await" => Tok::Await,
        b"break" => Tok::Break,
        b"class" => Tok::Class,
        b"continue" => Tok::Continue,
        b"def" => Tok::Def,
        b"del" => Tok::Del,
        b"elif" => Tok::Elif,
        b"else" => Tok::Else,
        b"except" => Tok::Except,
        b"exec" => Tok::Exec,
        b"finally" => Tok::Finally,
        b"for" => Tok::For,
        b"from" => Tok::From,
        b"global" => Tok::Global,
        b"if" => Tok::If,
        b"import" => Tok::Import,
        b"in" => Tok::In,
        b"is" => Tok::Is,
        b"lambda" => Tok::Lambda,
        b"match" => Tok::Match,
        b"nonlocal" => Tok::Nonlocal,
        b"not" => Tok::Not,
        b"or" => Tok::Or,
        b"pass" => Tok::Pass,
        b"print" => Tok::Print,
        b"raise" => Tok::Raise,
        b"return" => Tok::Return,
        b"try" => Tok::Try,
        b"type" => Tok::Type,
        b"while" => Tok::While,
        b"with" => Tok::With,
        b"yield" => Tok::Yield,
        _ => Tok::Name,
    }
}

/// The operator or punctuation that a text starts with, and its width.
pub(super) fn operator(rest: &[u8]) -> Option<(Tok, usize)> {
    let at = |i: usize| rest.get(i).copied().unwrap_or(0);
    let (second, third) = (at(1), at(2));
    Some(match (at(0), second) {
        (b'(', _) => (Tok::LeftParen, 1),
        (b')', _) => (Tok::RightParen, 1),
        (b'[', _) => (Tok::LeftBracket, 1),
        (b']', _) => (Tok::RightBracket, 1),
        (b'{', _) => (Tok::LeftBrace, 1),
        (b'}', _) => (Tok::RightBrace, 1),
        (b',', _) => (Tok::Comma, 1),
        (b';', _) => (Tok::Semicolon, 1),
        (b'.', _) => (Tok::Dot, 1),
        (b'~', _) => (Tok::Tilde, 1),
        (b':', b'=') => (Tok::Walrus, 2),
        (b':', _) => (Tok::Colon, 1),
        (b'=', b'=') => (Tok::Equal, 2),
        (b'=', _) => (Tok::Assign, 1),
        (b'-', b'>') => (Tok::Arrow, 2),
        (b'*', b'*') | (b'/', b'/') | (b'<', b'<') | (b'>', b'>') if third == b'=' => {
            (Tok::Augmented, 3)
        }
        (b'+' | b'-' | b'*' | b'/' | b'%' | b'@' | b'&' | b'|' | b'^', b'=') => (Tok::Augmented, 2),
        (b'*', b'*') => (Tok::Power, 2),
        (b'*', _) => (Tok::Star, 1),
        (b'/', b'/') => (Tok::Floor, 2),
        (b'/', _) => (Tok::Slash, 1),
        (b'<', b'<') => (Tok::ShiftLeft, 2),
        (b'<', b'=') => (Tok::LessEqual, 2),
        // Python 2's inequality.
        (b'<', b'>') => return None,
        (b'<', _) => (Tok::Less, 1),
        (b'>', b'>') => (Tok::ShiftRight, 2),
        (b'>', b'=') => (Tok::GreaterEqual, 2),
        (b'>', _) => (Tok::Greater, 1),
        (b'!', b'=') => (Tok::NotEqual, 2),
        (b'+', _) => (Tok::Plus, 1),
        (b'-', _) => (Tok::Minus, 1),
        (b'%', _) => (Tok::Percent, 1),
        (b'@', _) => (Tok::At, 1),
        (b'&', _) => (Tok::Ampersand, 1),
        (b'|', _) => (Tok::Pipe, 1),
        (b'^', _) => (Tok::Caret, 1),
        _ => return None,
    })
}

/// The tokens of operators.
pub(super) struct Operators {
    /// By kind of lexeme; 0 where there is none.
    pub plain: [u16; Tok::End as usize + 1],
    augmented: Vec<(&'static [u8], u16)>,
}

impl Operators {
    /// The token of an augmented assignment's operator as written.
    pub fn augmented(&self, written: &[u8]) -> Option<u16> {
        self.augmented
            .iter()
            .find(|(w, _)| *w == written)
            .map(|&(_, token)| token)
    }
}

/// The one table of them.
pub(super) fn operators() -> &'static Operators {
    static OPERATORS: std::sync::LazyLock<Operators> = std::sync::LazyLock::new(|| {
        let token = |name: &str| vocabulary().token(name).unwrap_or(0);
        let mut plain = [0; Tok::End as usize + 1];
        for (kind, name) in [
            (Tok::Plus, "+"),
            (Tok::Minus, "-"),
            (Tok::Star, "*"),
            (Tok::Power, "**"),
            (Tok::Slash, "/"),
            (Tok::Floor, "//"),
            (Tok::Percent, "%"),
            (Tok::At, "@"),
            (Tok::Pipe, "|"),
            (Tok::Ampersand, "&"),
            (Tok::Caret, "^"),
            (Tok::Tilde, "~"),
            (Tok::ShiftLeft, "<<"),
            (Tok::ShiftRight, ">>"),
            (Tok::Less, "<"),
            (Tok::LessEqual, "<="),
            (Tok::Equal, "=="),
            (Tok::NotEqual, "!="),
            (Tok::GreaterEqual, ">="),
            (Tok::Greater, ">"),
            (Tok::Dot, "."),
            (Tok::Colon, ":"),
        ] {
            plain[kind as usize] = token(name);
        }
        let augmented = [
            "+=", "-=", "*=", "/=", "@=", "//=", "%=", "**=", ">>=", "<<=", "&=", "^=", "|=",
        ];
        Operators {
            plain,
            augmented: augmented
                .map(|name| (name.as_bytes(), token(name)))
                .to_vec(),
        }
    });
    &OPERATORS
}
