"""A repository in, whom its fixes blame out: from `<data_dir>/fixes.json` if HEAD has not moved, else found and kept.

It is only ever a copy of what the history says: anything wrong with it means that it is found again, never an error.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from typing import Any

from codewm.corpus.atomic import replace_file
from codewm.corpus.git import Repository
from codewm.corpus.szz import Labels, Link, SzzOptions, find

SCHEMA = "codewm.fixes/1"
FILE_NAME = "fixes.json"


def known_fixes(repo: Repository) -> Labels:
    """Blame along HEAD's first-parent line. Raises `UserError` where Git cannot read a version."""
    place, options = repo.data_dir / FILE_NAME, SzzOptions()
    key = {"schema": SCHEMA, "tip": repo.head(), "options": asdict(options)}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        stored = json.loads(place.read_text(encoding="ascii"))
        if {name: stored[name] for name in key} == key:
            return Labels(tuple(_link(link) for link in stored["links"]), dict(stored["counts"]))
    labels = find(repo, options=options)
    links = [[*link[:-1], [os.fsdecode(path) for path in link.paths]] for link in labels.links]
    # Where the place is not writable, it is found again the next time.
    replace_file(place, json.dumps({**key, "counts": labels.counts, "links": links}).encode("ascii"))
    return labels


def _link(values: list[Any]) -> Link:
    inducing, fix, known, introduced, lines, paths = values
    if not all(isinstance(t, str) for t in (inducing, fix)):
        raise TypeError("an id is no text")
    if not all(isinstance(n, int) for n in (known, introduced, lines)):
        raise TypeError("a time is no number")
    return Link(inducing, fix, known, introduced, lines, tuple(os.fsencode(path) for path in paths))
