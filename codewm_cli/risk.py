"""A repository in, its risk head, or the risk of scored commits, out: what `train --risk` and `--risk` share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from codewm.cli import config, console
from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codewm.corpus.git import Repository
    from codewm.model.scoring.report import Report
    from codewm.model.scoring.risk import Risk


def train_head(repo: Path, as_json: bool, quiet: bool) -> int:
    """Fit the risk head of a repository, keep it, and print how it did on later commits."""
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise UserError(
            "the risk head needs scikit-learn, which is not installed", "pip install 'codewm[risk]'"
        )
    from codewm.cli.chains import up_to_date
    from codewm.cli.commands.score import scoring
    from codewm.cli.report import risk as write
    from codewm.corpus.fixes import known_fixes
    from codewm.corpus.git import Repository
    from codewm.corpus.szz import DAY
    from codewm.model.scoring import risk, risk_fit
    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.fate import Fates
    from codewm.model.scoring.replay import ReplaySettings, judged, measured

    with Repository.open(repo) as repository:
        model = load_model(repository.data_dir, None)
        table, _ = up_to_date(repository, quiet)
        tip = table.commits.oid[-1]
        settings, wanted = scoring(config.for_repository(repository).score), ReplaySettings()
        console.say(f"measuring {len(table.commits):,} commits, unless done before", quiet)
        past = measured(repository, tip, model, settings, wanted)
        first = len(table.commits) - len(past)
        console.say("judging each against its past", quiet)
        seen = judged(past, settings, wanted)
        labels = known_fixes(repository)
        rows = np.flatnonzero(seen.judged)
        channels = {name: values[rows] for name, values in seen.conformal.items()}
        x = risk.features(table, rows + first, channels)
        fit_settings = risk_fit.FitSettings()
        commits = table.commits
        time = np.maximum.accumulate(commits.committer_time).astype(np.float64)
        fates = Fates(table, labels)
        came_out = [fates.came_out(seen.oids[c], fit_settings.horizon) for c in rows.tolist()]
        names = risk.names(model)
        data = risk_fit.Data(
            names=names,
            x=x,
            time=time[rows + first],
            came_out=np.array(came_out),
            lines=past.lines_added[rows],
            code=risk.code_added(table)[rows + first],
            newest=float(time[-1]),
            prior=risk_fit.prior(names),
        )
        console.say("fitting", quiet)
        fitted, tested = risk_fit.fit(data, fit_settings)
        old = data.newest - data.time >= fit_settings.horizon * DAY
        head = risk.Head(
            names=data.names,
            centre=tuple(fitted.centre.tolist()),
            scale=tuple(fitted.scale.tolist()),
            weights=tuple(fitted.weights.tolist()),
            intercept=fitted.intercept,
            usual=float(np.isfinite(data.came_out[old]).mean()),
            horizon=fit_settings.horizon,
            model=model.digest,
            tokenizer_id=table.tokenizer_id,
            tip=tip,
            commits=int(old.sum()),
            bad=int(np.isfinite(data.came_out[old]).sum()),
            figures=risk_fit.figures(tested),
        )
        place = repository.data_dir / risk.FILE_NAME
        if tested.tells:
            risk.save(place, head)
        else:
            # What a head at chance says is not worth reading; neither is that of one that this one was to replace.
            place.unlink(missing_ok=True)
    if as_json:
        console.data(
            json.dumps(
                {"schema": risk.SCHEMA, "head": str(place) if tested.tells else None, **head.figures},
                indent=2,
            )
        )
    else:
        console.render(write.to_text(head, tested))
    done = (
        f"risk head written to {place}; 'codewm score --risk' shows it"
        if tested.tells
        else "no risk head was written"
    )
    console.say(done, quiet)
    return 0


def risks_of(
    repository: Repository, report: Report, staged: bool, model_choice: str | None, quiet: bool
) -> Mapping[str, Risk]:
    """The risk of each scored commit of a report, by its id; '' is what is staged, or else the work tree.

    Raises `UserError` where there is no head, or one of another model.
    """
    from codewm.cli.chains import up_to_date
    from codewm.corpus.edits import extract
    from codewm.corpus.harvest import author_salt
    from codewm.model.scoring import risk
    from codewm.model.scoring.channels import CHANNELS
    from codewm.model.scoring.combine import per_commit
    from codewm.model.scoring.engine_model import load_model
    from codewm.model.scoring.settings import ScoreSettings

    model = load_model(repository.data_dir, model_choice)
    head = risk.load(repository.data_dir / risk.FILE_NAME, model)
    table, header = up_to_date(repository, quiet)
    if any(not c.oid for c in report.commits):
        pending = [repository.staged() if staged else repository.worktree()]
        salt, named = author_salt(repository), header.with_authors
        table, _ = extract(
            repository,
            pending,
            window=table.window,
            action=table.action_id,
            base=table,
            salt=salt,
            with_authors=named,
        )
    row = {oid: c for c, oid in enumerate(table.commits.oid)}
    scored = [c for c in report.commits if c.units and c.oid in row]
    if not scored:
        return {}
    commit = np.repeat(np.arange(len(scored)), [len(c.units) for c in scored])
    channels = {}
    for name in CHANNELS:
        p = [u.channels[name].p_value for c in scored for u in c.units]
        values = np.array([np.nan if v is None else v for v in p], np.float64)
        channels[name] = per_commit(values, commit, len(scored), ScoreSettings().combine)
    x = risk.features(table, np.array([row[c.oid] for c in scored]), channels)
    return dict(zip((c.oid for c in scored), head.risks(x), strict=True))
