//! Syntax nodes in, a state's tokens and the names it uses out.
//!
//! One depth-first walk with an explicit stack (deeply nested input must not overflow ours), by the rules of
//! [`crate::vocab`]. A class or module unit leaves out the definitions inside it: they are units of their own.

use std::sync::LazyLock;

use tree_sitter::{Node, TreeCursor};

use crate::units::Origin;
use crate::vocab::{self, Operators, Rule, vocabulary};

/// How a name is used; a set of bits.
pub type NameFlags = u8;
/// The name is called.
pub const NAME_CALL: NameFlags = 1;
/// The name is imported.
pub const NAME_IMPORT: NameFlags = 2;
/// The name is an attribute.
pub const NAME_ATTRIBUTE: NameFlags = 4;
/// The unit had the name before the edit.
pub const NAME_IN_UNIT: NameFlags = 8;
/// The file had the name before the edit.
pub const NAME_IN_MODULE: NameFlags = 16;
/// The name is bound here: a parameter, an assignment's target, a definition.
pub const NAME_BOUND: NameFlags = 32;
/// The name is a keyword of a call (`f(key=1)`): it belongs to the called function, not to this scope.
pub const NAME_KEYWORD: NameFlags = 64;

/// One use of a name: its bytes in the source, how it is used, on which line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameUse {
    /// First byte in the source.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// How it is used.
    pub flags: NameFlags,
    /// Line, from 1.
    pub line: u32,
}

impl NameUse {
    /// Its bytes in the source.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What a walk over one unit yields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenStream {
    /// Token ids, unwindowed.
    pub tokens: Vec<u16>,
    /// The source line of each token, from 1.
    pub lines: Vec<u32>,
    /// Uses of names, in order.
    pub names: Vec<NameUse>,
    /// Byte ranges of definitions that were left out.
    pub left_out: Vec<(usize, usize)>,
}

/// What the walk remembers of each ancestor.
struct Frame {
    rule: Rule,
    operators: Operators,
    role: Role,
    /// An attribute that is being called.
    is_called: bool,
    depth: u16,
    in_import: bool,
}

/// What a syntax kind means for the nodes below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Other,
    Module,
    Block,
    Import,
    Attribute,
    Call,
    KeywordArgument,
    /// Every identifier directly below is bound.
    Binds,
    /// The identifier in the field `name` is bound.
    BindsName,
    /// The identifier in the field `left` is bound.
    BindsLeft,
    /// A function or class, which binds its name and opens a unit of its own.
    Definition,
    Decorated,
}

impl Role {
    fn of(kind: &str) -> Self {
        match kind {
            "module" => Role::Module,
            "block" => Role::Block,
            "import_statement" | "import_from_statement" | "future_import_statement" => {
                Role::Import
            }
            "attribute" => Role::Attribute,
            "call" => Role::Call,
            "keyword_argument" => Role::KeywordArgument,
            "parameters"
            | "lambda_parameters"
            | "typed_parameter"
            | "list_splat_pattern"
            | "dictionary_splat_pattern"
            | "pattern_list"
            | "tuple_pattern"
            | "list_pattern"
            | "as_pattern_target" => Role::Binds,
            "default_parameter" | "typed_default_parameter" | "named_expression" => Role::BindsName,
            "assignment" | "augmented_assignment" | "for_statement" | "for_in_clause" => {
                Role::BindsLeft
            }
            "function_definition" | "class_definition" => Role::Definition,
            "decorated_definition" => Role::Decorated,
            _ => Role::Other,
        }
    }
}

/// What of the grammar the walk looks up by number: names are compared once, not at every node.
struct Grammar {
    /// By symbol.
    roles: Vec<Role>,
    is_async: Vec<bool>,
    attribute: u16,
    function: u16,
    name: u16,
    left: u16,
}

static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| {
    let language = vocab::language();
    // The grammar has at most 65,535 symbols by its own type.
    let symbols = 0..language.node_kind_count() as u16;
    let kind = |symbol: u16| language.node_kind_for_id(symbol).unwrap_or("");
    let field = |name: &str| language.field_id_for_name(name).map_or(0, |id| id.get());
    Grammar {
        roles: symbols
            .clone()
            .map(|s| {
                if language.node_kind_is_named(s) {
                    Role::of(kind(s))
                } else {
                    Role::Other
                }
            })
            .collect(),
        is_async: symbols.map(|s| kind(s) == "async").collect(),
        attribute: field("attribute"),
        function: field("function"),
        name: field("name"),
        left: field("left"),
    }
});

/// The field of its parent that the node under the cursor fills, 0 for none.
fn field_of(cursor: &TreeCursor<'_>) -> u16 {
    cursor.field_id().map_or(0, |id| id.get())
}

/// Where a walk starts: what its root's ancestors would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Definitions inside are part of it (functions), not units of their own.
    pub nested: bool,
    /// Statement depth of the root.
    pub depth: u16,
    /// Nothing but comments stands before the root in its suite, so it may be a docstring.
    pub first: bool,
    /// Of a definition, only what stands before its body.
    pub without_body: bool,
}

impl Setting {
    /// A unit's own root, or the first statement of a module.
    pub const fn unit(nested: bool) -> Self {
        Setting {
            nested,
            depth: 0,
            first: true,
            without_body: false,
        }
    }
}

/// Whether a node opens a unit of its own.
pub fn is_definition(kind: &str) -> bool {
    matches!(
        kind,
        "function_definition" | "class_definition" | "decorated_definition"
    )
}

impl TokenStream {
    /// Appends a stream whose positions count from `origin`.
    pub(crate) fn append(&mut self, other: &TokenStream, origin: Origin) {
        // Sources are capped far below 4 GiB by `units::parse_tree`.
        let byte = origin.byte as u32;
        self.tokens.extend_from_slice(&other.tokens);
        self.lines
            .extend(other.lines.iter().map(|l| l + origin.line));
        self.names.extend(other.names.iter().map(|n| NameUse {
            start: n.start + byte,
            end: n.end + byte,
            flags: n.flags,
            line: n.line + origin.line,
        }));
    }

    /// Makes positions count from `origin`, which lies before all of them.
    pub(crate) fn subtract(&mut self, origin: Origin) {
        let byte = origin.byte as u32;
        self.lines.iter_mut().for_each(|l| *l -= origin.line);
        for n in &mut self.names {
            n.start -= byte;
            n.end -= byte;
            n.line -= origin.line;
        }
        for (start, end) in &mut self.left_out {
            *start -= origin.byte;
            *end -= origin.byte;
        }
    }

    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.lines.clear();
        self.names.clear();
        self.left_out.clear();
    }

    /// Gives back memory that it does not need; for streams that are kept.
    pub(crate) fn shrink(&mut self) {
        self.tokens.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.names.shrink_to_fit();
        self.left_out.shrink_to_fit();
    }

    fn push(&mut self, token: u16, line: u32) {
        self.tokens.push(token);
        self.lines.push(line);
    }

    /// Appends the tokens of `root` and all below it.
    pub fn walk(&mut self, root: Node<'_>, source: &[u8], setting: Setting) {
        let mut cursor = root.walk();
        let mut stack: Vec<Frame> = Vec::new();
        loop {
            let descend = self.enter(&cursor, source, &mut stack, setting);
            if descend && cursor.goto_first_child() {
                continue;
            }
            if descend {
                self.leave(&mut stack, &cursor);
            }
            loop {
                // The root's own siblings are not ours to visit.
                if stack.is_empty() {
                    return;
                }
                if cursor.goto_next_sibling() {
                    break;
                }
                cursor.goto_parent();
                self.leave(&mut stack, &cursor);
            }
        }
    }

    fn leave(&mut self, stack: &mut Vec<Frame>, cursor: &TreeCursor<'_>) {
        if let Some(Frame {
            rule: Rule::Bracket(_),
            ..
        }) = stack.pop()
        {
            self.push(vocab::END, line_of(cursor.node().end_position().row));
        }
    }

    /// Emits a node; true if its children are to be visited, with a frame pushed for it.
    fn enter(
        &mut self,
        cursor: &TreeCursor<'_>,
        source: &[u8],
        stack: &mut Vec<Frame>,
        setting: Setting,
    ) -> bool {
        let node = cursor.node();
        let grammar = &*GRAMMAR;
        let symbol = node.kind_id();
        let line = line_of(node.start_position().row);
        let (depth, in_import, parent_operators) = match stack.last() {
            Some(f) => (f.depth, f.in_import, f.operators),
            None => (setting.depth, false, Operators::Hidden),
        };
        if node.is_missing() {
            self.push(vocab::ERROR, line);
            return false;
        }
        let mut frame = Frame {
            rule: Rule::Transparent,
            operators: Operators::Hidden,
            role: grammar
                .roles
                .get(usize::from(symbol))
                .copied()
                .unwrap_or(Role::Other),
            is_called: false,
            depth,
            in_import,
        };
        if node.is_error() {
            self.push(vocab::ERROR, line);
            stack.push(frame);
            return true;
        }
        // The definition directly under a decorated root is the root's own.
        let is_definition = matches!(frame.role, Role::Definition | Role::Decorated);
        let is_own = match &stack[..] {
            [] => true,
            [only] => only.role == Role::Decorated,
            _ => false,
        };
        if !setting.nested && is_definition && !is_own {
            self.left_out.push((node.start_byte(), node.end_byte()));
            return false;
        }
        if setting.without_body && frame.role == Role::Block {
            return false;
        }
        let v = vocabulary();
        frame.rule = v.rule(symbol);
        frame.operators = v.operators(symbol);
        match frame.rule {
            Rule::Skip => return false,
            Rule::Operator(id) => {
                let shown = match parent_operators {
                    Operators::Hidden => false,
                    Operators::Async => grammar.is_async[usize::from(symbol)],
                    Operators::Shown => true,
                };
                if shown {
                    self.push(id, line);
                }
                return false;
            }
            Rule::Identifier => {
                let text = &source[node.byte_range()];
                self.push(v.identifier.bucket(text), line);
                self.names.push(NameUse {
                    // Sources are capped far below 4 GiB by `units::parse`.
                    start: node.start_byte() as u32,
                    end: node.end_byte() as u32,
                    flags: name_flags(cursor, stack),
                    line,
                });
                return false;
            }
            Rule::Number => {
                let token = v.number.bucket(&number_text(&source[node.byte_range()]));
                self.push(token, line);
                return false;
            }
            Rule::String => {
                self.push(v.string.bucket(&string_text(node, source)), line);
                // Only interpolations are left to say; every other part of a string is a `skip` kind.
            }
            Rule::Bare => {
                self.push(depth_marker(depth), line);
                if is_docstring(node, stack, setting) {
                    self.push(vocab::DOCSTRING, line);
                    return false;
                }
            }
            Rule::Statement(id) => {
                self.push(depth_marker(depth), line);
                self.push(id, line);
            }
            Rule::Kind(id) | Rule::Bracket(id) => self.push(id, line),
            Rule::Transparent => {}
        }
        match frame.role {
            Role::Block => frame.depth = depth.saturating_add(1),
            Role::Import => frame.in_import = true,
            Role::Attribute => {
                let in_call = stack.last().is_some_and(|f| f.role == Role::Call);
                frame.is_called = in_call && field_of(cursor) == grammar.function;
            }
            _ => {}
        }
        stack.push(frame);
        true
    }
}

/// A row of the grammar as a line, from 1.
pub(crate) fn line_of(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX - 1) + 1
}

fn depth_marker(depth: u16) -> u16 {
    let range = vocabulary().depth;
    (range.first + depth).min(range.last)
}

/// The first statement of a module, class or function, if it is one plain string.
fn is_docstring(node: Node<'_>, stack: &[Frame], setting: Setting) -> bool {
    let Some(only) = node.named_child(0) else {
        return false;
    };
    if node.named_child_count() != 1 || !matches!(only.kind(), "string" | "concatenated_string") {
        return false;
    }
    let mut before = node.prev_named_sibling();
    while let Some(sibling) = before {
        if sibling.kind() != "comment" {
            return false;
        }
        before = sibling.prev_named_sibling();
    }
    // A unit of module statements starts its walk at the statement: its parent is the module itself.
    match stack {
        [] => {
            setting.first
                && node
                    .parent()
                    .is_some_and(|p| matches!(p.kind(), "module" | "block"))
        }
        [.., parent, block] if block.role == Role::Block => parent.role == Role::Definition,
        [.., parent] => parent.role == Role::Module,
    }
}

/// What of a number is hashed: lower case, without underscores.
pub(crate) fn number_text(written: &[u8]) -> Vec<u8> {
    let kept = written.iter().filter(|&&b| b != b'_');
    kept.map(u8::to_ascii_lowercase).collect()
}

/// What of a string is hashed: its prefix without quotes, lower case, and its contents as written.
fn string_text(node: Node<'_>, source: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut cursor = node.walk();
    for child in node.children(&mut cursor) {
        match child.kind() {
            "string_start" => text.extend(
                source[child.byte_range()]
                    .iter()
                    .map(u8::to_ascii_lowercase)
                    .filter(|b| b.is_ascii_alphabetic() && *b != b'u'),
            ),
            "string_content" => {
                text.push(b':');
                text.extend_from_slice(&source[child.byte_range()]);
            }
            _ => {}
        }
    }
    text
}

/// How the identifier under the cursor is used, from its field and its ancestors.
fn name_flags(cursor: &TreeCursor<'_>, stack: &[Frame]) -> NameFlags {
    let Some(parent) = stack.last() else { return 0 };
    let grammar = &*GRAMMAR;
    let mut flags = if parent.in_import { NAME_IMPORT } else { 0 };
    if parent.role == Role::Other {
        return flags;
    }
    let field = field_of(cursor);
    flags |= match parent.role {
        // `f(...)`: the identifier is the function; `a.f(...)`: the attribute around it is.
        Role::Call if field == grammar.function => NAME_CALL,
        Role::Attribute if field == grammar.attribute => {
            NAME_ATTRIBUTE | if parent.is_called { NAME_CALL } else { 0 }
        }
        Role::KeywordArgument if field == grammar.name => NAME_KEYWORD,
        Role::Binds => NAME_BOUND,
        Role::BindsName | Role::Definition if field == grammar.name => NAME_BOUND,
        Role::BindsLeft if field == grammar.left => NAME_BOUND,
        _ => 0,
    };
    flags
}
