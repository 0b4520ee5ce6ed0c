"""Partial clones: which remotes promised the objects that were left out, and fetching them from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from codewm.corpus.complaints import unreachable

if TYPE_CHECKING:
    from codewm.corpus.git import Git

_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no",
          "--filter=blob:none", "--stdin", "--end-of-options")  # fmt: skip


def addresses(config: Mapping[str, str]) -> list[str]:
    """The addresses of the remotes that hand out what was left out, from all of a configuration."""
    found = []
    named = config.get("extensions.partialclone")
    for key, address in config.items():
        remote = key.removesuffix(".url")
        if not remote.startswith("remote.") or remote == key:
            continue
        # A key without a value is true.
        promised = config.get(f"{remote}.promisor", "no").lower() in {"", "true", "yes", "on", "1"}
        if promised or remote == f"remote.{named}":
            found.append(address)
    return found


class Promisors:
    """Fetches many objects at once; Git by itself would fetch one after the other."""

    def __init__(self, objects: Git, fetching: Git, remotes: int) -> None:
        """`objects` sees what is here, `fetching` has the remotes, named by `sandbox.fetching_environment`."""
        self._objects = objects
        self._fetching = fetching
        self._remotes = remotes

    def fetch(self, oids: list[str]) -> None:
        """Fetch the objects among `oids` that are missing; what no remote has stays missing.

        Raises `UserError` if the last remote cannot be reached.
        """
        asked = "".join(f"{oid}\n" for oid in oids).encode("ascii")
        told = self._objects.done("cat-file", "--batch-check=%(objectname)", input=asked)
        missing = [line.split()[0] for line in told.stdout.splitlines() if line.endswith(b" missing")]
        for number in range(self._remotes):
            missing = self._fetch_from(f"promisor{number}", missing, last=number == self._remotes - 1)

    def _fetch_from(self, remote: str, oids: list[bytes], last: bool) -> list[bytes]:
        """Return what this remote does not have."""
        if not oids:
            return []
        done = self._fetching.done(*_FETCH, remote, input=b"".join(oid + b"\n" for oid in oids))
        if done.returncode == 0:
            return []
        if b"not our ref" in done.stderr:
            # One such is enough to be given nothing.
            half = len(oids) // 2
            if half == 0:
                return oids
            return [o for part in (oids[:half], oids[half:]) for o in self._fetch_from(remote, part, last)]
        if last:
            raise unreachable(done.stderr)
        return oids
