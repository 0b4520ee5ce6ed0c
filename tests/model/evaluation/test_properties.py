"""Claims: each property of a function is what its definition says, indented or not; what is no function has none."""

from __future__ import annotations

import pytest

from codewm.model.evaluation.properties import properties_of

LONG = '''
    @cached
    def work(self, items, limit=None):
        """Text with

    less indentation."""
        total = 0

        for item in items:
            if item and limit or total:
                total += item.size()
            elif not item:
                continue
        names = [n for n in items if n if n.ok]
        try:
            while total:
                total -= step(total)
        except (ValueError, KeyError):
            return None
        except OSError:
            return -1

        def inner(x):
            return x if x else 0

        return total
'''


def test_counts_of_a_method() -> None:
    found = properties_of(LONG.strip("\n"))
    assert found is not None
    assert found.lines == 21
    assert found.branches == 2 + 2 + 1  # if, elif; two in the comprehension; one conditional expression
    assert found.loops == 3
    assert found.complexity == 1 + 5 + 3 + 2 + 2  # two except clauses; `and`, `or`
    assert found.calls == 2
    assert found.returns == 3
    assert found.result == "other"
    assert not found.effects


@pytest.mark.parametrize(
    ("body", "effects"),
    [
        ("x = 1\n    x += 1", False),
        ("self.x = 1", True),
        ("x = {}\n    x['a'] = 1\n    return x", False),
        ("given['a'] = 1", True),
        ("del given.a", True),
        ("x = []\n    x.append(1)", False),
        ("given.append(1)", True),
        ("given.items.index(1)", False),
        ("global z", True),
        ("print(given)", True),
        ("return open(given).read()", True),
        ("return ', '.join(given)", False),
        (
            "for x in given:\n        x.y = 1",
            False,
        ),  # a local name, though it stands for something from outside
    ],
)
def test_effects(body: str, effects: bool) -> None:
    found = properties_of(f"def f(self, given):\n    {body}\n")
    assert found is not None
    assert found.effects is effects


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("pass", "nothing"),
        ("return", "nothing"),
        ("return None", "nothing"),
        ("return 1 < x", "primitive"),
        ("if x:\n        return None\n    return f'{x}'", "primitive"),
        ("return [x]", "collection"),
        ("return {k: 1 for k in x}", "collection"),
        ("if x:\n        return 1\n    return []", "other"),
        ("return x", "other"),
        ("yield 1", "other"),
        ("def g():\n        return 1\n    g()", "nothing"),
    ],
)
def test_results(body: str, result: str) -> None:
    found = properties_of(f"async def f(x):\n    {body}\n")
    assert found is not None
    assert found.result == result


def test_match_and_boolean_operators() -> None:
    found = properties_of(
        "def f(x):\n    match x:\n        case 1:\n            return a and b and c\n"
        "        case _:\n            return 2\n"
    )
    assert found is not None
    assert (found.branches, found.complexity) == (2, 1 + 2 + 2)


@pytest.mark.parametrize(
    "text", ["", "x = 1\n", "class A:\n    pass\n", "def f(:\n", "def f():\n    print 1\n", "\0"]
)
def test_what_is_no_function(text: str) -> None:
    assert properties_of(text) is None
