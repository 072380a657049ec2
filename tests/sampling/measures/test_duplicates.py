"""Near-duplicates: worked by hand, and against the plain loop."""

import numpy as np
import pytest

from al_rotate.sampling.measures.duplicates import leaders, typical_distance


def rng(seed=0):
    return np.random.default_rng(seed)


def plain(rows, distance, covered):
    found, kept = [], []
    for k, row in enumerate(rows):
        away = [np.linalg.norm(row - rows[leader]) for leader in kept]
        if any(np.linalg.norm(row - other) <= distance for other in covered):
            found.append(-1)
        elif away and min(away) <= distance:
            found.append(kept[int(np.argmin(away))])
        else:
            kept.append(k)
            found.append(k)
    return found


def test_a_pan_keeps_a_frame_each_time_the_view_has_changed():
    """Steps of 1: 2 is too far from 0, which leads, though not from 1; at exactly 1 a row still follows."""
    assert leaders([[0.0], [1.0], [2.0], [3.0], [4.0]], 1).tolist() == [0, 0, 2, 2, 4]
    assert leaders([[0.0], [1.6], [1.0]], 1).tolist() == [0, 1, 1]  # to the nearer leader
    assert leaders([[0.0], [0.0], [1e-9]], 0).tolist() == [0, 0, 2]  # only copies


def test_rows_near_covered_ones_lead_nobody():
    assert leaders([[0.0], [0.9], [1.5]], 1, covered=[[-0.5]]).tolist() == [-1, 1, 1]
    assert leaders([[0.0], [0.1]], 1, covered=[[5.0]]).tolist() == [0, 0]
    assert leaders([[0.0], [0.1]], 1, covered=np.zeros((0, 1))).tolist() == [0, 0]


@pytest.mark.parametrize("n_covered", [0, 5])
def test_as_the_plain_loop_has_it_over_several_blocks(n_covered):
    rows = rng(n_covered).normal(size=(2200, 2)) * 3
    covered = rows[:n_covered] + 0.1
    found = leaders(rows, 0.5, covered).tolist()
    assert found == plain(rows, 0.5, covered)
    assert len({*found}) > 300


def test_the_typical_distance():
    assert typical_distance([[0.0], [1.0], [10.0]]) == pytest.approx(9)  # of 1, 9 and 10
    assert typical_distance([[4.0]]) == 0
    rows = rng(3).normal(size=(1500, 64))
    assert typical_distance(rows) == pytest.approx(np.sqrt(128), rel=0.02)
    assert typical_distance(50 * rows) == pytest.approx(50 * typical_distance(rows))


def test_refusals():
    with pytest.raises(ValueError, match="expected a distance of at least 0, got -1"):
        leaders([[0.0]], -1)
    with pytest.raises(ValueError, match="expected a distance of at least 0, got nan"):
        leaders([[0.0]], float("nan"))
    with pytest.raises(ValueError, match="expected selected rows of 1 numbers"):
        leaders([[0.0]], 1, [[0.0, 0.0]])
    with pytest.raises(ValueError, match=r"expected finite features, got .* in row 1"):
        typical_distance([[0.0], [np.inf]])
