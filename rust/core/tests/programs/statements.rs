//! Statements of a random program, and the program itself.

use super::Writer;

impl Writer {
    fn list(&mut self, depth: u32) {
        if self.one_in(4) {
            self.several(2, depth, Self::element);
        } else {
            self.expression(depth);
        }
    }

    fn simple(&mut self, depth: u32) {
        match self.below(24) {
            0..5 => {
                self.targets(2);
                self.put_one(&[" = ", "=", " += ", " = a = ", " **= ", " = yield "]);
                self.list(depth);
            }
            5 => {
                self.plain_name();
                self.put_one(&[": ", ".a: ", "[0]: "]);
                self.annotation(depth);
                if self.one_in(2) {
                    self.put(" = ");
                    self.list(depth);
                }
            }
            6 => {
                self.put("return ");
                self.list(depth);
            }
            7 => self.put_one(&[
                "pass",
                "break",
                "continue",
                "return",
                "raise",
                "yield",
                "...",
                "global a, b",
                "nonlocal c",
            ]),
            8 => {
                self.put("raise ");
                self.list(depth);
                self.put_one(&["", " from None", " from a.b", ", b"]);
            }
            9 => {
                self.put("del ");
                self.list(depth);
            }
            10 => {
                self.put("assert ");
                self.expression(depth);
                self.put_one(&["", ", 'why'", ", (a, b)"]);
            }
            11 => self.put_one(&[
                "import a",
                "import a.b as c, d",
                "from a import b",
                "from . import a",
                "from ..a.b import (c as d, e,)",
                "from a import *",
                "from __future__ import a",
                "from __future__ import (a, b)",
                "from ... import a",
                "from .print import type",
                "import a as b, ",
                "from a import b,",
                "from a import (b\n)",
            ]),
            12 => {
                self.put_one(&["yield ", "yield from ", "x = yield ", "await "]);
                self.list(depth);
            }
            13 => self.put_one(&[
                "print a",
                "print 'a', b",
                "print >>f, a",
                "exec a in b",
                "exec('a')",
                "print(a), b",
                "print (a) % b",
                "type X = int",
                "type(a).b = c",
                "match = a",
                "match.b()",
                "match(a)",
                "type[a] = b",
                "print",
                "print(*a.b())",
                "exec = a",
                "a `b`",
                "type = 1",
                "case = 2",
                "_ = _('a')",
            ]),
            14 => self.text(depth),
            15 => {
                self.simple(depth.saturating_sub(1));
                self.put_one(&["; ", ";", " ; "]);
                self.simple(depth.saturating_sub(1));
                self.put_one(&["", ";"]);
            }
            _ => self.list(depth),
        }
    }

    fn line(&mut self, indent: usize) {
        let space = " ".repeat(indent);
        self.put(&space);
    }

    fn suite(&mut self, indent: usize, depth: u32) {
        if self.one_in(8) {
            self.put(" ");
            self.simple(depth);
            self.put_one(&["\n", "  # c\n"]);
            return;
        }
        self.put_one(&["\n", "\n", "  # c\n", "\n\n"]);
        let inner = indent + [4, 4, 4, 2, 8][self.below(5)];
        for _ in 0..=self.below(3) {
            self.statement(inner, depth);
        }
        if self.one_in(6) {
            let at = self.below(inner + 3);
            self.line(at);
            self.put("# after\n");
        }
    }

    fn statement(&mut self, indent: usize, depth: u32) {
        if self.one_in(9) {
            self.put_one(&["\n", "# c\n", "    # c\n", "        # c\n"]);
        }
        self.line(indent);
        if depth == 0 || self.below(3) > 0 {
            self.simple(depth.min(3));
            self.put_one(&["\n", "\n", "\n", "  # c\n", "\n\n", "\r\n"]);
            return;
        }
        let d = depth - 1;
        match self.below(9) {
            0 | 1 => {
                self.put("if ");
                self.expression(d);
                self.put(":");
                self.suite(indent, d);
                for _ in 0..self.below(2) {
                    self.line(indent);
                    self.put("elif ");
                    self.expression(d);
                    self.put(":");
                    self.suite(indent, d);
                }
                self.maybe("else", indent, d);
            }
            2 => {
                self.put_one(&["for ", "for ", "async for "]);
                self.targets(2);
                self.put(" in ");
                self.list(d);
                self.put(":");
                self.suite(indent, d);
                self.maybe("else", indent, d);
            }
            3 => {
                self.put("while ");
                self.expression(d);
                self.put(":");
                self.suite(indent, d);
                self.maybe("else", indent, d);
            }
            4 => {
                self.put("try:");
                self.suite(indent, d);
                for _ in 0..self.below(3) {
                    self.line(indent);
                    self.put_one(&[
                        "except:",
                        "except A:",
                        "except (A, b.C) as e:",
                        "except A as e:",
                        "except A, e:",
                        "except* A:",
                    ]);
                    self.suite(indent, d);
                }
                self.maybe("else", indent, d);
                self.maybe("finally", indent, d);
            }
            5 => {
                self.put_one(&["with ", "with ", "async with "]);
                self.put_one(&[
                    "a",
                    "a as b",
                    "a() as b, c as d",
                    "(a as b, c)",
                    "(a)",
                    "a if b else c as d",
                    "a as (b, c)",
                ]);
                self.put(":");
                self.suite(indent, d);
            }
            6 => {
                if self.one_in(3) {
                    self.put_one(&["match a:\n", "match (a, b):\n"]);
                    self.line(indent + 4);
                    self.put_one(&[
                        "case 1:",
                        "case A(b=c):",
                        "case [a, *_]:",
                        "case {'k': v} if v:",
                        "case _:",
                    ]);
                    self.suite(indent + 4, d);
                } else {
                    self.simple(d);
                    self.put("\n");
                }
            }
            _ => {
                for _ in 0..self.below(2) {
                    self.put("@");
                    self.expression(d.min(2));
                    self.put_one(&["\n", "  # c\n", "\n# c\n"]);
                    self.line(indent);
                }
                if self.one_in(3) {
                    self.put("class ");
                    self.plain_name();
                    self.put_one(&["", "()", "(A)", "(a.B, metaclass=C)", "(*a, **b)", "[T]"]);
                } else {
                    self.put_one(&["def ", "def ", "async def "]);
                    self.name();
                    self.put("(");
                    if !self.one_in(3) {
                        self.several(3, d.min(2), Self::typed_parameter);
                    }
                    self.put(")");
                    if self.one_in(4) {
                        self.put(" -> ");
                        self.annotation(d);
                    }
                }
                self.put(":");
                self.suite(indent, d);
            }
        }
    }

    fn maybe(&mut self, clause: &str, indent: usize, depth: u32) {
        if self.one_in(2) {
            if self.one_in(4) {
                let at = self.below(indent + 5);
                self.line(at);
                self.put("# before\n");
            }
            self.line(indent);
            self.put(clause);
            self.put(":");
            self.suite(indent, depth);
        }
    }

    pub fn program(mut self) -> String {
        for _ in 0..=self.below(4) {
            self.statement(0, 4);
        }
        self.out
    }
}
