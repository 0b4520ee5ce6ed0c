"""A small real repository with habits: what changes with what is known, so that claims can be checked."""

from __future__ import annotations

from tests.helpers import GitRepo


def module(name: str, version: int, uses: str = "") -> str:
    """Source of a module whose one function changes with the version; `uses` is a function of another module."""
    imports = f"from pkg.{uses} import {uses}_total\n\n\n" if uses else ""
    call = f" + {uses}_total(rows)" if uses else ""
    return f"{imports}def {name}_total(rows):\n    base = len(rows) * {version}\n    return base{call}\n"


def checks(name: str, version: int) -> str:
    """Source of the tests of a module."""
    return (
        f"from pkg.{name} import {name}_total\n\n\n"
        f"def test_{name}_total():\n    assert {name}_total([1, 2]) == {2 * version}\n"
    )


def fill(repo: GitRepo, rounds: int = 12) -> GitRepo:
    """Prices change with their tests and notes but once; carts change alone; shelves never change."""
    repo.commit(
        "begin",
        {
            "pkg/__init__.py": "",
            "pkg/prices.py": module("prices", 0),
            "pkg/carts.py": module("carts", 0, "prices"),
            "pkg/shelves.py": module("shelves", 0),
            "tests/test_prices.py": checks("prices", 0),
            "tests/test_carts.py": checks("carts", 0),
            "NOTES.txt": "0\n",
        },
    )
    for version in range(1, rounds + 1):
        together: dict[str, str | bytes | None] = {
            "pkg/prices.py": module("prices", version),
            "tests/test_prices.py": checks("prices", version),
            "NOTES.txt": f"{version}\n",
        }
        if version == rounds // 2:
            del together["tests/test_prices.py"]
        repo.commit(f"prices {version}", together)
        repo.commit(f"carts {version}", {"pkg/carts.py": module("carts", version, "prices")})
    return repo
