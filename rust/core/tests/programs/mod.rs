//! A seed in, a random program out, drawn rule by rule: expressions, patterns, types. Statements stand beside.
//!
//! The rules are Python's and a little more: Python 2, soft keywords in odd places, what no version allows.

mod statements;

/// Draws choices from a seed (xorshift64*), and grows a program of them.
pub struct Writer {
    state: u64,
    out: String,
}

impl Writer {
    pub fn new(seed: u64) -> Self {
        Writer {
            state: seed | 1,
            out: String::new(),
        }
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        high as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    pub fn put_one(&mut self, from: &[&str]) {
        let text = self.pick(from);
        self.put(text);
    }

    pub fn name(&mut self) {
        self.put_one(&[
            "a",
            "b",
            "self",
            "x1",
            "_",
            "List",
            "print",
            "exec",
            "type",
            "match",
            "case",
            "f",
            "r",
            "__future__",
            "async_",
            "é",
        ]);
    }

    pub fn plain_name(&mut self) {
        self.put_one(&["a", "b", "c", "self", "x1", "List"]);
    }

    pub fn several(&mut self, at_most: usize, depth: u32, item: fn(&mut Self, u32)) {
        for i in 0..=self.below(at_most) {
            if i > 0 {
                self.put_one(&[", ", ",", " , "]);
            }
            item(self, depth);
        }
        if self.one_in(6) {
            self.put(",");
        }
    }

    pub fn text(&mut self, depth: u32) {
        match self.below(12) {
            0..6 => self.put_one(&[
                "'s'",
                "\"t\"",
                "''",
                "b'x'",
                "u'y'",
                "r'\\d'",
                "r'\\\\'",
                "'\\n'",
                "'''a\n b'''",
                "Rb\"z\"",
                "'{a}'",
                "'é'",
            ]),
            6 => {
                self.put("'a' ");
                self.put_one(&["'b'", "\"c\"", "f'{a}'"]);
            }
            _ => {
                self.put_one(&["f\"", "F\"", "rf\"", "fr\""]);
                for _ in 0..=self.below(3) {
                    match self.below(7) {
                        0 => self.put_one(&["plain ", "{{", "}}", " ", "\\n", "%", "'"]),
                        1 => self.put_one(&[
                            "{a=}",
                            "{a!r}",
                            "{a:>{b}}",
                            "{a !r:x}",
                            "{a['k']:%Y-%m}",
                            "{a , b}",
                        ]),
                        2 => self.put_one(&[
                            "{a:{b}.{c}}",
                            "{a:}",
                            "{ a }",
                            "{a if b else c}",
                            "{(lambda x: 1)}",
                        ]),
                        _ => {
                            self.put("{");
                            let start = self.out.len();
                            self.expression(depth.saturating_sub(2));
                            // Its own quotes and lines would end the string.
                            let inside = self.out.split_off(start);
                            let odd = inside.contains(['"', '\n', '\\', '#', '{']);
                            self.put(if odd { "b" } else { &inside });
                            self.put("}");
                        }
                    }
                }
                self.put("\"");
            }
        }
    }

    pub fn expression(&mut self, depth: u32) {
        if depth == 0 {
            match self.below(4) {
                0 => self.put_one(&[
                    "1", "0x1F", "2.5", ".5", "1e-3", "3j", "1_000", "None", "True", "...", "False",
                ]),
                1 => self.put_one(&["'s'", "\"t\"", "b''"]),
                _ => self.name(),
            }
            return;
        }
        let d = depth - 1;
        match self.below(30) {
            0 | 1 => {
                self.expression(d);
                self.put_one(&[
                    " + ", "-", " * ", " ** ", "//", " % ", " @ ", " | ", "&", "^", " << ", ">>",
                    " / ",
                ]);
                self.expression(d);
            }
            2 => {
                self.expression(d);
                self.put_one(&[
                    " < ", " == ", "!=", " in ", " not in ", " is ", " is not ", ">=", " <> ",
                ]);
                self.expression(d);
            }
            3 => {
                self.expression(d);
                self.put_one(&[" and ", " or "]);
                self.expression(d);
            }
            4 => {
                self.put_one(&["not ", "-", "~", "+", "await ", "not not "]);
                self.expression(d);
            }
            5..9 => {
                self.expression(d);
                self.put_one(&[".attr", ".print", ".x.y", " .z", ".type"]);
            }
            9..13 => {
                self.expression(d);
                self.put("(");
                if !self.one_in(4) {
                    self.several(3, d, Self::argument);
                }
                self.put_one(&[")", " )", "\n    )"]);
            }
            13 | 14 => {
                self.expression(d);
                self.put("[");
                self.several(2, d, Self::subscript);
                self.put("]");
            }
            15 => {
                self.put("(");
                self.several(3, d, Self::element);
                self.put(")");
            }
            16 => {
                self.put("[");
                self.several(3, d, Self::element);
                self.put("]");
            }
            17 => {
                self.put("{");
                self.several(2, d, Self::element);
                self.put("}");
            }
            18 => {
                self.put("{");
                self.several(2, d, Self::pair);
                self.put("}");
            }
            19 => self.put_one(&["()", "[]", "{}", "(a)", "(yield)", "(yield a, b)"]),
            20 => self.comprehension(d),
            21 => {
                self.put("lambda");
                if self.one_in(2) {
                    self.put(" ");
                    self.several(2, d, Self::parameter);
                }
                self.put(": ");
                self.expression(d);
            }
            22 => {
                self.expression(d);
                self.put(" if ");
                self.expression(d);
                self.put(" else ");
                self.expression(d);
            }
            23 => {
                self.put("(");
                self.plain_name();
                self.put_one(&[" := ", ":="]);
                self.expression(d);
                self.put(")");
            }
            24 | 25 => self.text(depth),
            26 => {
                self.put("(");
                self.expression(d);
                self.put_one(&["", "\n   ", "  # c\n      ", " \\\n  "]);
                self.put(")");
            }
            _ => self.expression(0),
        }
    }

    pub fn element(&mut self, depth: u32) {
        if self.one_in(8) {
            self.put("*");
        }
        self.expression(depth);
    }

    fn pair(&mut self, depth: u32) {
        if self.one_in(6) {
            self.put("**");
        } else {
            self.expression(depth);
            self.put(": ");
        }
        self.expression(depth);
    }

    fn subscript(&mut self, depth: u32) {
        match self.below(6) {
            0 => self.put_one(&[":", "::", "a:", ":b", "a:b:c", "::-1", "*a"]),
            1 => {
                self.expression(depth);
                self.put(":");
                self.expression(depth);
            }
            _ => self.expression(depth),
        }
    }

    fn argument(&mut self, depth: u32) {
        match self.below(8) {
            0 => self.put("*"),
            1 => self.put("**"),
            2 | 3 => {
                self.name();
                self.put_one(&["=", " = "]);
            }
            4 if self.one_in(3) => {
                self.put("a for a in ");
            }
            _ => {}
        }
        self.expression(depth);
    }

    fn comprehension(&mut self, depth: u32) {
        let (open, close) = [("(", ")"), ("[", "]"), ("{", "}")][self.below(3)];
        self.put(open);
        if open == "{" && self.one_in(2) {
            self.pair(depth);
        } else {
            self.expression(depth);
        }
        for _ in 0..=self.below(2) {
            self.put_one(&[" for ", " for ", " async for "]);
            self.targets(1);
            self.put(" in ");
            self.expression(depth);
            if self.one_in(2) {
                self.put(" if ");
                self.expression(depth);
            }
        }
        self.put(close);
    }

    pub fn target(&mut self, depth: u32) {
        match self.below(10) {
            0 if depth > 0 => {
                self.put("(");
                self.several(2, depth - 1, Self::target);
                self.put(")");
            }
            1 if depth > 0 => {
                self.put("[");
                self.several(2, depth - 1, Self::target);
                self.put("]");
            }
            2 => self.put_one(&[
                "*a", "*a.b", "a[0]", "a.b", "a().b", "a[1:2].c", "(a)", "(a).b", "(a)[0]",
            ]),
            _ => self.plain_name(),
        }
    }

    pub fn targets(&mut self, depth: u32) {
        if self.one_in(3) {
            self.several(2, depth, Self::target);
        } else {
            self.target(depth);
        }
    }

    pub fn parameter(&mut self, depth: u32) {
        match self.below(8) {
            0 => self.put_one(&["*", "/", "*args", "**kwargs", "*, a"]),
            1 | 2 => {
                self.plain_name();
                self.put("=");
                self.expression(depth);
            }
            _ => self.plain_name(),
        }
    }

    pub fn typed_parameter(&mut self, depth: u32) {
        match self.below(3) {
            0 => {
                self.put_one(&["a: ", "*args: ", "**kw: ", "self:"]);
                self.annotation(depth);
                if self.one_in(3) {
                    self.put(" = ");
                    self.expression(depth);
                }
            }
            _ => self.parameter(depth),
        }
    }

    pub fn annotation(&mut self, depth: u32) {
        match self.below(10) {
            0..4 => self.put_one(&[
                "int",
                "List[int]",
                "a.B[c]",
                "'T'",
                "None",
                "int | None",
                "Dict[str, List[int]]",
                "List[int] | None",
                "Callable[[int], str]",
                "Callable[..., a]",
                "a | List[b]",
                "List[int,]",
                "List[a][b]",
                "List[a].b",
                "type[a]",
                "Literal['a', 1]",
                "List[a] | List[b] | c",
            ]),
            4 if depth > 0 => {
                self.plain_name();
                self.put("[");
                self.several(2, depth - 1, Self::annotation);
                self.put("]");
            }
            _ => self.expression(depth.min(2)),
        }
    }
}
