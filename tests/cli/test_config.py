"""Claims about settings.

1. Each layer overrides the one below: defaults, configuration file, `git config codewm.*`, flags; the origin
   of every value is kept.
2. Unknown sections and keys, and values of the wrong type or range, are errors naming the file and the key.
3. Every key can be said in every layer, and says the same there.
4. Somebody else's broken pyproject.toml does not stop us; a broken file that is ours does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from codewm.cli import config
from codewm.corpus.errors import UserError


def test_defaults_alone(tmp_path: Path) -> None:
    settings = config.load(tmp_path)
    assert settings == config.Settings()
    assert {origin for _, _, origin, _ in settings.rows()} == {"default"}


def test_no_work_tree_means_no_file() -> None:
    assert config.load(None) == config.Settings()


def test_layers_override_in_order_and_keep_their_origin(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.codewm.hook]\nmax-warnings = 1\nwarn-above = 90\n[tool.codewm.harvest]\njobs = 7\n"
    )
    git = {"codewm.hook.warn-above": "91.5", "codewm.harvest.jobs": "8"}
    settings = config.load(tmp_path, git, {"harvest.jobs": 9, "score.fail-above": None})
    assert (settings.hook.max_warnings, settings.hook.warn_above, settings.harvest.jobs) == (1, 91.5, 9)
    assert settings.score.fail_above is None
    assert settings.origin == {
        "hook.max-warnings": "pyproject.toml",
        "hook.warn-above": "git config",
        "harvest.jobs": "flag",
    }


def test_own_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / ".codewm.toml").write_text("[hook]\nstrict = true\n")
    settings = config.load(tmp_path)
    assert settings.hook.strict
    assert settings.origin == {"hook.strict": ".codewm.toml"}


def test_both_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.codewm.hook]\nstrict = true\n")
    (tmp_path / ".codewm.toml").write_text("[hook]\nstrict = true\n")
    with pytest.raises(UserError, match=r"both pyproject\.toml"):
        config.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[hook]\nmax_warnings = 3",
            r"\.codewm\.toml: unknown setting 'hook\.max_warnings'",
            "'hook.max-warnings'",
        ),
        ("[hok]\nx = 3", r"\.codewm\.toml: unknown setting 'hok'", "codewm info"),
        ("strict = true", r"\.codewm\.toml: unknown setting 'strict'", ""),
        ("[hook]\nstrict = 1", r"\.codewm\.toml: 'hook\.strict' cannot be '1': expected true or false", ""),
        ("[hook]\nwarn-above = 101", r"'hook\.warn-above' cannot be '101': a percentile lies", ""),
        ("[hook]\nwarn-above = true", r"'hook\.warn-above' cannot be 'True': expected a number", ""),
        ("[hook]\nmax-warnings = -1", r"'hook\.max-warnings' cannot be '-1'", ""),
        ("[hook]\nmax-warnings = 1.5", r"'hook\.max-warnings' cannot be '1\.5'", ""),
        ("[harvest]\naction = 'v8'", r"'harvest\.action' cannot be 'v8': expected one of v7, v15", ""),
        ("[score]\nrange = 3", r"'score\.range' cannot be '3': expected text", ""),
        ("[hook", r"\.codewm\.toml is not valid TOML", "mend"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / ".codewm.toml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        config.load(tmp_path)
    assert hint in caught.value.hint


def test_mistakes_in_git_configuration() -> None:
    with pytest.raises(UserError, match=r"git config: unknown setting 'hok\.strict'"):
        config.load(None, {"codewm.hok.strict": "true"})
    with pytest.raises(UserError, match=r"git config: 'hook\.strict' cannot be 'maybe'"):
        config.load(None, {"codewm.hook.strict": "maybe"})


@pytest.mark.parametrize(
    ("text", "value"), [("", True), ("yes", True), ("ON", True), ("0", False), ("off", False)]
)
def test_git_switches(text: str, value: bool) -> None:
    assert config.load(None, {"codewm.hook.strict": text}).hook.strict is value


@pytest.mark.parametrize("row", list(config.Settings().rows()), ids=lambda row: row[0])
def test_every_key_says_the_same_in_every_layer(tmp_path: Path, row: tuple[str, object, str, str]) -> None:
    key, default, _, what = row
    value = {
        "harvest.action": "v7",
        "harvest.merges": "skip",
        "score.format": "json",
        "score.range": "HEAD",
        "score.history": 5,
    }.get(key)
    if value is None:
        value = {bool: True, int: 5, str: "HEAD"}.get(type(default), 55.0)
    section, name = key.split(".")
    literal = str(value).lower() if not isinstance(value, str) else f'"{value}"'
    (tmp_path / ".codewm.toml").write_text(f"[{section}]\n{name} = {literal}\n")
    by_file = config.load(tmp_path)
    by_git = config.load(
        None, {f"codewm.{key}": str(value).lower() if isinstance(value, bool) else str(value)}
    )
    by_flag = config.load(None, None, {key: value})
    assert getattr(by_file, section) == getattr(by_git, section) == getattr(by_flag, section)
    assert getattr(by_file, section) != getattr(config.Settings(), section)
    assert what


def test_a_foreign_broken_project_file_is_ignored_ours_is_not(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    assert config.load(tmp_path) == config.Settings()
    (tmp_path / "pyproject.toml").write_text("[tool.codewm.hook\n")
    with pytest.raises(UserError, match="not valid TOML"):
        config.load(tmp_path)


def test_an_enormous_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".codewm.toml").write_bytes(b"#" * (config.FILE_LIMIT + 1))
    with pytest.raises(UserError, match="larger than"):
        config.load(tmp_path)
