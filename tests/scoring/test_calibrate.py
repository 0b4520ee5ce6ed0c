"""Claims about calibration, on arrays:

1. The conformal p-value is never 0 and never above 1.
2. On exchangeable data it is uniform: P(p <= t) is t up to 1 / (n + 1).
3. Ties count against surprise, and the order of the past does not matter.
4. A member of the past gets, leaving itself out, what it would get as a new edit.
5. Matching on size removes the signal of a score that is nothing but size.
6. A stratum is compared with itself, and with its neighbours where it is too small.
7. The tail p-value tells a landslide from a record, and agrees with the conformal one elsewhere.
8. An undefined value, or a value without a past, gives no number.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from codewm.model.scoring.calibrate import Sample, calibrate, log_size, single_stratum
from codewm.model.scoring.settings import CalibrationSettings

SETTINGS = CalibrationSettings()
K = SETTINGS.neighbours


def flat(values: NDArray[np.float64]) -> Sample:
    return single_stratum(values, np.zeros(len(values)))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.floats(-9, 9))
def test_p_is_in_the_half_open_unit_interval(past: list[float], x: float) -> None:
    got = calibrate(flat(np.array([x])), flat(np.array(past)), K, SETTINGS)
    above = sum(v >= x for v in past)
    assert got.p_value[0] == (1 + above) / (len(past) + 1)
    assert 0 < got.p_value[0] <= 1
    assert 0 < got.p_tail[0] <= 1


def test_p_is_uniform_on_exchangeable_data() -> None:
    rng = np.random.default_rng(1)
    n, rounds = 99, 4000
    p = np.array(
        [
            calibrate(flat(x[:1]), flat(x[1:]), K, SETTINGS).p_value[0]
            for x in rng.lognormal(size=(rounds, n + 1))
        ]
    )
    for t in (0.02, 0.05, 0.1, 0.5, 0.9):
        assert abs(np.mean(p <= t) - t) < 4 * np.sqrt(t * (1 - t) / rounds), t


def test_ties_count_against_surprise() -> None:
    past = np.array([1.0, 2.0, 2.0, 3.0])
    got = calibrate(flat(np.array([2.0, 3.0, 4.0])), flat(past), K, SETTINGS)
    assert_array_equal(got.p_value, [4 / 5, 2 / 5, 1 / 5])
    assert_array_equal(got.percentile, [50.0, 87.5, 100.0])


def test_order_of_the_past_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    n = 700
    sizes = rng.integers(0, 9, n).astype(
        float
    )  # many ties in size: the neighbourhood must not depend on them
    past = Sample(rng.normal(size=n), sizes, rng.integers(0, 2, (n, 1)))
    queries = Sample(rng.normal(size=40), rng.integers(0, 9, 40).astype(float), rng.integers(0, 2, (40, 1)))
    other = past.take(rng.permutation(n))
    first, second = calibrate(queries, past, K, SETTINGS), calibrate(queries, other, K, SETTINGS)
    assert_array_equal(first.p_value, second.p_value)
    np.testing.assert_allclose(first.p_tail, second.p_tail, rtol=1e-12)


def test_a_member_leaves_itself_out() -> None:
    rng = np.random.default_rng(3)
    values = np.round(rng.lognormal(size=150), 1)
    own = calibrate(flat(values), flat(values), K, SETTINGS, own=True)
    for i in range(len(values)):
        alone = calibrate(flat(values[i : i + 1]), flat(np.delete(values, i)), K, SETTINGS)
        assert own.p_value[i] == alone.p_value[0]
        assert own.percentile[i] == alone.percentile[0]
        np.testing.assert_allclose(own.p_tail[i], alone.p_tail[0], rtol=0.1)


def test_size_matching_removes_a_score_that_is_size() -> None:
    rng = np.random.default_rng(4)
    size = rng.lognormal(3, 1.2, 3000).astype(np.int64)
    score = np.log1p(size) + rng.normal(0, 0.3, 3000)
    sample = single_stratum(score, log_size(size))
    got = calibrate(sample, sample, K, SETTINGS, own=True)
    large = size > np.quantile(size, 0.7)
    middle = large & (size < np.quantile(size, 0.97))
    assert got.percentile[middle].mean() > 75
    assert abs(got.percentile_matched[middle].mean() - 50) < 5


def test_a_stratum_is_compared_with_itself() -> None:
    rng = np.random.default_rng(5)
    label = np.repeat([0, 1], 200)
    values = rng.normal(size=400) + 10.0 * label
    strata = np.column_stack([label, np.zeros(400, int)])
    past = Sample(values, np.zeros(400), strata)
    query = Sample(np.array([10.0]), np.zeros(1), np.array([[1, 0]]))
    assert 20 < calibrate(query, past, K, SETTINGS).percentile_matched[0] < 80
    # A label with too few members is compared with everything.
    rare = Sample(np.array([10.0]), np.zeros(1), np.array([[7, 0]]))
    assert calibrate(rare, past, K, SETTINGS).matched[0] == 400


def test_the_tail_orders_what_the_conformal_p_cannot() -> None:
    past = flat(np.random.default_rng(6).exponential(size=200))
    got = calibrate(flat(np.array([8.0, 80.0, 0.5])), past, K, SETTINGS)
    assert got.p_value[0] == got.p_value[1] == 1 / 201
    assert got.p_tail[1] < 1e-6 < got.p_tail[0]
    assert got.p_tail[2] == got.p_value[2]


def test_a_constant_past_stays_finite() -> None:
    got = calibrate(flat(np.array([0.0, 1.0])), flat(np.zeros(200)), K, SETTINGS)
    assert got.p_value[0] == 1
    assert 0 < got.p_tail[1] < got.p_value[1]


def test_undefined_values_and_empty_pasts_give_no_number() -> None:
    got = calibrate(flat(np.array([np.nan, 1.0])), flat(np.array([np.nan, 0.0, 2.0])), K, SETTINGS)
    assert np.isnan(got.p_value[0])
    assert got.p_value[1] == 2 / 3
    for past in (np.empty(0), np.array([np.nan])):
        nothing = calibrate(flat(np.array([1.0])), flat(past), K, SETTINGS)
        assert np.isnan(nothing.p_value[0])
        assert np.isnan(nothing.percentile[0])
        assert nothing.matched[0] == 0
