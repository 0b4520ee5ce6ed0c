# Every check and every measurement, by name. `just` alone runs what .ci/run runs.
# Another environment than ./.venv: just bin=/path/to/venv/bin test

bin := justfile_directory() / ".venv/bin"
python := bin / "python"

# All tests, then all static checks.
default: test lint

# Rust tests, then Python tests.
test: test-rs test-py

test-rs:
    cargo test --manifest-path rust/Cargo.toml --workspace --locked

test-py:
    "{{python}}" -m pytest

# Tests of many minutes: every command of the papers' reproduction, at its smallest size.
test-long:
    "{{python}}" -m pytest -m long

# Formatting, lints and types of both languages.
lint: lint-rs lint-py types

lint-rs:
    cargo fmt --manifest-path rust/Cargo.toml --all --check
    cargo clippy --manifest-path rust/Cargo.toml --workspace --all-targets --locked -- -D warnings

lint-py:
    "{{bin}}/ruff" check .
    "{{bin}}/ruff" format --check .

# mypy cannot follow the editable install's finder, so it gets the import names as links (style: packaging).
types:
    mkdir -p .typecheck/codewm
    ln -sfn ../../codewm_cli .typecheck/codewm/cli
    ln -sfn ../../corpus .typecheck/codewm/corpus
    ln -sfn ../../hooks .typecheck/codewm/hooks
    ln -sfn ../../model .typecheck/codewm/model
    "{{bin}}/mypy" -p codewm.cli -p codewm.corpus -p codewm.hooks -p codewm.model

# Write what the formatters would like to see.
fmt:
    cargo fmt --manifest-path rust/Cargo.toml --all
    "{{bin}}/ruff" check --fix .
    "{{bin}}/ruff" format .

# The Rust engine against torch, and the tokeniser against its Python reference.
parity:
    "{{python}}" -m pytest tests/engine tests/core

# Start-up time of `codewm --help` against a bare python.
bench-startup:
    "{{python}}" benches/startup.py

# The hook on a real repository: just bench-hook /path/to/click
bench-hook repository:
    "{{python}}" benches/hook_replay.py "{{repository}}"

# Harvest beside PyDriller and other peers on real clones (pip install -e '.[bench]'): just bench-harvest /path/to/click
[positional-arguments]
bench-harvest +clones:
    "{{python}}" benches/harvest.py "$@"

# Nothing new, and one new commit: just bench-harvest-latency /path/to/click
[positional-arguments]
bench-harvest-latency +clones:
    "{{python}}" benches/harvest.py --latency "$@"

# Seconds against the number of commits, on a real clone and on 100,000 generated commits; takes long.
[positional-arguments]
bench-harvest-scale *clones:
    "{{python}}" benches/harvest.py --scale "$@"

# One commit that adds 5,000 Python files.
bench-harvest-import files="5000":
    "{{python}}" benches/harvest.py --import {{files}}

# The training corpus, from a folder with clones of the pinned repositories: just corpus CLONES OUT.h5
[positional-arguments]
corpus clones out *options:
    "{{bin}}/codewm" collect "$@"

# A base model from that corpus, as the shipped one was made: just base CORPUS.h5 OUT.safetensors
[positional-arguments]
base corpus out *options:
    "{{bin}}/codewm" train --corpus "$1" -o "$2" --from scratch --steps 15000 --set max_edits=100000 --f32 "${@:3}"

# Every command of the papers' experiments in minutes; its figures mean nothing: just reproduce-smoke CLONES UNSEEN OUT
reproduce-smoke clones unseen out:
    benches/reproduce.sh "{{bin}}/codewm" smoke "{{clones}}" "{{unseen}}" "{{out}}"

# Every experiment of both papers, sized for an evening on two cores: just reproduce CLONES UNSEEN OUT (docs/reproduction.md)
reproduce clones unseen out:
    benches/reproduce.sh "{{bin}}/codewm" small "{{clones}}" "{{unseen}}" "{{out}}"

# The same with the papers' steps, batches and seeds, on a GPU.
reproduce-full clones unseen out device="cuda":
    benches/reproduce.sh "{{bin}}/codewm" full "{{clones}}" "{{unseen}}" "{{out}}" "{{device}}"

# What one of these wrote, as one Markdown table, finished or not: just reproduction-table OUT [base encoder-collapse-text ...]
[positional-arguments]
reproduction-table out *names:
    "{{python}}" benches/reproduction.py "$@"

# Both wheels, into dist/.
wheel:
    "{{python}}" -m pip wheel --no-deps --wheel-dir dist ./rust .
