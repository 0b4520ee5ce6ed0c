"""Claims about the manifest for the pre-commit framework.

1. The framework accepts it.
2. The hook reads the index by itself, once, shows its output, and brings the Rust core from the clone.
"""

from __future__ import annotations

import subprocess
import sys

import yaml

from tests.helpers import ROOT

MANIFEST = ROOT / ".pre-commit-hooks.yaml"


def test_the_framework_accepts_the_manifest() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(MANIFEST)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_the_hook() -> None:
    [hook] = yaml.safe_load(MANIFEST.read_text())
    assert hook["id"] == "codewm"
    assert hook["entry"] == "codewm hook run"
    assert (hook["pass_filenames"], hook["require_serial"], hook["verbose"]) == (False, True, True)
    assert hook["types"] == ["python"]
    [core] = hook["additional_dependencies"]
    assert (ROOT / core / "pyproject.toml").is_file()
