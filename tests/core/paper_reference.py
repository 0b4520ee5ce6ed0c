"""The papers' tokens of a file, from CPython's own `ast`: the oracle of `codewm_core.paper_tokens`.

Node types are those of Python 3.9, whatever runs this; a file is a parse error where Python 3.9's grammar refuses it.
"""

from __future__ import annotations

import ast
import warnings
from collections import deque

NODES = [
    "Add", "And", "AnnAssign", "Assert", "Assign", "AsyncFor", "AsyncFunctionDef", "AsyncWith", "Attribute",
    "AugAssign", "AugLoad", "AugStore", "Await", "BinOp", "BitAnd", "BitOr", "BitXor", "BoolOp", "Break",
    "Bytes", "Call", "ClassDef", "Compare", "Constant", "Continue", "Del", "Delete", "Dict", "DictComp", "Div",
    "Ellipsis", "Eq", "ExceptHandler", "Expr", "Expression", "ExtSlice", "FloorDiv", "For", "FormattedValue",
    "FunctionDef", "FunctionType", "GeneratorExp", "Global", "Gt", "GtE", "If", "IfExp", "Import", "ImportFrom",
    "In", "Index", "Interactive", "Invert", "Is", "IsNot", "JoinedStr", "LShift", "Lambda", "List", "ListComp",
    "Load", "Lt", "LtE", "MatMult", "Mod", "Module", "Mult", "Name", "NameConstant", "NamedExpr", "Nonlocal",
    "Not", "NotEq", "NotIn", "Num", "Or", "Param", "Pass", "Pow", "RShift", "Raise", "Return", "Set", "SetComp",
    "Slice", "Starred", "Store", "Str", "Sub", "Subscript", "Suite", "Try", "Tuple", "TypeIgnore", "UAdd",
    "USub", "UnaryOp", "While", "With", "Yield", "YieldFrom", "slice",
]  # fmt: skip
OPERATORS = [
    "Add", "Sub", "Mult", "MatMult", "Div", "Mod", "Pow", "LShift", "RShift", "BitOr", "BitXor", "BitAnd",
    "FloorDiv", "Invert", "Not", "UAdd", "USub", "And", "Or", "Eq", "NotEq", "Lt", "LtE", "Gt", "GtE", "Is",
    "IsNot", "In", "NotIn",
]  # fmt: skip
BOS, EOS, UNK, PARSE_ERROR = 613, 614, 615, 616
SHARED = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)


def bucket(name: str) -> int:
    """100 + FNV-1a mod 512."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return 100 + value % 512


def parsed(source: bytes) -> ast.Module | None:
    """The tree, or none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.replace(b"\0", b""), feature_version=(3, 9))
    except (SyntaxError, ValueError, RecursionError):
        return None


def carried(node: ast.AST) -> int | None:
    """The bucket or operator that a node's type is followed by."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return bucket(name)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return bucket(name)
        case ast.ImportFrom(module=str(name)):
            return bucket(name)
        case ast.BinOp(op=op) | ast.UnaryOp(op=op) | ast.BoolOp(op=op):
            return 633 + OPERATORS.index(type(op).__name__)
        case ast.Compare(ops=[op, *_]):
            return 633 + OPERATORS.index(type(op).__name__)
        case ast.Constant(value=value):
            return bucket(f"__const_{type(value).__name__}__")
    return None


def tokens(source: bytes, depth_first: bool = False, window: int = 512) -> list[int]:
    """What `codewm_core.paper_tokens` is to return."""
    if not source.strip():
        return [BOS, EOS]
    tree = parsed(source)
    if tree is None:
        return [BOS, PARSE_ERROR, EOS]
    shared: dict[type, int] = {}
    depths: dict[int, int] = {}
    order: list[ast.AST] = []
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        order.append(node)
        depths[id(node)] = depth
        if isinstance(node, SHARED):
            shared[type(node)] = depth
        waiting += reversed([(child, depth + 1) for child in ast.iter_child_nodes(node)])
    if not depth_first:
        queue = deque([tree])
        order = []
        while queue:
            node = queue.popleft()
            queue.extend(ast.iter_child_nodes(node))
            order.append(node)
    out = [BOS]
    for node in order:
        if len(out) >= window - 1:
            break
        name = type(node).__name__
        depth = shared[type(node)] if isinstance(node, SHARED) else depths[id(node)]
        out += [NODES.index(name) if name in NODES else UNK, 617 + min(depth, 15)]
        what = carried(node)
        out += [] if what is None else [what]
    return [*out[: window - 1], EOS]
