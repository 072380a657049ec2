"""What strategies that compare views prefer, on built cases with values worked by hand."""

import numpy as np
import pytest
from helpers.built import PLACE, pool

from al_rotate import RotatedInstances
from al_rotate.sampling import QueryContext, rank


def order(table):
    return table["image_id"].tolist()


def turned(radians):
    x, y, w, h, theta = PLACE
    return (x, y, w, h, theta + radians)


def shifted(pixels):
    x, y, w, h, theta = PLACE
    return (x + pixels, y, w, h, theta)


def with_views(*views):
    """What each view has of all images; asked for some of them, those."""
    return QueryContext(views=lambda ids, wanted: [views[k % len(views)].subset(ids) for k in range(len(wanted))])


CALM = pool({"a": [(0, 0.8)], "b": [(0, 0.8)], "c": [(0, 0.8)], "n": []})


class TestStability:
    def test_localisation_by_hand(self):
        """Shifted by 8 of 40 pixels a box keeps 32 / 48 of the union; every second view has lost c."""
        moved = pool({"a": [(0, 0.8)], "b": [(0, 0.8, shifted(8))], "c": [(0, 0.8)], "n": []})
        lost = pool({"a": [(0, 0.8)], "b": [(0, 0.8, shifted(8))], "c": [], "n": []})
        table = rank(CALM, "localisation-stability", context=with_views(moved, lost))
        assert order(table) == ["c", "b", "a", "n"]
        assert table["score"].tolist() == pytest.approx([0.5, 1 / 3, 0, 0], abs=1e-6)
        assert table["missing_rate"].tolist()[:3] == [0.5, 0, 0]

    def test_sure_boxes_count_more(self):
        """sum p (1 - S) / sum p: the steady one at 0.75, the moved one at 0.25."""
        both = [(0, 0.75), (0, 0.25, (50, 150, 40, 10, 0))]
        candidates = pool({"a": both})
        moved = pool({"a": [both[0], (0, 0.25, (58, 150, 40, 10, 0))]})
        assert rank(candidates, "localisation-stability", context=with_views(moved))["score"][0] == pytest.approx(
            0.25 / 3
        )

    def test_the_unstable_angle_comes_first(self):
        """b only turns, by 0.2 to and fro; a only moves. The square c turns too, of which nothing can be said."""
        square = (50, 50, 20, 20, 0)
        still = pool({"a": [(0, 0.8)], "b": [(0, 0.8)], "c": [(0, 0.8, square)]})
        to, fro = (
            pool({"a": [(0, 0.8, shifted(12))], "b": [(0, 0.8, turned(t))], "c": [(0, 0.8, (50, 50, 20, 20, 2 * t))]})
            for t in (0.2, -0.2)
        )
        context = with_views(to, fro)
        assert order(rank(still, "angle-stability", context=context))[0] == "b"
        scores = rank(still, "angle-stability", context=context).set_index("image_id")["score"]
        # seven views and the box itself: the mean of exp(2i t) over 4 times 0.2, 3 times -0.2 and 0
        half, quarter = (1 - abs(np.mean(np.exp(1j * p * np.array([0.2] * 4 + [-0.2] * 3 + [0.0])))) for p in (2, 4))
        assert scores["b"] == pytest.approx(0.75 * (0.75 * half + 0.25 * quarter), abs=1e-6)
        assert scores["a"] == pytest.approx(0, abs=1e-6)
        assert scores["c"] == pytest.approx(0, abs=1e-6)
        assert order(rank(still, "localisation-stability", context=context))[0] == "a"

    def test_which_views(self):
        requests = []

        def views(ids, wanted):
            requests.append([view.name for view in wanted])
            return [CALM.subset(ids) for _ in wanted]

        rank(CALM, "localisation-stability", context=QueryContext(views=views))
        rank(CALM, "localisation-stability", context=QueryContext(views=views), views="dihedral")
        assert requests[0] == [f"noise{level}" for level in (8, 16, 24, 32, 40, 48)]
        assert requests[1] == ["+90", "+180", "+270", "flip", "flip+90", "flip+180", "flip+270"]
        with pytest.raises(ValueError, match="expected views to be one of noise, dihedral, got 'rain'"):
            rank(CALM, "angle-stability", views="rain")

    def test_no_box_at_all(self):
        nothing = RotatedInstances.empty(["a", "b"])
        assert rank(nothing, "angle-stability")["score"].tolist() == [0, 0]
