"""What a harvest is limited to: --since and --path in, where it begins and which file changes count out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.records import CommitRecord

# Git takes a date that it does not understand for the present; nothing is committed after that anyway.
_NOW_SECONDS = 5
# Git passes over words that it does not know, so that a tag with a slip in it would be read as some day of
# this month. These are the words that it does know in dates; months, weekdays and units by their first letters.
_WORDS = (
    "yesterday noon midnight tea today never am pm ago last and at on of the "
    "zero one two three four five six seven eight nine ten st nd rd th "
    "t z utc gmt est edt cst cdt mst mdt pst pdt ast adt hst akst akdt wet west cet cest met mest eet eest bst "
    "ist jst kst sgt aest aedt nzst nzdt"
)
_BEGINNINGS = (
    "january february march april may june july august september october november december "
    "monday tuesday wednesday thursday friday saturday sunday seconds minutes hours days weeks months years"
)
# What fits the first block of a store beside all else.
_PATHS_BYTES = 1500
_DATES = "write a commit or a date that Git knows: 2024-01-31, '2 years ago', v1.0"


def last_left_out(repo: Repository, tip: str, since: str) -> str:
    """The newest commit of the line to `tip` that `since` leaves out; '' if it leaves out none.

    `since` is a revision (what follows it is kept) or a date as Git reads it: then the line is kept from the
    oldest commit of that date or later, so that a clock that was wrong for a while loses nothing.
    """
    if not since or since.startswith("-") or "\0" in since or "\n" in since:
        raise UserError(f"'--since {since}' is neither a revision nor a date", _DATES)
    commit = _revision(repo, since)
    if commit is not None:
        out = _git(repo, "rev-list", "--first-parent", "--end-of-options", tip, f"^{commit}", "--")
        kept = len(out.split())
        line = repo.first_parents(tip)
        if kept == 0:
            raise UserError(f"nothing follows '{since}'", "name an older commit or a date")
        return line[-kept - 1] if kept < len(line) else ""
    earliest = _date(repo, since)
    before = ""
    out = _git(repo, "rev-list", "--first-parent", "--reverse", "--timestamp", "--end-of-options", tip, "--")
    for row in out.decode("ascii").splitlines():
        seconds, oid = row.split()
        if int(seconds) >= earliest:
            return before
        before = oid
    raise UserError(
        f"there is no commit since '{since}', which Git reads as {_day(earliest)}", "name an earlier date"
    )


def _revision(repo: Repository, text: str) -> str | None:
    """The commit that `text` names, or None. Digits alone are a date, unless a branch or tag is called so."""
    names = [f"refs/tags/{text}", f"refs/heads/{text}"] if text.isdigit() and len(text) < 40 else [text]
    for name in names:
        with suppress(UserError):
            return repo.resolve(name)
    return None


def _date(repo: Repository, text: str) -> int:
    """What Git reads `text` as, in unix seconds. Raises `UserError` where Git would quietly read nothing."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    unknown = [w for w in words if w not in _WORDS.split() and not _begins(w)]
    out = _git(repo, "rev-parse", f"--since={text}").decode("ascii", "replace").strip()
    _, _, seconds = out.partition("--max-age=")
    if unknown or not seconds.isdecimal() or abs(int(seconds) - time.time()) <= _NOW_SECONDS:
        raise UserError(f"'--since {text}' is neither a revision nor a date that Git understands", _DATES)
    return int(seconds)


def _git(repo: Repository, *args: str) -> bytes:
    return repo._objects.run(*args)


def _begins(word: str) -> bool:
    return len(word) >= 3 and any(known.startswith(word) for known in _BEGINNINGS.split())


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def following(repo: Repository, tip: str, known: str) -> list[str]:
    """The first-parent line from what follows `known` to `tip`, oldest first; [] if `known` is not on it.

    Does not walk what lies before `known`, however long that is.
    """
    if not repo.has(known):
        return []
    out = _git(repo, "rev-list", "--first-parent", "--parents", "--end-of-options", tip, f"^{known}", "--")
    rows = [row.split() for row in out.decode("ascii").splitlines()]
    if not rows or rows[-1][1:2] != [known]:
        return []
    return [row[0] for row in reversed(rows)]


def cleaned_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths from the repository's top, without what means nothing, sorted; () if the top itself is among them.

    What lies below another of them is left out. Raises `UserError` for a path that leads outside.
    """
    cleaned = set()
    for path in paths:
        parts = [p for p in path.split("/") if p not in ("", ".")]
        if path.startswith("/") or ".." in parts or "\0" in path or not path:
            raise UserError(
                f"'--path {path}' is not a path inside the repository",
                "write it from the repository's top folder",
            )
        cleaned.add("/".join(parts))
    if "" in cleaned:
        return ()
    kept = tuple(sorted(p for p in cleaned if not any(p.startswith(f"{other}/") for other in cleaned)))
    if len(json.dumps(kept)) > _PATHS_BYTES:
        raise UserError("the names given with --path are too long to be stored", "name a folder above them")
    return kept


def within(records: Iterable[CommitRecord], paths: Sequence[str]) -> Iterator[CommitRecord]:
    """Records with the file changes that have a side at or below one of the paths; the others are no changes here."""
    wanted = [p.encode("utf-8", "surrogateescape") for p in paths]

    def inside(path: bytes | None) -> bool:
        return path is not None and any(path == w or path.startswith(w + b"/") for w in wanted)

    for record in records:
        kept = tuple(
            change for change in record.changes if inside(change.old_path) or inside(change.new_path)
        )
        yield record if len(kept) == len(record.changes) else record._replace(changes=kept)
