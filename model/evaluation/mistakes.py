"""Source of a function in, the same function with one thing wrong out: finer kinds than `injection` has, and more.

`injection.KINDS` are what models are compared by, and stay as they are. These are asked of scores only
(`codewm eval anomaly`): one kind for each thing that people slip on, where those are broad, and error handling,
awaits and code from the wrong file.
"""

from __future__ import annotations

import ast
import random
from typing import Any

from codewm.model.evaluation.injection import COMPARED, KINDS, Function, Kind, Lines, without

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*",
    ast.BitAnd: "|", ast.BitOr: "&", ast.LShift: ">>", ast.RShift: "<<",
}  # fmt: skip
MESSAGE = "message"
"""The commit says what another commit says; its code stays as it was."""


def operator(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """An arithmetic operator is another one, or `and` is `or`."""
    changes: list[tuple[Any, str]] = []
    for node in function.spans(ast.BinOp):
        if type(node.op) in _OPERATORS:
            left, right = function.text(node.left), function.text(node.right)
            changes.append((node, f"{left} {_OPERATORS[type(node.op)]} {right}"))
    for node in function.spans(ast.BoolOp):
        other = " or " if isinstance(node.op, ast.And) else " and "
        changes.append((node, other.join(function.text(value) for value in node.values)))
    return function.rewritten(rng.choice(changes)) if changes else None


def comparator(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A comparison is turned around."""
    nodes = [n for n in function.spans(ast.Compare) if len(n.ops) == 1 and type(n.ops[0]) in COMPARED]
    if not nodes:
        return None
    node = rng.choice(nodes)
    left, right = function.text(node.left), function.text(node.comparators[0])
    return function.rewritten((node, f"{left} {COMPARED[type(node.ops[0])]} {right}"))


def constant(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A number is another one, or a truth value the other one."""
    nodes = function.spans(ast.Constant)
    changes = [(n, "False" if n.value else "True") for n in nodes if isinstance(n.value, bool)]
    whole = [n for n in nodes if type(n.value) is int and function.text(n).isdigit()]
    changes += [(n, str(n.value + rng.choice((1, 2, 10)))) for n in whole]
    return function.rewritten(rng.choice(changes)) if changes else None


def unawaited(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """An `await` is missing."""
    nodes = function.spans(ast.Await)
    if not nodes:
        return None
    node = rng.choice(nodes)
    return function.rewritten((node, function.text(node.value)))


def uncaught(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A `try` has lost its handlers: only what it tried is left."""
    tries = [s for s in function.statements if isinstance(s.node, ast.Try) and s.node.handlers]
    if not tries:
        return None
    s = rng.choice(tries)
    tried: list[ast.stmt] = getattr(s.node, "body", [])
    inner = [t for t in function.statements if any(t.node is node for node in tried)]
    if len(inner) != len(tried):
        return None
    kept = [line for statement in inner for line in function.block(statement)]
    return function.put(s.start, s.end, kept, s.indent)


def broadened(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A handler of certain errors catches all of them."""
    handlers = [h.type for s in function.statements for h in getattr(s.node, "handlers", []) if h.type]
    nodes = [n for n in function.spans((ast.expr,)) if any(n is h for h in handlers)]
    nodes = [n for n in nodes if function.text(n) not in ("Exception", "BaseException")]
    return function.rewritten((rng.choice(nodes), "Exception")) if nodes else None


def unraised(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """An error is not raised any more."""
    raised = [s for s in function.statements if isinstance(s.node, ast.Raise)]
    return without(function, rng.choice(raised)) if raised else None


def misfiled(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """The whole of a function from another file stands inside, where an edit of that file was meant to go."""
    lines = [line for line in donor.lines if line.strip()]
    if not lines:
        return None
    s = rng.choice(function.statements)
    own = len(lines[0]) - len(lines[0].lstrip())
    pasted = [line[own:] if line[:own].isspace() or not own else line for line in donor.lines]
    return function.put(s.start, s.start, pasted, s.indent)


MORE: dict[str, Kind] = {
    "operator": Kind(operator, "mutate"),
    "comparator": Kind(comparator, "mutate"),
    "constant": Kind(constant, "mutate"),
    "await": Kind(unawaited, "await"),
    "except": Kind(uncaught, "except"),
    "broad except": Kind(broadened, "except"),
    "raise": Kind(unraised, "drop"),
    "wrong file": Kind(misfiled, "paste"),
}
ALL = {**KINDS, **MORE}
