"""A folder in, a repository with a history of small edits of many functions out."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import GitRepo


def module(version: int, which: str) -> str:
    """A module of five functions with guards, loops, calls and strings; every version changes two of them."""
    parts = ["import os\n\n"]
    for i in range(5):
        moved = (version + i) % 5 < 2
        amount = version if moved else i
        parts.append(
            f"def work{i}(items, limit, scale):\n"
            f'    """Work on items, number {which}."""\n'
            f"    if limit > {amount}:\n"
            f"        return None\n"
            f"    total = {amount * 3} + limit * scale\n"
            f"    for item in items:\n"
            f"        total = min(total, item.size_{which})\n"
            f'        log("step {version if moved else i}", item)\n'
            f"    os.write(total, limit)\n"
            f"    return total - scale\n\n"
        )
    return "\n".join(parts)


def build(path: Path, commits: int, modules: str = "ab") -> GitRepo:
    """One module for each letter, changed in turns; no two functions are alike."""
    repo = GitRepo(path)
    names = {m: f"{m}_{path.name}".replace(" ", "_") for m in modules}
    repo.commit(f"start {path.name}", {f"{m}.py": module(0, names[m]) for m in modules})
    for version in range(1, commits):
        changed = modules[version % len(modules)]
        repo.commit(f"version {version}", {f"{changed}.py": module(version, names[changed])})
    return repo
