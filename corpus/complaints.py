"""What Git says on stderr in, what to do about it out. Pure text, no process."""

from __future__ import annotations

from pathlib import Path

from codewm.corpus.errors import UserError

_DAMAGE = (b"corrupt", b"inflate", b"unable to unpack", b"unable to parse", b"garbage at end", b"is empty",
           b"failed to read object", b"failed to validate", b"mismatch", b"bad object header",
           b"packfile", b"index file", b"wrong index", b"delta base")  # fmt: skip
_LACK = (b"unable to read", b"bad object", b"bad tree object", b"Could not read", b"could not read",
         b"could not get", b"not a tree object", b"promisor", b"lazy fetching", b"could not fetch")  # fmt: skip

_NO_REMOTE = (b"transport '", b"Could not read from remote", b"unable to access", b"unable to connect",
              b"' blocked", b"remote error", b"could not read Username", b"could not read Password",
              b"Authentication failed")  # fmt: skip


def is_damage(said: bytes) -> bool:
    """An object is here but cannot be read."""
    return any(word in said for word in _DAMAGE)


def is_lack(said: bytes) -> bool:
    """An object is not here."""
    return not is_damage(said) and any(word in said for word in _LACK)


def is_unreachable(said: bytes) -> bool:
    """Something was to be fetched, and the remote does not answer or may not be asked."""
    return any(word in said for word in _NO_REMOTE)


def unreachable(said: bytes) -> UserError:
    """Explain a fetch that failed."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.startswith("fatal: ")]
    first = lines[0].removeprefix("fatal: ") if lines else "Git gives no reason"
    return UserError(
        f"the missing objects cannot be fetched: {first}", "'git fetch' may say more; see 'git remote -v'"
    )


def explained(stderr: bytes, where: Path) -> UserError:
    """Turn what Git said into what to do about it."""
    said = stderr.decode("utf-8", "replace").strip()
    lines = [line for line in said.splitlines() if line.startswith(("fatal:", "error:"))]
    first = (lines or [said])[0].removeprefix("fatal: ").removeprefix("error: ").partition("\n")[0]
    if "dubious ownership" in said:
        return UserError(
            f"Git refuses '{where}': it belongs to somebody else",
            f"if you trust it: git config --global --add safe.directory '{where}'",
        )
    if "safe.bareRepository" in said:
        return UserError(
            f"Git refuses '{where}': your safe.bareRepository allows no bare repository that is found",
            "if you trust it: git config --global safe.bareRepository all",
        )
    if "not a git repository" in said:
        return UserError(f"'{where}' is not in a Git repository", "run this inside one, or name its folder")
    if "info/alternates" in said or "alternate object path" in said:
        return UserError(
            "the repository whose objects this one borrows is gone",
            "put it back, or correct objects/info/alternates in the .git folder",
        )
    if "bad config" in said:
        return UserError(f"Git cannot read the configuration: {first}", "mend the file that it names")
    if is_unreachable(stderr):
        return unreachable(stderr)
    if any(word in said for word in ("does not have any commits", "bad default revision")):
        return UserError("the repository has no commits yet", "make a first commit, then try again")
    return UserError(
        f"Git cannot read the repository: {first or 'it ended without a word'}",
        "'git fsck' says what is damaged; a fresh clone usually mends it",
    )
