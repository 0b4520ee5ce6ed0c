"""Four layers of settings in, one frozen `Settings` out, with the origin of every value kept.

Later layers win: the defaults in the dataclasses below < `[tool.codewm]` in pyproject.toml, or `.codewm.toml`
< `git config codewm.<section>.<key>` < flags on the command line. Keys are spelt with hyphens everywhere
(`score.fail-above`); an unknown key or a wrong value is an error that names the file and the key.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from codewm.corpus.errors import UserError

FILE_LIMIT = 1 << 20  # bytes; a larger configuration file is not ours
DEFAULT = "default"
FLAG = "flag"


def key_values(pairs: Iterable[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE` says: a value is JSON where it reads as such, else text."""
    import json

    values: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = text
    return values


def _percentile(value: object) -> float:
    number = _number(value)
    if not 0 <= number <= 100:
        raise ValueError("a percentile lies between 0 and 100")
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("expected a whole number")
    if (number := int(value)) < 0:
        raise ValueError("expected a whole number that is not negative")
    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    # Git prints a key without a value as the empty string and calls it true.
    word = value.lower() if isinstance(value, str) else None
    if word in {"", "true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError("expected true or false")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text in quotes")
    return value


def _one_of(*names: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return str(value)

    return parse


def _setting(default: Any, parse: Callable[[object], Any], what: str) -> Any:
    """One setting: its only default, the check of its value, and one line for `codewm info`."""
    return field(default=default, metadata={"parse": parse, "help": what})


@dataclass(frozen=True)
class HarvestSettings:
    """How Git history becomes chains."""

    window: int = _setting(256, _count, "tokens of a unit that the model sees")
    action: str = _setting("v15", _one_of("v7", "v15"), "edit descriptor")
    merges: str = _setting("first-parent", _one_of("first-parent", "skip"), "what to do with merge commits")
    jobs: int = _setting(0, _count, "threads, 0 for one per core")


@dataclass(frozen=True)
class ScoreSettings:
    """What is scored, against what, and when it counts as a finding."""

    range: str | None = _setting(None, _text, "commits to score when none are named")
    format: str = _setting("table", _one_of("table", "json", "jsonl"), "output format")
    history: int | None = _setting(None, _count, "past commits that a score is compared with")
    fail_above: float | None = _setting(None, _percentile, "exit 1 when a commit's percentile is above this")
    alert_budget: float | None = _setting(
        None, _number, "exit 1 on an alert; so many are allowed per 100 commits"
    )


@dataclass(frozen=True)
class HookSettings:
    """What the pre-commit hook says, and whether it may stop a commit."""

    warn_above: float = _setting(
        97.0, _percentile, "warn about a staged change whose percentile is above this"
    )
    max_warnings: int = _setting(3, _count, "lines of warning at most")
    fail_above: float | None = _setting(None, _percentile, "stop a commit whose percentile is above this")
    strict: bool = _setting(False, _switch, "stop the commit when codewm itself fails")


@dataclass(frozen=True)
class Settings:
    """Every setting, resolved; `origin` maps `section.key` to where its value came from."""

    harvest: HarvestSettings = field(default_factory=HarvestSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    hook: HookSettings = field(default_factory=HookSettings)
    origin: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def rows(self) -> Iterator[tuple[str, Any, str, str]]:
        """Yield (`section.key`, value, origin, one-line help) for every setting, in order."""
        for section in SECTIONS:
            values = getattr(self, section)
            for f in fields(values):
                key = f"{section}.{f.name.replace('_', '-')}"
                yield key, getattr(values, f.name), self.origin.get(key, DEFAULT), str(f.metadata["help"])


SECTIONS: Mapping[str, type[Any]] = MappingProxyType(
    {"harvest": HarvestSettings, "score": ScoreSettings, "hook": HookSettings}
)
_KNOWN = {
    f"{section}.{f.name.replace('_', '-')}": (section, f)
    for section, cls in SECTIONS.items()
    for f in fields(cls)
}


class _ConfiguredRepository(Protocol):
    """The two things `for_repository` needs of `codewm.corpus.git.Repository`."""

    @property
    def work_tree(self) -> Path | None: ...

    def config(self, section: str) -> Mapping[str, str]: ...


def for_repository(repository: _ConfiguredRepository, flags: Mapping[str, object] | None = None) -> Settings:
    """Resolve the settings that hold in `repository`, with `flags` (`section.key` to value) on top."""
    return load(repository.work_tree, repository.config("codewm"), flags)


def load(
    work_tree: Path | None,
    git_values: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Resolve the layers.

    `work_tree` is where the configuration file is looked for (None: bare repository). `git_values` maps
    `codewm.<section>.<key>` to text as `git config` prints it. `flags` holds only what was really given.
    """
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    layers: list[tuple[str, Mapping[str, object]]] = []
    if work_tree is not None:
        layers.extend(_file_layers(work_tree))
    layers.append(("git config", {k.removeprefix("codewm."): v for k, v in (git_values or {}).items()}))
    layers.append((FLAG, {k: v for k, v in (flags or {}).items() if v is not None}))
    for source, layer in layers:
        for key, raw in layer.items():
            values[key] = _checked(source, key, raw)
            origin[key] = source
    sections: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for key, value in values.items():
        section, f = _KNOWN[key]
        sections[section][f.name] = value
    built = {name: cls(**sections[name]) for name, cls in SECTIONS.items()}
    return Settings(**built, origin=MappingProxyType(origin))


def _file_layers(work_tree: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    project = _toml(work_tree / "pyproject.toml")
    tool = project.get("tool") if project else None
    ours = tool.get("codewm") if isinstance(tool, dict) else None
    if ours is not None:
        yield "pyproject.toml", _flatten("pyproject.toml", ours, "tool.codewm")
    own = _toml(work_tree / ".codewm.toml", strict=True)
    if own is not None:
        if ours is not None:
            raise UserError(
                "settings are in both pyproject.toml ([tool.codewm]) and .codewm.toml",
                "keep them in one of the two",
            )
        yield ".codewm.toml", _flatten(".codewm.toml", own, "")


def _toml(path: Path, strict: bool = False) -> dict[str, Any] | None:
    """Read a TOML file; None where there is none.

    A broken pyproject.toml that never mentions codewm is somebody else's matter; `strict` says it is ours.
    """
    try:
        # The file is the repository's: a link could point anywhere, and its size is not ours to trust.
        if not path.is_file():
            return None
        with path.open("rb") as f:
            raw = f.read(FILE_LIMIT + 1)
    except OSError as e:
        raise UserError(f"cannot read {path.name}: {e.strerror}", "check the permissions of the file") from e
    if len(raw) > FILE_LIMIT:
        raise UserError(f"{path.name} is larger than {FILE_LIMIT} bytes", "move the settings to .codewm.toml")
    # Nearly every pyproject.toml; a key can be spelt without its letters only by the escapes \\u and \\U.
    if not strict and b"codewm" not in raw and b"\\u" not in raw.lower():
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        if strict or b"tool.codewm" in raw:
            raise UserError(f"{path.name} is not valid TOML: {e}", "mend the file") from e
        return None


def _flatten(source: str, table: object, where: str) -> dict[str, object]:
    if not isinstance(table, dict):
        raise UserError(f"{source}: '{where}' must be a table", f"write [{where}.score] and keys below it")
    flat: dict[str, object] = {}
    for section, entries in table.items():
        if section not in SECTIONS or not isinstance(entries, dict):
            raise _unknown(source, section)
        flat.update({f"{section}.{key}": value for key, value in entries.items()})
    return flat


def _checked(source: str, key: str, raw: object) -> object:
    known = _KNOWN.get(key)
    if known is None:
        raise _unknown(source, key)
    try:
        return known[1].metadata["parse"](raw)
    except ValueError as e:
        raise UserError(f"{source}: '{key}' cannot be '{raw}': {e}", known[1].metadata["help"]) from e


def _unknown(source: str, key: str) -> UserError:
    from difflib import get_close_matches

    near = get_close_matches(key.replace("_", "-"), _KNOWN, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "'codewm info' lists the settings there are"
    return UserError(f"{source}: unknown setting '{key}'", hint)
