"""The names that turn data into behaviour or talk to the world, and how much more they count when new.

One list, used by the new-identifiers channel and its reasons. A sink counts only where its use fits
(`as_call`, `as_import`, ...), because `re.compile` and `session.exec` are everyday words, and only where
the module did not have it yet: a module that already runs subprocesses is allowed to run another.
"""

from __future__ import annotations

from typing import NamedTuple

import codewm_core as core


class Sink(NamedTuple):
    """One dangerous name."""

    weight: float
    """Added to the name's own weight when it is new to the module."""
    use: str
    """'call' bare call, 'method' attribute call, 'import', 'module' import or any bare use, 'any'."""
    reason: str
    """What it does, for people."""


_RUNS_TEXT, _RUNS_PROGRAMS = "runs text as code", "runs other programs"
_TALKS, _UNPICKLES, _DECODES = (
    "opens network connections",
    "rebuilds objects from bytes",
    "decodes hidden bytes",
)
_NATIVE, _REFLECTS = "calls native code", "reaches into the interpreter"

SINKS: dict[str, Sink] = {
    # Text to code: the end of every obfuscated payload.
    "exec": Sink(4.0, "call", _RUNS_TEXT),
    "eval": Sink(4.0, "call", _RUNS_TEXT),
    "compile": Sink(2.0, "call", _RUNS_TEXT),
    "__import__": Sink(4.0, "call", _RUNS_TEXT),
    "execfile": Sink(3.0, "call", _RUNS_TEXT),
    "runpy": Sink(2.0, "module", _RUNS_TEXT),
    # Other programs. `run` and `call` alone are too common; their module is not.
    "subprocess": Sink(2.5, "module", _RUNS_PROGRAMS),
    "Popen": Sink(2.0, "any", _RUNS_PROGRAMS),
    "check_output": Sink(2.0, "any", _RUNS_PROGRAMS),
    "check_call": Sink(1.5, "any", _RUNS_PROGRAMS),
    "system": Sink(3.0, "method", _RUNS_PROGRAMS),
    "popen": Sink(3.0, "any", _RUNS_PROGRAMS),
    "execv": Sink(2.5, "any", _RUNS_PROGRAMS),
    "execve": Sink(2.5, "any", _RUNS_PROGRAMS),
    "execvp": Sink(2.5, "any", _RUNS_PROGRAMS),
    "spawnl": Sink(2.5, "any", _RUNS_PROGRAMS),
    "spawnv": Sink(2.5, "any", _RUNS_PROGRAMS),
    "fork": Sink(1.5, "method", _RUNS_PROGRAMS),
    "pty": Sink(2.5, "module", _RUNS_PROGRAMS),
    # The network.
    "socket": Sink(2.5, "module", _TALKS),
    "create_connection": Sink(1.5, "any", _TALKS),
    "urlopen": Sink(2.0, "any", _TALKS),
    "urlretrieve": Sink(2.5, "any", _TALKS),
    "urllib": Sink(1.0, "import", _TALKS),
    "urllib2": Sink(1.0, "import", _TALKS),
    "requests": Sink(1.5, "import", _TALKS),
    "httpx": Sink(1.5, "import", _TALKS),
    "ftplib": Sink(2.5, "module", _TALKS),
    "telnetlib": Sink(2.5, "module", _TALKS),
    "smtplib": Sink(2.0, "module", _TALKS),
    "paramiko": Sink(2.0, "module", _TALKS),
    # Bytes to objects: running them is a documented feature of the format.
    "pickle": Sink(2.0, "module", _UNPICKLES),
    "cPickle": Sink(2.0, "module", _UNPICKLES),
    "marshal": Sink(3.0, "module", _UNPICKLES),
    "dill": Sink(2.0, "module", _UNPICKLES),
    "cloudpickle": Sink(2.0, "module", _UNPICKLES),
    "shelve": Sink(1.5, "module", _UNPICKLES),
    # Hidden bytes. `decode` alone is too common.
    "base64": Sink(2.0, "module", _DECODES),
    "b64decode": Sink(3.0, "any", _DECODES),
    "b32decode": Sink(3.0, "any", _DECODES),
    "b85decode": Sink(3.0, "any", _DECODES),
    "a85decode": Sink(3.0, "any", _DECODES),
    "unhexlify": Sink(2.5, "any", _DECODES),
    "fromhex": Sink(1.5, "any", _DECODES),
    "binascii": Sink(1.5, "module", _DECODES),
    "zlib": Sink(1.5, "module", _DECODES),
    "lzma": Sink(1.5, "module", _DECODES),
    "decompress": Sink(1.5, "any", _DECODES),
    "codecs": Sink(1.0, "module", _DECODES),
    # Below and behind Python.
    "ctypes": Sink(2.5, "module", _NATIVE),
    "CDLL": Sink(3.0, "any", _NATIVE),
    "cffi": Sink(2.0, "module", _NATIVE),
    "__builtins__": Sink(3.0, "any", _REFLECTS),
    "__subclasses__": Sink(3.0, "any", _REFLECTS),
    "__globals__": Sink(2.5, "any", _REFLECTS),
    "__code__": Sink(1.5, "any", _REFLECTS),
    "settrace": Sink(1.5, "any", _REFLECTS),
}


def sink_of(name: str, flags: int) -> Sink | None:
    """Return the sink that this use of `name` is; `flags` are the core's `NAME_*` bits."""
    sink = SINKS.get(name)
    if sink is None or flags & (core.NAME_BOUND | core.NAME_IN_MODULE | core.NAME_IN_UNIT):
        return None
    called, attribute = bool(flags & core.NAME_CALL), bool(flags & core.NAME_ATTRIBUTE)
    imported = bool(flags & core.NAME_IMPORT)
    fits = {
        "call": called and not attribute,
        "method": (called and attribute) or imported,
        "import": imported,
        "module": imported or not attribute,
        "any": True,
    }[sink.use]
    return sink if fits else None
