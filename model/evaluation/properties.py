"""The source of one function in, what it is like out: the properties of the SWE-JEPA plan, experiment 0.3.

Counted in Python's own syntax tree (`ast`), over the whole unit with what is nested in it, unless said otherwise:

    lines         lines that are not blank
    branches      if and elif, conditional expressions, `if` in comprehensions, match cases
    loops         for, while, `for` in comprehensions
    complexity    McCabe's: 1 + branches + loops + except clauses + each further operand of `and` and `or`
    calls         calls of anything
    returns       return statements of the function itself, with a value or without
    effects       whether it changes or does anything outside: assigns to or deletes an attribute or item of what is no
                  local name, declares a name global or nonlocal, calls one of `_DOING` (`print`, `open` ...), or a
                  method of what is no local name that usually changes or writes (`_CHANGING`)
    result        what it returns: nothing, a primitive or a collection (all of its returns are literals or
                  comprehensions of that sort), or another thing; generators count as another

Local names are those that the function binds, without its parameters. `effects` and `result` are rules of thumb.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

RESULTS = ("nothing", "primitive", "collection", "other")
COUNTS = ("lines", "branches", "loops", "complexity", "calls", "returns")
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ClassDef)
_DOING = frozenset({"print", "open", "input", "exec", "eval", "setattr", "delattr"})
_CHANGING = frozenset(
    {
        "add", "append", "clear", "close", "commit", "discard", "extend", "flush", "insert", "pop", "popitem", "push",
        "put", "remove", "reverse", "save", "send", "set", "setdefault", "sort", "update", "write", "writelines",
    }
)  # fmt: skip
_COLLECTIONS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp)


@dataclass(frozen=True)
class Properties:
    """Of one function."""

    lines: int
    branches: int
    loops: int
    complexity: int
    calls: int
    returns: int
    effects: bool
    result: str
    """One of `RESULTS`."""


def properties_of(text: str) -> Properties | None:
    """What a function is like; None where this Python cannot parse it as one (Python 2, a newer syntax)."""
    function = _parsed(text)
    if function is None:
        return None
    branches = loops = more = calls = 0
    for node in ast.walk(function):
        if isinstance(node, (ast.If, ast.IfExp, ast.match_case)):
            branches += 1
        elif isinstance(node, ast.comprehension):
            loops += 1
            branches += len(node.ifs)
        elif isinstance(node, _LOOPS):
            loops += 1
        elif isinstance(node, ast.ExceptHandler):
            more += 1
        elif isinstance(node, ast.BoolOp):
            more += len(node.values) - 1
        elif isinstance(node, ast.Call):
            calls += 1
    returns = [node for node in _own(function) if isinstance(node, ast.Return)]
    return Properties(
        lines=sum(bool(line.strip()) for line in text.splitlines()),
        branches=branches,
        loops=loops,
        complexity=1 + branches + loops + more,
        calls=calls,
        returns=len(returns),
        effects=_has_effects(function),
        result=_result(function, returns),
    )


def _parsed(text: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    # Indented as in its file: a block around it takes that as it is, where dedenting would change strings.
    whole = f"if 1:\n{text}" if text[:1].isspace() else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in other people's strings
            body = ast.parse(whole).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if len(body) == 1 and isinstance(body[0], ast.If):
        body = body[0].body
    return body[0] if len(body) == 1 and isinstance(body[0], _FUNCTIONS) else None


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, without what is in functions and classes inside it."""
    pending = list(ast.iter_child_nodes(function))
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, _SCOPES):
            pending += ast.iter_child_nodes(node)


def _has_effects(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    parameters = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    parameters |= {a.arg for a in (given.vararg, given.kwarg) if a is not None}
    local = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    local -= parameters
    for node in ast.walk(function):
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            return True
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            if _root(node) not in local:
                return True
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in _DOING:
                return True
            if isinstance(called, ast.Attribute) and called.attr in _CHANGING and _root(called) not in local:
                return True
    return False


def _root(node: ast.AST) -> str | None:
    """The name that a chain of attributes, items and calls begins with; None where it begins with a literal."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _result(function: ast.AST, returns: list[ast.Return]) -> str:
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in _own(function)):
        return "other"
    values = [r.value for r in returns if r.value is not None]
    values = [v for v in values if not (isinstance(v, ast.Constant) and v.value is None)]
    if not values:
        return "nothing"
    if all(isinstance(v, (ast.Constant, ast.JoinedStr, ast.Compare)) for v in values):
        return "primitive"
    if all(isinstance(v, _COLLECTIONS) for v in values):
        return "collection"
    return "other"
