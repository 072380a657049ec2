"""What strategies that score each image by itself prefer, on built cases with values worked by hand."""

import numpy as np
import pytest
from helpers.built import PLACE, labelled, overconfident, pool

from al_rotate.data.instances import RotatedInstances
from al_rotate.sampling import NotCalibrated, QueryContext, rank
from al_rotate.sampling.measures.uncertainty import entropy


def order(table):
    return table["image_id"].tolist()


class TestWeights:
    def test_area(self):
        """A large sure box and a small unsure one: by area 0.75 * 0 + 0.25 * 0.5 of least confidence."""
        one = pool({"a": [(0, 1.0, (50, 50, 60, 10, 0)), (0, 0.5, (50, 50, 20, 10, 0))], "b": [(0, 0.8)], "c": []})
        table = rank(one, "least-confidence", weight="area").set_index("image_id")
        assert table["score"].to_dict() == pytest.approx({"a": 0.125, "b": 0.2, "c": 0}, abs=1e-7)
        total = rank(one, "least-confidence", weight="area", how="sum").set_index("image_id")["score"]
        assert total["a"] == pytest.approx(2 * 0.125)  # areas in units of the image's own mean

    def test_class(self):
        """Of 3, 1 and 0 labels the shares are softmax(1/4, 3/4, 1), times three classes."""
        share = np.exp([0.25, 0.75, 1.0])
        share *= 3 / share.sum()
        one = pool({"a": [(0, 0.5), (1, 0.8)], "b": [(2, 0.5)]})
        table = rank(one, "least-confidence", context=QueryContext(labelled([3, 1, 0])), weight="class").set_index(
            "image_id"
        )
        mean = (share[0] * 0.5 + share[1] * 0.2) / (share[0] + share[1])
        assert table["score"].to_dict() == pytest.approx({"a": mean, "b": 0.5}, abs=1e-7)
        sums = rank(one, "least-confidence", context=QueryContext(labelled([3, 1, 0])), weight="class", how="sum")
        assert sums.set_index("image_id")["score"]["b"] == pytest.approx(share[2] * 0.5)

    def test_only_where_they_mean_something(self):
        for name in ("entropy", "calibrated-entropy"):
            with pytest.raises(ValueError, match="expected how to be mean or sum with weights of boxes, got 'max'"):
                rank(pool({}), name, weight="area", how="max")
            with pytest.raises(ValueError, match="expected weight to be area, class or None, got 'size'"):
                rank(pool({}), name, weight="size", how="mean")


class TestEmpty:
    def test_missed_by_their_own_rate(self):
        """Of 3 images without a detection 2 held something: (2 + 1) / (3 + 2) of the mean score."""
        held = pool({"x": [], "y": [], "z": []})
        labels = pool({"x": [(0, 1.0)], "y": [(1, 1.0)], "z": []}).replace(scores=None)
        table = rank(
            pool({"a": [(0, 0.5)], "b": [], "c": [(0, 0.9)]}),
            "least-confidence",
            context=QueryContext(labels, held),
            empty="missed",
        ).set_index("image_id")
        assert table.loc["b", "score"] == pytest.approx(0.6 * (0.5 + 0.1) / 2)
        assert table["placement"].to_dict() == {"a": "score", "b": "missed", "c": "score"}


class TestCalibratedEntropy:
    def test_it_knows_which_scores_lie(self):
        """0.9 for a ship is right every second time, 0.6 for a plane nearly always: the scores say the opposite."""
        found, truth = overconfident()
        candidates = pool({"ship": [(0, 0.9)], "plane": [(1, 0.6)]})
        assert order(rank(candidates, "entropy")) == ["plane", "ship"]
        table = rank(candidates, "calibrated-entropy", context=QueryContext(truth, found))
        assert order(table) == ["ship", "plane"]
        assert table["score"][0] == pytest.approx(np.log(2), abs=0.02)
        assert table["score"][1] == pytest.approx(entropy([0.97])[0], abs=0.08)
        assert table["expected_boxes"].tolist() == pytest.approx([0.5, 0.97], abs=0.05)
        assert table["calibrated"].all()

    def test_without_labels_it_is_entropy_and_says_so(self):
        candidates = pool({"a": [(0, 0.9)], "b": [(1, 0.6)], "c": [(1, 0.2), (0, 0.7)]})
        with pytest.warns(NotCalibrated, match="scores are not calibrated: .* there are 0 with 0 hits"):
            table = rank(candidates, "calibrated-entropy")
        plain = rank(candidates, "entropy", how="mean")
        assert table["score"].tolist() == plain["score"].tolist()
        assert not table["calibrated"].any()


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
        one = pool({"a": both})
        moved = pool({"a": [both[0], (0, 0.25, (58, 150, 40, 10, 0))]})
        assert rank(one, "localisation-stability", context=with_views(moved))["score"][0] == pytest.approx(0.25 / 3)

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
        asked = []

        def views(ids, wanted):
            asked.append([view.name for view in wanted])
            return [CALM.subset(ids) for _ in wanted]

        rank(CALM, "localisation-stability", context=QueryContext(views=views))
        rank(CALM, "localisation-stability", context=QueryContext(views=views), views="dihedral")
        assert asked[0] == [f"noise{level}" for level in (8, 16, 24, 32, 40, 48)]
        assert asked[1] == ["+90", "+180", "+270", "flip", "flip+90", "flip+180", "flip+270"]
        with pytest.raises(ValueError, match="expected views to be one of noise, dihedral, got 'rain'"):
            rank(CALM, "angle-stability", views="rain")

    def test_no_box_at_all(self):
        nothing = RotatedInstances.empty(["a", "b"])
        assert rank(nothing, "angle-stability")["score"].tolist() == [0, 0]
