"""A repository and a change in, what else the change is likely to need out: behind `codewm impact`.

past up to the change ─► view ─┐
the change's own edits ─► known ┴► signals ─► scores ─► chances ─► what is named, with reasons ─► Report
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codewm.corpus.distinct import shared
from codewm.corpus.errors import UserError
from codewm.corpus.records import RevSpec
from codewm.model.impact.evidence import Witness, is_special, together
from codewm.model.impact.gather import past_before, with_commits
from codewm.model.impact.missing import Count, counts, is_usual, missing
from codewm.model.impact.observe import observe, replay_tests
from codewm.model.impact.past import GONE, Past
from codewm.model.impact.postings import I32
from codewm.model.impact.rank import Ranked, rank_files, rank_units
from codewm.model.impact.replay import changed_files
from codewm.model.impact.report import Curve, Evidence, Observed, Report, Suggestion
from codewm.model.impact.settings import ImpactSettings
from codewm.model.impact.signals import Known, View
from codewm.model.impact.unit_signals import UnitView

if TYPE_CHECKING:
    from codewm.corpus.git import Repository
    from codewm.corpus.records import CommitRecord

Warn = Callable[[str], None]
_SILENT: Warn = lambda text: None  # noqa: E731


@dataclass(frozen=True)
class Target:
    """What is asked about."""

    kind: str = "latest"
    """'staged', 'worktree', 'commit'; 'latest' is what is staged, else what is changed, else the last commit."""
    revision: str = "HEAD"


def observed(repo: Repository, settings: ImpactSettings, warn: Warn = _SILENT) -> Observed:
    """Replay the latest commits of HEAD. Raises `UserError` where there is nothing to replay."""
    past = past_before(repo, repo.head(), settings, warn)
    if len(past) < 2:
        raise UserError("there is no history to replay yet", "come back after some commits")
    return observe(past, settings)


def impact(
    repo: Repository,
    target: Target,
    settings: ImpactSettings | None = None,
    warn: Warn = _SILENT,
    *,
    with_tests: bool = False,
) -> Report:
    """Say what else the change may need. Raises `UserError` for what cannot be asked about."""
    settings = settings or ImpactSettings()
    kind, record = select(repo, target)
    base = record.parents[0] if record.parents else ""
    before = past_before(repo, base, settings, warn)
    past = with_commits(repo, before, [record], settings)
    commit = len(past) - 1
    files, _ = changed_files(past, commit)
    return _Writer(repo, base, past, commit, settings).report(kind, record, files, with_tests)


def select(repo: Repository, target: Target) -> tuple[str, CommitRecord]:
    """What kind of change it is, and the change. Raises `UserError` if there is none."""
    kind = target.kind
    if kind in {"latest", "staged"}:
        record = repo.staged()
        if record.changes:
            return "staged", record
        if kind == "staged":
            raise UserError("nothing is staged", "stage a change with 'git add', or name a commit")
    if kind in {"latest", "worktree"} and (repo.work_tree is not None or kind == "worktree"):
        record = repo.worktree()
        if record.changes:
            return "worktree", record
        if kind == "worktree":
            raise UserError("the work tree has no changes", "edit something, or name a commit")
    oid = repo.resolve(target.revision)
    record = next(iter(repo.commits(RevSpec(oid, only=True))))
    if record.boundary:
        raise UserError(
            "the parent of this commit is missing, because this is a shallow clone",
            "'git fetch --unshallow' brings it (in CI: fetch-depth: 0)",
        )
    return "commit", record


class _Writer:
    def __init__(
        self, repo: Repository, base: str, past: Past, commit: int, settings: ImpactSettings
    ) -> None:
        self.repo, self.base, self.past, self.commit, self.settings = repo, base, past, commit, settings
        self.view = View(past, commit)

    def report(self, kind: str, record: CommitRecord, files: I32, with_tests: bool) -> Report:
        past, settings = self.past, self.settings
        known = Known.of(past, self.commit, files)
        after = past.paths_before(self.commit + 1)
        before = self.view.path
        changed = [past.paths[after[f] if after[f] != GONE else before[f]] for f in files.tolist()]

        def answer(state: str, sentence: str, **found: object) -> Report:
            return Report(
                target=kind, oid=record.oid, subject=record.subject, changed=tuple(sorted(changed)),
                units=len(known.units), state=state, sentence=sentence, commits=self.commit,
                source=past.source, **found,  # type: ignore[arg-type]
            )  # fmt: skip

        if not len(files):
            return answer(
                "no Python", "no Python file is changed, and other files are not looked at by themselves"
            )
        if len(files) > settings.most_files:
            return answer(
                "sweep", f"it changes {len(files)} Python files: nobody can say what a sweep forgot"
            )
        ranked = rank_files(self.view, known)
        known_counts = counts(self.view, files, settings.lately)
        others = self._others(known_counts, set(files.tolist()))
        tests, curve = self._tests(known, known_counts) if with_tests else ((), None)
        named = self._named(ranked, known_counts, files)
        if not named:
            return answer("unsure", self._why_unsure(ranked, files), others=others, tests=tests, curve=curve)
        witness = Witness(self.repo, self.base, self.view, known)
        witness.read(named)
        chance = ranked.chances
        usual = {c.file for c in missing(self.view, files, ranked, settings)}
        suggested = tuple(
            self._file(
                f, float(chance[f]), f in usual, witness.of_file(f, ranked.rows[f], known_counts.get(f))
            )
            for f in sorted(named, key=lambda f: (f not in usual, -ranked.scores[f]))
        )
        return answer(
            "answered",
            "",
            files=suggested,
            near=self._units(known, ranked),
            tests=tests,
            others=others,
            curve=curve,
        )

    def _named(self, ranked: Ranked, known: dict[int, Count], files: I32) -> list[int]:
        """What usually changes with the change, and the best others, unless none of them is likely enough."""
        settings, chance = self.settings, ranked.chances
        named = [c.file for c in missing(self.view, files, ranked, settings)][: settings.shown]
        if float(chance.max(initial=0.0)) >= settings.abstain_below:
            best = [int(f) for f in ranked.order[: settings.shown] if chance[f] >= settings.name_above]
            named += [f for f in best if f not in named]
        return named

    def _why_unsure(self, ranked: Ranked, files: I32) -> str:
        best = float(ranked.chances.max(initial=0.0))
        if self.commit == 0 or not ranked.candidates.any():
            return "there is no other Python file, or no earlier commit, to compare with"
        seen = sum(len(self.past.commits_of_file.values(int(f), self.commit)) for f in files)
        if seen == 0:
            return "the changed files are new, and nothing in the tree is named, imported or used as they are"
        return (
            f"nothing stands out: no file has more than {best:.0%} of a chance, after {seen} earlier changes "
            "of these files; that is no promise that nothing is missing"
        )

    def _file(self, file: int, chance: float, usual: bool, evidence: tuple[Evidence, ...]) -> Suggestion:
        path = int(self.view.path[file])
        return Suggestion(
            self.past.paths[path], "", chance, usual, bool(self.past.path_table.test[path]), evidence
        )

    def _others(self, known: dict[int, Count], changed: set[int]) -> tuple[Suggestion, ...]:
        """Files that are not Python, by counts alone."""
        past, view = self.past, self.view
        low, high = past.first_change[self.commit], past.first_change[self.commit + 1]
        changed |= set(past.changed[1][low:high].tolist())
        usual = [
            c
            for c in known.values()
            if not view.candidates[c.file]
            and c.file not in changed
            and is_usual(c, self.settings, self.settings.others_confidence)
        ]
        usual.sort(key=lambda c: (-c.together / (c.changes + 2), c.file))
        return tuple(
            self._file(c.file, 0.0, True, (together(view, c),)) for c in usual[: self.settings.shown]
        )

    def _tests(self, known: Known, counted: dict[int, Count]) -> tuple[tuple[Suggestion, ...], Curve]:
        past, view, settings = self.past, self.view, self.settings
        among = view.exists & past.path_table.collected[view.path]
        ranked = rank_files(view, known, among)
        best = [int(f) for f in ranked.order[: settings.tests]]
        witness = Witness(self.repo, self.base, view, known)
        witness.read(best)
        chance = ranked.chances
        picked = tuple(
            self._file(f, float(chance[f]), False, witness.of_file(f, ranked.rows[f], counted.get(f)))
            for f in best
        )
        # Tests that the change itself touches come first, and need no ranking.
        own = [
            self._file(int(f), 1.0, False, (Evidence("changed"),))
            for f in known.files
            if view.path[f] != GONE and past.path_table.collected[view.path[f]]
        ]
        return (*own, *picked), replay_tests(past.before(self.commit), settings)[0]

    def _units(self, known: Known, files: Ranked) -> tuple[Suggestion, ...]:
        past, settings = self.past, self.settings
        if not len(known.units) or len(known.units) > settings.most_units:
            return ()
        view = UnitView(past, self.commit)
        ranked = rank_units(view, known, files)
        found = []
        for unit in ranked.order[: settings.shown].tolist():
            commits = past.commits_of_unit.values(unit, self.commit)
            with_it = past.commits_of_unit.take(known.units, self.commit)[1]
            both = shared(commits, with_it)
            evidence = []
            if len(both):
                examples = tuple(past.oids[c] for c in both[::-1][:3])
                evidence.append(
                    Evidence("together", together=len(both), changes=len(commits), commits=examples)
                )
            names = past.names_of_unit.values(unit, self.commit)
            used = [past.names[n] for n in shared(names, known.defined) if not is_special(past.names[n])]
            if used:
                evidence.append(Evidence("uses", names=tuple(used[:3])))
            path = int(self.view.path[view.file[unit]])
            if path == GONE or not evidence:
                continue
            name = past.units[view.name[unit]]
            test = bool(past.path_table.test[path])
            found.append(Suggestion(past.paths[path], name, 0.0, False, test, tuple(evidence)))
        return tuple(found)
