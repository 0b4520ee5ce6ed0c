"""Commit messages in, what they say about other commits out: fixes and reverts.

These are claims of the author, not the truth; everything built on them says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from codewm.corpus.records import CommitRecord

_FIX = re.compile(
    r"\b(fix(e[sd]|ing|up)?|bug(s|fix(es)?)?|hotfix(es)?|regress(ion|ions|ed)|crash(es|ed)?|defects?|faults?)\b",
    re.I,
)
# Version numbers, typing and spelling: words that say "fix" without a defect in the code.
_NO_FIX = re.compile(
    r"\b(typos?|docs?|docstrings?|spelling|changelog|lint|flake8|mypy|formatting|link|links)\b", re.I
)
# One of these is in every match, and nearly all titles have none: much sooner seen.
_STEMS = ("fix", "bug", "regress", "crash", "defect", "fault")
_REVERTS_OID = re.compile(r"\bThis reverts (?:merge )?commit ([0-9a-f]{7,64})\b", re.I)
_REVERTS_SUBJECT = re.compile(r'^Revert "(.*)"\s*(?:\(#\d+\))?$')
_PULL_REQUEST = re.compile(r"^Merge (pull request|branch|remote)", re.I)


def is_fix(record: CommitRecord) -> bool:
    """The title says that a defect was mended. A merge of a pull request carries its title in the body."""
    title = record.subject
    if record.is_merge and _PULL_REQUEST.match(title):
        title = next((line for line in record.message.splitlines()[1:] if line.strip()), title)
    # Outside ASCII, other letters may match these when case is ignored.
    lower = title.lower()
    if title.isascii() and not any(stem in lower for stem in _STEMS):
        return False
    return bool(_FIX.search(title)) and not _NO_FIX.search(title)


def reverted(record: CommitRecord, rows: Mapping[str, int], subjects: Sequence[str]) -> int:
    """The row of the earlier commit that this one says it reverts, or -1.

    `rows` maps object ids to rows and `subjects` holds the subject of each row, both of earlier commits only.
    """
    message = record.message
    named = None
    if not message.isascii() or "reverts" in message.lower():
        named = _REVERTS_OID.search(message)
    if named is not None:
        oid = named[1].lower()
        if oid in rows:
            return rows[oid]
        matches = [row for full, row in rows.items() if full.startswith(oid)]
        if len(matches) == 1:
            return matches[0]
    quoted = _REVERTS_SUBJECT.match(record.subject)
    if quoted is not None:
        # A title may repeat: the latest one is what people revert.
        for row in range(len(subjects) - 1, -1, -1):
            if subjects[row] == quoted[1]:
                return row
    return -1
