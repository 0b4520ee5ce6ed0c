"""A trained model and held-out edits in, the table of figures with every null out."""

from __future__ import annotations

import numpy as np

from codewm.model.dynamics import Targets, predict, target_of
from codewm.model.evaluation import nulls
from codewm.model.evaluation.metrics import Row, table
from codewm.model.jepa import JEPA
from codewm.model.latents import Latents
from codewm.model.session import Session


def held_out_table(session: Session, model: JEPA, targets: Targets) -> list[Row]:
    """Figures over all held-out edits, and over those of units that exist on both sides.

    Created and deleted units are easy (what is deleted moves exactly to the empty state), so the second table is
    the one that says whether the dynamics of change were learned. On a CPU all in f32.
    """
    data, config = session.data, session.config
    edits = data.holdout
    states, inverse = np.unique(np.concatenate([data.before[edits], data.after[edits]]), return_inverse=True)
    before, after = inverse[: len(edits)], inverse[len(edits) :]
    action = data.action[edits]
    told = nulls.told(action)
    encoder, given = Latents(session, model), data.states(states)
    f, read = nulls.read_told(lambda at, a: encoder.read(given, at, a), before, told)
    t = target_of(model, f)
    z, d, latents = t[before], t[after] - t[before], f[before]

    fit, validation = data.fit, data.validation
    fit_d = targets.displacement(session, fit)
    known = targets.displacement(session, validation)
    linear = nulls.linear_map(
        (targets.z[data.before[fit]], data.action[fit], fit_d, data.group[fit]),
        (targets.z[data.before[validation]], data.action[validation], known, data.group[validation]),
        (z, action, data.group[edits]),
    )
    predicted = {name: predict(session, model, latents, read[name], a) for name, a in told.items()}
    d_hat = predicted.pop("")
    others = {
        "copy": nulls.copy(d),
        "constant_mean": nulls.constant_mean(fit_d, len(d)),
        **predicted,
        "linear_map": linear,
    }
    commit = data.commit[edits]
    rows = table(d_hat, d, z, commit, others, resamples=config.bootstrap)
    modified = data.group[edits] == 0
    if modified.sum() > 1:
        rows += table(
            d_hat[modified],
            d[modified],
            z[modified],
            commit[modified],
            {k: v[modified] for k, v in others.items()},
            subset="modified",
            resamples=config.bootstrap,
        )
    return rows
