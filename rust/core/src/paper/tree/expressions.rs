//! Expressions of the grammar in, those of CPython 3.9's `ast` out.

use tree_sitter::Node;

use super::{DEEPEST, Id, Ids, Maker, NotPython, Use, field, fields, has, named};
use crate::paper::bucket;
use crate::paper::table::{binary, comparison, node, operator};

impl Maker<'_> {
    pub(super) fn expression(&mut self, n: Node<'_>, used: Use) -> Id {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(NotPython);
        }
        let made = match self.leading_splat(n) {
            Some(splat) => {
                // `*a.b(c)` in a list: the grammar stars `a` alone.
                let outer = self.known.replace(splat);
                let value = self.expression_of(n, Use::Load)?;
                self.known = outer;
                let context = self.context(used);
                Ok(self.make("Starred", vec![value, context]))
            }
            None => self.expression_of(n, used),
        };
        self.depth -= 1;
        made
    }

    /// The star that the grammar puts on what a chain of attributes, calls and subscripts begins with, if this is
    /// the whole chain.
    fn leading_splat(&self, n: Node<'_>) -> Option<usize> {
        let mut at = n;
        while matches!(at.kind(), "attribute" | "call" | "subscript") {
            at = at.named_child(0)?;
        }
        (at.kind() == "list_splat" && at != n && self.known != Some(at.id())).then(|| at.id())
    }

    /// One expression, or several with commas between them.
    pub(super) fn listed(&mut self, nodes: &[Node<'_>], commas: bool, used: Use) -> Id {
        match nodes {
            [only] if !commas => self.expression(*only, used),
            _ => self.sequence("Tuple", nodes, used),
        }
    }

    fn sequence(&mut self, kind: &str, nodes: &[Node<'_>], used: Use) -> Id {
        let mut parts = self.each(nodes, used)?;
        parts.push(self.context(used));
        Ok(self.make(kind, parts))
    }

    fn expression_of(&mut self, n: Node<'_>, used: Use) -> Id {
        let children = named(n);
        let first = children.first().copied().ok_or(NotPython);
        Ok(match n.kind() {
            "identifier" => {
                let carries = bucket(self.text(n).as_bytes());
                let context = self.context(used);
                self.carrying("Name", carries, vec![context])
            }
            "true" | "false" => self.constant("bool"),
            "none" => self.constant("NoneType"),
            "ellipsis" => self.constant("ellipsis"),
            "integer" | "float" => self.number(n)?,
            "string" => self.strings(&[n])?,
            "concatenated_string" => self.strings(&children)?,
            "parenthesized_expression" if self.known == Some(n.id()) => {
                let load = self.context(Use::Load);
                let name = self.carrying("Name", bucket(b"type"), vec![load]);
                let argument = self.expression(first?, Use::Load)?;
                self.make("Call", vec![name, argument])
            }
            "list_splat" if self.known == Some(n.id()) => self.expression(first?, Use::Load)?,
            // A target in brackets.
            "tuple_pattern" if children.len() == 1 && !has(n, ",") => {
                self.expression(first?, used)?
            }
            "parenthesized_expression" | "type" | "as_pattern_target" => {
                self.expression(first?, used)?
            }
            "expression_list" | "pattern_list" | "tuple" | "tuple_pattern" => {
                self.sequence("Tuple", &children, used)?
            }
            "list" | "list_pattern" => self.sequence("List", &children, used)?,
            "list_splat" | "list_splat_pattern" | "splat_type" => {
                let value = self.expression(first?, used)?;
                let context = self.context(used);
                self.make("Starred", vec![value, context])
            }
            "attribute" | "member_type" => {
                let [value, name] = children.as_slice() else {
                    return Err(NotPython);
                };
                let carries = bucket(self.text(*name).as_bytes());
                let parts = vec![self.expression(*value, Use::Load)?, self.context(used)];
                self.carrying("Attribute", carries, parts)
            }
            "subscript" => {
                let value = self.expression(field(n, "value")?, Use::Load)?;
                let inner = fields(n, "subscript");
                let slice = self.listed(&inner, has(n, ","), Use::Load)?;
                let context = self.context(used);
                self.make("Subscript", vec![value, slice, context])
            }
            "generic_type" => {
                let [value, parameters] = children.as_slice() else {
                    return Err(NotPython);
                };
                let value = self.expression(*value, Use::Load)?;
                let inner = named(*parameters);
                let slice = self.listed(&inner, has(*parameters, ","), Use::Load)?;
                let context = self.context(used);
                self.make("Subscript", vec![value, slice, context])
            }
            "union_type" => self.union(n)?,
            "slice" => self.slice(n)?,
            "call" => self.call(n)?,
            "binary_operator" => {
                let class = binary(self.text(field(n, "operator")?)).ok_or(NotPython)?;
                self.binary_of(field(n, "left")?, class, field(n, "right")?)?
            }
            "unary_operator" | "not_operator" => {
                let class = match n.child_by_field_name("operator").map(|o| o.kind()) {
                    Some("-") => "USub",
                    Some("+") => "UAdd",
                    Some("~") => "Invert",
                    _ => "Not",
                };
                let op = self.shared(class);
                let value = self.expression(field(n, "argument")?, Use::Load)?;
                self.carrying("UnaryOp", operator(class), vec![op, value])
            }
            "boolean_operator" => self.boolean(n)?,
            "comparison_operator" => self.compare(n, &children)?,
            "conditional_expression" => {
                let [body, test, other] = children.as_slice() else {
                    return Err(NotPython);
                };
                let parts = self.each(&[*test, *body, *other], Use::Load)?;
                self.make("IfExp", parts)
            }
            "named_expression" => {
                let target = self.expression(field(n, "name")?, Use::Store)?;
                let value = self.expression(field(n, "value")?, Use::Load)?;
                self.make("NamedExpr", vec![target, value])
            }
            "lambda" => {
                let parameters = match n.child_by_field_name("parameters") {
                    Some(list) => self.parameters(list)?,
                    None => self.unknown(vec![]),
                };
                let body = self.expression(field(n, "body")?, Use::Load)?;
                self.make("Lambda", vec![parameters, body])
            }
            "set" => {
                let parts = self.each(&children, Use::Load)?;
                self.make("Set", parts)
            }
            "dictionary" => self.dictionary(&children)?,
            "list_comprehension" => self.comprehension("ListComp", n)?,
            "set_comprehension" => self.comprehension("SetComp", n)?,
            "dictionary_comprehension" => self.comprehension("DictComp", n)?,
            "generator_expression" => self.comprehension("GeneratorExp", n)?,
            "await" => {
                let value = self.expression(first?, Use::Load)?;
                self.make("Await", vec![value])
            }
            "yield" => {
                let parts = self.each(&children, Use::Load)?;
                self.make(if has(n, "from") { "YieldFrom" } else { "Yield" }, parts)
            }
            // An annotation or a value that is written like an assignment.
            _ => return Err(NotPython),
        })
    }

    fn binary_of(&mut self, left: Node<'_>, class: &str, right: Node<'_>) -> Id {
        let left = self.expression(left, Use::Load)?;
        let op = self.shared(class);
        let right = self.expression(right, Use::Load)?;
        Ok(self.carrying("BinOp", operator(class), vec![left, op, right]))
    }

    /// The grammar reads `A[b] | c | d` from the right, as two types.
    fn union(&mut self, n: Node<'_>) -> Id {
        let mut operands = Vec::new();
        let mut waiting = vec![n];
        while let Some(at) = waiting.pop() {
            let is_or = at.kind() == "binary_operator" && field(at, "operator")?.kind() == "|";
            let is_type = at.kind() == "type" && at.named_child_count() == 1;
            if is_or || is_type || at.kind() == "union_type" {
                waiting.extend(named(at).into_iter().rev());
            } else {
                operands.push(at);
            }
        }
        let (first, others) = operands.split_first().ok_or(NotPython)?;
        let mut left = self.expression(*first, Use::Load)?;
        for &other in others {
            let op = self.shared("BitOr");
            let right = self.expression(other, Use::Load)?;
            left = self.carrying("BinOp", operator("BitOr"), vec![left, op, right]);
        }
        Ok(left)
    }

    /// `a and b and c` is one node with three values.
    fn boolean(&mut self, n: Node<'_>) -> Id {
        let word = field(n, "operator")?.kind();
        let class = if word == "and" { "And" } else { "Or" };
        let mut values = vec![field(n, "right")?];
        let mut left = field(n, "left")?;
        while left.kind() == "boolean_operator" && field(left, "operator")?.kind() == word {
            values.push(field(left, "right")?);
            left = field(left, "left")?;
        }
        values.push(left);
        values.reverse();
        let mut parts = vec![self.shared(class)];
        parts.extend(self.each(&values, Use::Load)?);
        Ok(self.carrying("BoolOp", operator(class), parts))
    }

    fn compare(&mut self, n: Node<'_>, operands: &[Node<'_>]) -> Id {
        let mut cursor = n.walk();
        let classes: Option<Vec<&str>> = n
            .children_by_field_name("operators", &mut cursor)
            .map(|o| {
                comparison(
                    &self
                        .text(o)
                        .split_whitespace()
                        .collect::<Vec<_>>()
                        .join(" "),
                )
            })
            .collect();
        let classes = classes.ok_or(NotPython)?;
        let (left, others) = operands.split_first().ok_or(NotPython)?;
        let first = classes.first().copied().ok_or(NotPython)?;
        if classes.len() != others.len() {
            return Err(NotPython);
        }
        let mut parts = vec![self.expression(*left, Use::Load)?];
        parts.extend(
            classes
                .iter()
                .map(|class| self.shared(class))
                .collect::<Vec<_>>(),
        );
        parts.extend(self.each(others, Use::Load)?);
        Ok(self.carrying("Compare", operator(first), parts))
    }

    fn number(&mut self, n: Node<'_>) -> Id {
        let text = self.text(n).to_ascii_lowercase();
        let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
        if text.ends_with('l')
            || (is_decimal
                && text.starts_with('0')
                && text.bytes().any(|b| (b'1'..=b'9').contains(&b)))
        {
            return Err(NotPython); // Python 2's long and octal numbers
        }
        let is_hexadecimal = text.starts_with("0x");
        Ok(self.constant(match n.kind() {
            _ if text.ends_with('j') => "complex",
            "integer" if is_hexadecimal || !text.contains(['.', 'e']) => "int",
            _ => "float",
        }))
    }

    fn slice(&mut self, n: Node<'_>) -> Id {
        let parts = self.each(&named(n), Use::Load)?;
        Ok(self.make("Slice", parts))
    }

    fn call(&mut self, n: Node<'_>) -> Id {
        let mut parts = vec![self.expression(field(n, "function")?, Use::Load)?];
        let list = field(n, "arguments")?;
        if list.kind() == "generator_expression" {
            parts.push(self.expression(list, Use::Load)?);
        } else {
            parts.extend(self.arguments(list)?);
        }
        Ok(self.make("Call", parts))
    }

    /// Positional arguments, then keywords.
    pub(super) fn arguments(&mut self, list: Node<'_>) -> Ids {
        let (mut plain, mut keywords) = (Vec::new(), Vec::new());
        for a in named(list) {
            match a.kind() {
                "keyword_argument" => {
                    let value = self.expression(field(a, "value")?, Use::Load)?;
                    keywords.push(self.unknown(vec![value]));
                }
                "dictionary_splat" => {
                    let inner = named(a).first().copied().ok_or(NotPython)?;
                    let value = self.expression(inner, Use::Load)?;
                    keywords.push(self.unknown(vec![value]));
                }
                _ => plain.push(self.expression(a, Use::Load)?),
            }
        }
        Ok([plain, keywords].concat())
    }

    /// Keys, without those of `**`, then values.
    fn dictionary(&mut self, children: &[Node<'_>]) -> Id {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for &c in children {
            if c.kind() == "pair" {
                keys.push(self.expression(field(c, "key")?, Use::Load)?);
                values.push(self.expression(field(c, "value")?, Use::Load)?);
            } else {
                let inner = named(c).first().copied().ok_or(NotPython)?;
                values.push(self.expression(inner, Use::Load)?);
            }
        }
        let parts = [keys, values].concat();
        Ok(self.make("Dict", parts))
    }

    fn comprehension(&mut self, kind: &str, n: Node<'_>) -> Id {
        let body = field(n, "body")?;
        let mut parts = if body.kind() == "pair" {
            vec![
                self.expression(field(body, "key")?, Use::Load)?,
                self.expression(field(body, "value")?, Use::Load)?,
            ]
        } else {
            vec![self.expression(body, Use::Load)?]
        };
        let mut clause: Vec<usize> = Vec::new();
        for c in named(n) {
            match c.kind() {
                "for_in_clause" => {
                    if !clause.is_empty() {
                        let whole = std::mem::take(&mut clause);
                        parts.push(self.unknown(whole));
                    }
                    let right = fields(c, "right");
                    let [right] = right.as_slice() else {
                        return Err(NotPython);
                    };
                    clause = vec![
                        self.expression(field(c, "left")?, Use::Store)?,
                        self.expression(*right, Use::Load)?,
                    ];
                }
                "if_clause" => {
                    let test = named(c).first().copied().ok_or(NotPython)?;
                    clause.push(self.expression(test, Use::Load)?);
                }
                _ => {}
            }
        }
        parts.push(self.unknown(clause));
        Ok(self.make(kind, parts))
    }

    /// Strings that stand next to each other are one constant, or one f-string.
    fn strings(&mut self, strings: &[Node<'_>]) -> Id {
        let mut is_bytes = false;
        let mut is_format = false;
        for &s in strings {
            let prefix = self.prefix(s);
            is_bytes |= prefix.contains('b');
            is_format |= prefix.contains('f');
            let is_quoted = self.text(s)[prefix.len()..].starts_with(['"', '\'']);
            if prefix.contains('t') || !is_quoted {
                return Err(NotPython); // template strings, and Python 2's backquotes
            }
        }
        if !is_format {
            return Ok(self.constant(if is_bytes { "bytes" } else { "str" }));
        }
        let mut parts = Vec::new();
        let mut pending = false;
        for &s in strings {
            self.format_parts(s, &mut parts, &mut pending)?;
        }
        if pending {
            parts.push(self.constant("str"));
        }
        Ok(self.make("JoinedStr", parts))
    }

    fn prefix(&self, s: Node<'_>) -> String {
        let text = self.text(s);
        let end = text.find(['"', '\'']).unwrap_or(0);
        text[..end].to_ascii_lowercase()
    }

    /// The parts of one string; literal text that touches is one constant, which `pending` says has begun.
    fn format_parts(
        &mut self,
        s: Node<'_>,
        parts: &mut Vec<usize>,
        pending: &mut bool,
    ) -> std::result::Result<(), NotPython> {
        let is_raw = self.prefix(s).contains('r');
        for c in named(s) {
            match c.kind() {
                "string_start" | "string_end" => {}
                "interpolation" => {
                    // `{x=}` is the text 'x=' and the value.
                    *pending |= has(c, "=");
                    if std::mem::take(pending) {
                        parts.push(self.constant("str"));
                    }
                    parts.push(self.interpolation(c)?);
                }
                // A line that is continued is no text.
                _ => {
                    let text = self.text(c);
                    *pending |=
                        !text.is_empty() && (is_raw || !text.replace("\\\n", "").is_empty());
                }
            }
        }
        Ok(())
    }

    fn interpolation(&mut self, n: Node<'_>) -> Id {
        let value = self.expression(field(n, "expression")?, Use::Load)?;
        let mut inner = vec![value];
        if let Some(format) = n.child_by_field_name("format_specifier") {
            inner.push(self.format_specifier(format)?);
        }
        Ok(self.push(node("FormattedValue"), None, false, inner))
    }

    /// Text and nested values after the colon.
    fn format_specifier(&mut self, n: Node<'_>) -> Id {
        let mut parts = Vec::new();
        let mut at = n.start_byte() + 1; // behind the colon
        for c in named(n) {
            if c.start_byte() > at {
                parts.push(self.constant("str"));
            }
            if matches!(c.kind(), "format_expression" | "interpolation") {
                parts.push(self.interpolation(c)?);
            } else {
                return Err(NotPython);
            }
            at = c.end_byte();
        }
        if n.end_byte() > at {
            parts.push(self.constant("str"));
        }
        Ok(self.make("JoinedStr", parts))
    }
}
