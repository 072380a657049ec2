"""Areas, savings and penalties of learning curves, against values worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from al_rotate.evaluation import learning_curves as curves


def test_area_is_the_mean_height():
    assert curves.area([0, 10], [0.2, 0.4]) == pytest.approx(0.3)
    assert curves.area([0, 10, 30], [0.0, 0.3, 0.3]) == pytest.approx((10 * 0.15 + 20 * 0.3) / 30)


def test_area_of_a_part():
    x, y = [0, 10, 20], [0.0, 1.0, 1.0]
    assert curves.area(x, y, 5, 15) == pytest.approx((5 * 0.75 + 5 * 1.0) / 10)
    assert curves.area(x, y, 2, 4) == pytest.approx(0.3)


def test_area_of_many_curves_at_once():
    x, rng = np.array([3.0, 4, 9]), np.random.default_rng(0)
    heights = rng.random((2, 5, 3))
    one_by_one = [[curves.area(x, y, 3.5, 8) for y in row] for row in heights]
    assert np.allclose(curves.area(x, heights, 3.5, 8), one_by_one)


@pytest.mark.parametrize(
    ("x", "y", "limits"),
    [([1, 1], [0, 0], ()), ([2, 1], [0, 0], ()), ([1, 2], [0], ()), ([1], [0], ()), ([1, 2], [0, 0], (0, 2))],
)
def test_what_is_no_curve_is_refused(x, y, limits):
    with pytest.raises(ValueError, match="expected"):
        curves.area(x, y, *limits)


def test_common_range():
    assert curves.common_range([[1, 5, 9], [2, 7], [0, 8]]) == (2, 7)
    with pytest.raises(ValueError, match="starts at 6 and one that ends at 5"):
        curves.common_range([[1, 5], [6, 9]])


def test_reached_on_the_line_between_rounds():
    assert curves.reached([10, 20], [0.2, 0.4], 0.25) == pytest.approx(12.5)
    assert curves.reached([10, 20], [0.2, 0.4], 0.1) == 10
    assert curves.reached([10, 20, 30], [0.2, 0.4, 0.3], 0.4) == 20
    assert np.isnan(curves.reached([10, 20], [0.2, 0.4], 0.41))


def test_saving_is_negative_for_the_worse_and_unknown_for_what_never_gets_there():
    good, bad, worst = ([10, 20], [0.2, 0.6]), ([10, 40], [0.2, 0.6]), ([10, 40], [0.2, 0.5])
    assert curves.label_saving(good, bad) == pytest.approx(0.5)
    assert curves.label_saving(bad, good) == pytest.approx(-1.0)
    assert np.isnan(curves.label_saving(worst, good))
    assert curves.label_saving(worst, good, target=0.5) == pytest.approx(1 - 40 / 17.5)


def test_penalties_count_where_a_paired_test_tells_the_two_apart():
    x, rng = np.arange(1.0, 6), np.random.default_rng(1)
    ground = rng.random((4, 5)) * 0.5  # seeds differ far more than strategies: only pairing shows these
    lead = np.array([0, 0, 0, 0.1, 0.1])
    named = {
        "plain": [(x, g) for g in ground],
        "late": [(x, g + lead * (1 + 0.1 * k)) for k, g in enumerate(ground)],
        "noise": [(x, g + rng.normal(0, 0.2, 5)) for g in ground],
    }
    matrix = curves.penalties(named, points=4)
    # The places are x = 2, 3, 4, 5: "late" leads at the last two only.
    assert matrix.loc["late", "plain"] == 0.5
    assert matrix.loc["plain", "late"] == 0
    assert np.diag(matrix).tolist() == [0, 0, 0]
    for k, at in enumerate([2, 3, 4, 5]):
        pairs = [[np.interp(at, *c) for c in named[n]] for n in ("noise", "plain")]
        tested = stats.ttest_rel(*pairs)
        assert (tested.pvalue < 0.05) == bool(
            k in _where(named, "noise", "plain") or k in _where(named, "plain", "noise")
        )


def _where(named, better, worse):
    """The places that count, asked for one at a time."""
    counted = set()
    for k in range(4):
        at = np.array([k + 1.0, k + 2.0])
        cut = {n: [(at, np.interp(at, *curve)) for curve in seeds] for n, seeds in named.items()}
        if curves.penalties(cut, points=1).loc[better, worse]:
            counted.add(k)
    return counted


def test_penalties_need_the_same_seeds():
    curve = (np.array([1.0, 2]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="two seeds or more"):
        curves.penalties({"a": [curve]})
    with pytest.raises(ValueError, match="two seeds or more"):
        curves.penalties({"a": [curve, curve], "b": [curve, curve, curve]})
