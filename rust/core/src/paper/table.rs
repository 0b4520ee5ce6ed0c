//! The papers' layout: node types and operators by name, in the order of their ids.

use super::{FIRST_BUCKET, FIRST_OPERATOR};

/// Identifier buckets.
pub(super) const BUCKETS: u16 = 512;
/// Depth markers; deeper nodes carry the last one.
pub(super) const DEPTHS: u16 = 16;

/// Every class of CPython 3.9's `ast` that the layout has, in alphabetical order; a name's place is its id.
pub(super) const NODES: [&str; 102] = [
    "Add",
    "And",
    "AnnAssign",
    "Assert",
    "Assign",
    "AsyncFor",
    "AsyncFunctionDef",
    "AsyncWith",
    "Attribute",
    "AugAssign",
    "AugLoad",
    "AugStore",
    "Await",
    "BinOp",
    "BitAnd",
    "BitOr",
    "BitXor",
    "BoolOp",
    "Break",
    "Bytes",
    "Call",
    "ClassDef",
    "Compare",
    "Constant",
    "Continue",
    "Del",
    "Delete",
    "Dict",
    "DictComp",
    "Div",
    "Ellipsis",
    "Eq",
    "ExceptHandler",
    "Expr",
    "Expression",
    "ExtSlice",
    "FloorDiv",
    "For",
    "FormattedValue",
    "FunctionDef",
    "FunctionType",
    "GeneratorExp",
    "Global",
    "Gt",
    "GtE",
    "If",
    "IfExp",
    "Import",
    "ImportFrom",
    "In",
    "Index",
    "Interactive",
    "Invert",
    "Is",
    "IsNot",
    "JoinedStr",
    "LShift",
    "Lambda",
    "List",
    "ListComp",
    "Load",
    "Lt",
    "LtE",
    "MatMult",
    "Mod",
    "Module",
    "Mult",
    "Name",
    "NameConstant",
    "NamedExpr",
    "Nonlocal",
    "Not",
    "NotEq",
    "NotIn",
    "Num",
    "Or",
    "Param",
    "Pass",
    "Pow",
    "RShift",
    "Raise",
    "Return",
    "Set",
    "SetComp",
    "Slice",
    "Starred",
    "Store",
    "Str",
    "Sub",
    "Subscript",
    "Suite",
    "Try",
    "Tuple",
    "TypeIgnore",
    "UAdd",
    "USub",
    "UnaryOp",
    "While",
    "With",
    "Yield",
    "YieldFrom",
    "slice",
];

/// Operators by class, in the order of the abstract grammar; the papers' notes give their number and families only.
pub(super) const OPERATORS: [&str; 29] = [
    "Add", "Sub", "Mult", "MatMult", "Div", "Mod", "Pow", "LShift", "RShift", "BitOr", "BitXor",
    "BitAnd", "FloorDiv", "Invert", "Not", "UAdd", "USub", "And", "Or", "Eq", "NotEq", "Lt", "LtE",
    "Gt", "GtE", "Is", "IsNot", "In", "NotIn",
];

/// The id of a node type, which must be one of the table's.
pub(super) fn node(name: &str) -> u16 {
    let at = NODES.binary_search(&name);
    debug_assert!(at.is_ok(), "no node type {name}");
    // 102 of them: it fits.
    at.unwrap_or(usize::from(FIRST_BUCKET)) as u16
}

/// The id of an operator's own token.
pub(super) fn operator(name: &str) -> u16 {
    let at = OPERATORS.iter().position(|&o| o == name);
    debug_assert!(at.is_some(), "no operator {name}");
    FIRST_OPERATOR + at.unwrap_or(0) as u16
}

/// The class of an operator as it is written, with two operands.
pub(super) fn binary(text: &str) -> Option<&'static str> {
    Some(match text {
        "+" => "Add",
        "-" => "Sub",
        "*" => "Mult",
        "@" => "MatMult",
        "/" => "Div",
        "%" => "Mod",
        "**" => "Pow",
        "<<" => "LShift",
        ">>" => "RShift",
        "|" => "BitOr",
        "^" => "BitXor",
        "&" => "BitAnd",
        "//" => "FloorDiv",
        _ => return None,
    })
}

/// The class of a comparison as it is written.
pub(super) fn comparison(text: &str) -> Option<&'static str> {
    Some(match text {
        "==" => "Eq",
        "!=" => "NotEq",
        "<" => "Lt",
        "<=" => "LtE",
        ">" => "Gt",
        ">=" => "GtE",
        "is" => "Is",
        "is not" => "IsNot",
        "in" => "In",
        "not in" => "NotIn",
        _ => return None,
    })
}
