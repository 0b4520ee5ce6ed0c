"""Claims:

1. Each kind does to a function what it says; what comes out is Python, and differs.
2. Every family that models are trained on has a kind here, and at least five kinds are of families that none is.
3. Docstrings, indents, decorators and strings over several lines survive; what is not one Python 3 function is refused.
4. A kind that does not apply gives nothing.
"""

from __future__ import annotations

import ast
import random
import textwrap

import pytest

from codewm.model.config import CORRUPTIONS
from codewm.model.evaluation.injection import KINDS, PAYLOADS, Function, corrupted

SOURCE = '''\
    @cached
    def total(self, items, limit=10):
        """What they cost.

        Two lines."""
        if not items:
            return 0
        first, second = min(items), max(items)
        for item in items:
            if item.price >= limit:
                raise ValueError("too much")
            self.add(item.price, item.count)
        message = """
  of several
lines"""
        return self.sum - first + second
'''
DONOR = """\
def load(path):
    with open(path) as f:
        text = f.read()
    logging.info("read %s", path)
    return json.loads(text)
"""


def function(source: str = SOURCE) -> Function:
    return Function(source.rstrip("\n").split("\n"))


def tree(lines: list[str]) -> ast.FunctionDef:
    """The function that comes out."""
    node = ast.parse("if 1:\n" + "\n".join(lines) + "\n").body[0]
    assert isinstance(node, ast.If)
    assert len(node.body) == 1
    assert isinstance(node.body[0], ast.FunctionDef)
    return node.body[0]


def every(kind: str, count: int = 40) -> list[list[str]]:
    made = [corrupted(function(), kind, [function(DONOR)], random.Random(seed)) for seed in range(count)]
    kept = [lines for lines in made if lines is not None]
    assert len(kept) > count // 2
    return kept


def statements(lines: list[str]) -> list[str]:
    return [ast.unparse(n) for n in ast.walk(tree(lines)) if isinstance(n, ast.stmt)]


def walked(lines: list[str], kind: type[ast.AST]) -> int:
    return sum(isinstance(n, kind) for n in ast.walk(tree(lines)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_another_function(kind: str) -> None:
    for lines in every(kind):
        assert ast.dump(tree(lines)) != ast.dump(tree(function().lines))
        assert ast.get_docstring(tree(lines)) == "What they cost.\n\nTwo lines."
        assert lines[0].strip() == "@cached"


def test_families() -> None:
    assert {k.family for k in KINDS.values() if k.trained} == set(CORRUPTIONS)
    assert sum(not k.trained for k in KINDS.values()) >= 5
    assert not {k.family for k in KINDS.values() if not k.trained} & set(CORRUPTIONS)


def test_fewer_statements() -> None:
    whole = len(statements(function().lines))
    assert all(len(statements(lines)) < whole or "pass" in "\n".join(lines) for lines in every("drop"))
    for lines in every("guard"):
        text = "\n".join(lines)
        assert ("if not items" in text) + ("item.price >= limit" in text) == 1


def test_code_from_elsewhere() -> None:
    for kind in ("swap", "paste", "body"):
        foreign = ("open(path)", "f.read()", "logging.info", "json.loads")
        assert all(any(f in "\n".join(lines) for f in foreign) for lines in every(kind))
    whole = len(statements(function().lines))
    assert all(len(statements(lines)) > whole for lines in every("paste"))
    assert all("items" not in "\n".join(lines[6:]) for lines in every("body"))


def test_one_small_thing() -> None:
    before = "\n".join(function().lines)
    for lines in every("mutate"):
        assert sum(a != b for a, b in zip(lines, function().lines, strict=True)) == 1
    swapped = {"\n".join(lines) for lines in every("argument")}
    expected = {
        before.replace("item.price, item.count", "item.count, item.price"),
        before.replace("self.sum - first", "first - self.sum"),
    }
    assert swapped == expected
    assert {"\n".join(lines) for lines in every("negate")} <= {
        before.replace("if not items", "if not (not items)"),
        before.replace("if item.price >= limit", "if not (item.price >= limit)"),
    }
    for lines in every("text"):
        assert "too much" not in "\n".join(lines)


def test_unseen_kinds() -> None:
    assert all(any(p.split("\n")[0] in "\n".join(lines) for p in PAYLOADS) for lines in every("payload"))
    for lines in every("reorder"):
        assert sorted(lines) == sorted(function().lines)
    for lines in every("repeat"):
        assert len(lines) > len(function().lines)
        assert set(statements(lines)) >= {"return 0"}
    assert all(walked(lines, ast.Try) == 1 for lines in every("swallow"))
    assert all("return None" in statements(lines) for lines in every("leave"))


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        "def f():\n    print 'two'",
        "def f():\n    pass\ndef g():\n    pass",
        'def f():\n    "doc"',
        "def f(",
    ],
)
def test_what_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"not|nothing"):
        function(source)


def test_what_does_not_apply() -> None:
    plain = function("def f(a):\n    a.b()")
    for kind in ("guard", "negate", "reorder", "text", "argument"):
        assert corrupted(plain, kind, [function(DONOR)], random.Random(0)) is None
    assert corrupted(plain, "drop", [plain], random.Random(0)) == ["def f(a):", "    pass"]


def test_statements_that_share_a_line_are_left_alone() -> None:
    shared = function("def f(a):\n    if a: return 1\n    b = 2; c = 3\n    return b")
    assert {s.start for s in shared.statements} == {1, 3}
    assert textwrap.dedent("\n".join(shared.block(shared.statements[0]))) == "if a: return 1"
