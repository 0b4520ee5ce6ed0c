"""A folder in, a repository out whose commits revert each other, cite issues, and rename, move, extract and reorder."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import GitRepo

BODY = """    first = prepare(items, limit)
    second = combine(first, scale)
    if second > limit:
        second = limit - first
    for item in items:
        second = second + item.size
    record(first, second)
"""


def text(which: str, body: str = BODY, *, before: str = "", after: str = "") -> str:
    """A module with one function of two parts."""
    return (
        f"import os\n\n\n{before}def work_{which}(items, limit, scale):\n"
        f'    """Work on {which}."""\n{body}    return second * scale\n{after}'
    )


def build(path: Path, which: str = "a") -> tuple[GitRepo, dict[str, str]]:
    """The repository, and the commit of each thing that was done."""
    repo = GitRepo(path)
    done: dict[str, str] = {}
    name = f"{which}.py"
    done["start"] = repo.commit(f"start {which}", {name: text(which)})
    louder = BODY.replace("limit - first", "limit + first * 2")
    done["first"] = repo.commit("count twice, see #41", {name: text(which, louder)})
    done["revert"] = repo.commit(
        f'Revert "count twice, see #41"\n\nThis reverts commit {done["first"]}.', {name: text(which)}
    )
    renamed = BODY.replace("second", "total")
    done["rename"] = repo.commit(
        "say total (GH-77)", {name: text(which, renamed).replace("return second", "return total")}
    )
    done["back"] = repo.commit("say second", {name: text(which)})
    lines = BODY.splitlines(keepends=True)
    done["reorder"] = repo.commit("record first", {name: text(which, "".join(lines[-1:] + lines[:-1]))})
    done["again"] = repo.commit("and back\n\nFixes #41.", {name: text(which)})
    short = "    first, second = measure(items, limit, scale)\n"
    taken = f"\n\ndef measure(items, limit, scale):\n{BODY}    return first, second\n"
    done["extract"] = repo.commit("measure by itself", {name: text(which, short, after=taken)})
    done["inline"] = repo.commit("measure in place again, gh-77", {name: text(which)})
    done["grow"] = repo.commit("log #5", {name: text(which, BODY + "    log(first)\n")})
    moved = text(which, BODY + "    log(first)\n")
    head, _, function = moved.partition("def ")
    done["move"] = repo.commit("elsewhere", {name: head, f"{which}_other.py": "def " + function})
    return repo, done
