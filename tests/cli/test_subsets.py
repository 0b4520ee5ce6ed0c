"""Claims:

1. Suites of the papers print a table for each subset: value, interval, and every null, the strongest first, marked
   where the model is clearly above.
2. Of several models the means are shown with each model's figure; of one, its rows.
3. Repositories have a table of their own, and a name that holds markup is printed as it is.
"""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from codewm.cli.report.suites import to_tables
from codewm.model.evaluation.metrics import Row
from codewm.model.evaluation.result import Outcome

ROW = Row(
    "cumulative_s3", "modified, one space", 0.25, (0.2, 0.3), 1_234, {"copy": 0.1, "linear_map": 0.4},
    {"copy": (0.1, 0.2), "linear_map": (-0.2, -0.1)}, more={"model": "m0"},
)  # fmt: skip


def printed(rows: list[Row]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=140, markup=False)  # as codewm.cli.console has it
    for table in to_tables(Outcome("rollout", {}, [{"name": "a"}, {"name": "b"}], rows=rows)):
        console.print(table)
    return out.getvalue()


def test_a_row_has_its_nulls_beside_it() -> None:
    text = printed([ROW, replace(ROW, metric="bytes", subset="int8", value=2_969_476.0, interval=None)])
    assert "rollout: modified, one space (2 repositories)" in text
    assert "0.250 [0.200, 0.300]" in text
    assert "linear map 0.400, copy 0.100<" in text
    assert "1,234" in text
    assert "2,969,476" in text


def test_of_several_models_the_mean_is_shown() -> None:
    mean = replace(ROW, value=0.3, margins={}, more={"seeds": [0.25, 0.35], "relative_spread": 0.33})
    text = printed([ROW, replace(ROW, value=0.35, more={"model": "m1"}), mean])
    assert "0.250 0.350" in text
    assert text.count("cumulative s3") == 1
    assert printed([ROW]).count("cumulative s3") == 1


def test_repositories_have_their_own_table() -> None:
    text = printed([ROW, replace(ROW, data="[red]a")])
    assert "modified, one space, by repository" in " ".join(text.split())  # titles wrap
    assert "[red]a" in text
