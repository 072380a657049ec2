"""Which boxes a person leaves alone."""

import numpy as np
import pytest

from al_rotate import boxes
from al_rotate.evaluation.tolerance import Tolerance, corner_distances


@pytest.mark.parametrize(
    ("tolerance", "predicted", "drawn", "left"),
    [
        # 5 % of a shorter side of 40: two pixels, in any direction and for any corner.
        (Tolerance(), [2, 0, 80, 40, 0.3], [0, 0, 80, 40, 0.3], True),
        (Tolerance(), [1.5, 1.5, 80, 40, 0.3], [0, 0, 80, 40, 0.3], False),
        # Sides longer by 2 x and wider by 2 y: each corner goes x and y.
        (Tolerance(), [0, 0, 82.8, 42.8, 0], [0, 0, 80, 40, 0], True),
        (Tolerance(), [0, 0, 82.9, 42.9, 0], [0, 0, 80, 40, 0], False),
        # The shorter side of the person's box counts, and a pixel at least.
        (Tolerance(), [0, 1, 80, 4, 0], [0, 0, 80, 4, 0], True),
        (Tolerance(), [0, 1.1, 80, 4, 0], [0, 0, 80, 4, 0], False),
        (Tolerance(pixels=0.25), [0, 0.2, 80, 4, 0], [0, 0, 80, 4, 0], True),
        (Tolerance(pixels=0.1), [0, 0.3, 80, 4, 0], [0, 0, 80, 4, 0], False),
        # Root mean square: two of four corners go two pixels each way, sqrt(2) in the mean.
        (Tolerance(pixels=1.42, share=0), [1, 0, 12, 4, 0], [0, 0, 10, 4, 0], True),
        (Tolerance(pixels=1.41, share=0), [1, 0, 12, 4, 0], [0, 0, 10, 4, 0], False),
        # Three degrees of half a diagonal of 50 are 2.62 pixels, and so much is what a turn by them moves a corner.
        (Tolerance(pixels=0, share=0, degrees=3), [0, 0, 80, 60, np.radians(2.99)], [0, 0, 80, 60, 0], True),
        (Tolerance(pixels=0, share=0, degrees=3), [0, 0, 80, 60, np.radians(3.01)], [0, 0, 80, 60, 0], False),
        # The same rectangle, written in other ways.
        (Tolerance(0, 0, 0), [0, 0, 40, 80, np.pi / 2], [0, 0, 80, 40, 0], True),
        (Tolerance(0, 0, 0), [0, 0, 40, 40, np.pi / 2], [0, 0, 40, 40, 0], True),
    ],
)
def test_by_hand(tolerance, predicted, drawn, left):
    assert tolerance.leaves([predicted], [drawn]).tolist() == [left]


def test_the_default_is_how_well_two_people_agree():
    """Edges off by normal errors, so that corners are off by 5 % of the side: IoU 0.88 to 0.9 in the mean."""
    rng, n = np.random.default_rng(0), 20_000
    edges = rng.normal([0, 0, 100, 100], 100 * 0.05 / np.sqrt(2), (n, 4))
    other = np.column_stack([(edges[:, :2] + edges[:, 2:]) / 2, edges[:, 2:] - edges[:, :2], np.zeros(n)])
    square = np.tile([50.0, 50, 100, 100, 0], (n, 1))
    distances = corner_distances(other, square)[0]
    assert np.sqrt((distances**2).mean()) == pytest.approx(5, rel=0.01)
    assert 0.88 < boxes.iou(other, square, paired=True).mean() < 0.9
    assert 0.5 < Tolerance().leaves(other, square).mean() < 0.7


def test_nothing_and_refusals():
    assert Tolerance().leaves([], []).tolist() == []
    for wrong in ({"share": -0.1}, {"pixels": np.nan}, {"degrees": np.inf}):
        with pytest.raises(ValueError, match="expected finite values >= 0, got Tolerance"):
            Tolerance(**wrong)
