"""A number of commits and a seed in, a Git repository of Python files that change as people change them out."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

_VOCABULARY = (
    "account action amount array author batch block buffer cache cell chain change child client code column "
    "commit config context count cursor data default delta depth draft edge entry error event field file filter "
    "flag format frame group handle header height index inner input item join key label layer length level limit "
    "line link list lock map mask match member merge message method model module name node number offset option "
    "order output owner packet page parent part path phase place point pool port prefix process query queue range "
    "rate record region request result root route row scale schema scope score section segment seed session shape "
    "shift side signal size slot source span stack stage start state status step store stream string style suffix "
    "table tag target task term text thread time title token total trace tree unit update user value vector view "
    "weight width window word worker"
)
WORDS = _VOCABULARY.split()
STATEMENTS = (
    "{a} = {b} + {n}", "{a} = self.{b}.{c}({d}, {e}={n})", "if {a} is None:\n    {a} = {b}",
    "for {a} in {b}:\n    {c}.append({a})", 'raise ValueError(f"{a} {{{b}}} is not a {c}")',
    "{a} = [{b}.{c} for {b} in {d} if {b} != {n}]", 'log.debug("{a} of {b}: %s", {c})', "del {a}[{n}]",
    "with self.{a}({b}) as {c}:\n    {d} = {c}.{e}", "{a}, {b} = {c}.{d}({n})", 'self.{a} = {b} or "{c}"',
    "assert {a} >= {n}, {b}", "while {a} < {n}:\n    {a} += {b}", "{a} = {b}({c}, {d}) if {e} else {n}",
)  # fmt: skip


class Module:
    """A Python file of 100 to 400 lines that changes one or two functions at a time, as people do."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.wanted = rng.randint(100, 400)
        imports = "\n".join(f"import {a}" for a in sorted(rng.sample(WORDS, rng.randint(2, 8))))
        self.head = f'"""About {rng.choice(WORDS)}."""\n\n{imports}\n'
        self.blocks: list[list[str]] = []
        while self.lines < self.wanted:
            self._add()

    @property
    def lines(self) -> int:
        """How long it is, about."""
        return 12 + sum(len(block) + 2 for block in self.blocks)

    def render(self) -> bytes:
        """Return the source."""
        return (self.head + "".join("\n\n" + "\n".join(b) + "\n" for b in self.blocks)).encode()

    def edit(self) -> None:
        """Change one or two functions: a line more, a line less, a line replaced; rarely a whole function."""
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            kind = self.rng.random()
            if kind < 0.03 and len(self.blocks) > 4:
                del self.blocks[self.rng.randrange(len(self.blocks))]
            elif kind < 0.07:
                self._add()
            else:
                self._edit_function(self.rng.choice(self.blocks))

    def _edit_function(self, block: list[str]) -> None:
        # Only whole lines at the top level of the body, so that what is left is Python.
        places = [i for i, line in enumerate(block) if i > 1 and line[4:5].strip() and not line.endswith(":")]
        places = [i for i in places if not (i + 1 < len(block) and block[i + 1].startswith("        "))]
        if not places:
            block.append(f"    return {self.rng.choice(WORDS)}")
            return
        at, kind = self.rng.choice(places), self.rng.random()
        if kind < 0.2 and len(places) > 3 and self.lines > self.wanted * 0.8:
            del block[at]
        elif kind < 0.6 and self.lines < self.wanted * 1.2:
            block[at:at] = self._statement()
        else:
            block[at : at + 1] = self._statement()

    def _statement(self) -> list[str]:
        words = dict(zip("abcde", self.rng.sample(WORDS, 5), strict=True))
        text = self.rng.choice(STATEMENTS).format(n=self.rng.randint(0, 999), **words)
        return [f"    {line}" for line in text.split("\n")]

    def _add(self) -> None:
        name, first, second = self.rng.sample(WORDS, 3)
        block = [f"def {name}_{self.rng.randint(0, 9999)}({first}, {second}=None):",
                 f'    """Return the {name} of {first}."""']  # fmt: skip
        for _ in range(self.rng.randint(4, 18)):
            block += self._statement()
        self.blocks.insert(self.rng.randint(0, len(self.blocks)), [*block, f"    return {first}"])


def generate(where: Path, commits: int, *, modules: int = 200, seed: int = 0) -> None:
    """Make a repository of `commits` commits, each an edit of one or two functions in one or two files.

    The first commit adds `modules` files. All versions of a file are written one after the other, so that
    `git fast-import` stores them as small differences, as a repacked clone would.
    """
    where.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=where, check=True, capture_output=True)
    rng = random.Random(seed)
    touched: list[list[int]] = [list(range(modules))]
    touched += [sorted(rng.sample(range(modules), rng.choice((1, 1, 1, 2)))) for _ in range(commits - 1)]
    # Mark of the first version of each file; further versions follow it.
    counts = [0] * modules
    for files in touched:
        for file in files:
            counts[file] += 1
    first = [1 + sum(counts[:i]) for i in range(modules)]
    process = subprocess.Popen(
        ["git", "-c", "core.compression=1", "fast-import", "--quiet", "--done"],
        cwd=where,
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    with process.stdin as stream:
        for i, count in enumerate(counts):
            module = Module(random.Random(f"{seed} {i}"))
            for version in range(count):
                if version:
                    module.edit()
                source = module.render()
                stream.write(b"blob\nmark :%d\ndata %d\n%s\n" % (first[i] + version, len(source), source))
        seen = [0] * modules
        for number, files in enumerate(touched):
            when = 1_600_000_000 + number * 600
            who = f"Dev {number % 17} <dev{number % 17}@example.com> {when} +0000"
            subject = f"change {rng.choice(WORDS)} of {rng.choice(WORDS)}".encode()
            stream.write(
                f"commit refs/heads/main\ncommitter {who}\ndata {len(subject)}\n".encode() + subject + b"\n"
            )
            for file in files:
                path = f"src/{WORDS[file % 12]}/module_{file:03d}.py"
                stream.write(f"M 100644 :{first[file] + seen[file]} {path}\n".encode())
                seen[file] += 1
        stream.write(b"done\n")
    if process.wait() != 0:
        raise SystemExit("git fast-import failed")
