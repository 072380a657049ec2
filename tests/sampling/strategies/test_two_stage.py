"""What strategies with a shortlist prefer, on built cases."""

import numpy as np
import pytest
from helpers.built import labelled, pool

from al_rotate.sampling import Budget, QueryContext, rank, select
from al_rotate.sampling.measures.uncertainty import class_difficulty, entropy


class TestCald:
    def test_disagreement_then_rare_classes(self):
        """A steady box at 0.8 scores -|1 + 0.8 - 1.3|; one whose score falls to 0.3 agrees less."""
        candidates = pool({"calm": [(0, 0.8)], "ship": [(0, 0.8)], "court": [(2, 0.8)]})
        flipped = pool({"calm": [(0, 0.8)], "ship": [(0, 0.3)], "court": [(2, 0.3)]})
        context = QueryContext(labelled([50, 50, 0]), views=lambda ids, views: [flipped.subset(ids)])
        table = rank(candidates, "cald", context=context, budget=1, shortlist=2.0).set_index("image_id")
        assert table.index[0] == "court"  # as unsteady as the ship, and the labels show no court
        assert table.loc["calm", "inconsistency"] == pytest.approx(-0.5, abs=1e-6)
        assert table.loc["court", "inconsistency"] > table.loc["calm", "inconsistency"]
        assert table.loc["court", "class_divergence"] == pytest.approx(1.0, abs=1e-6)
        assert select(candidates, "cald", 2, context=context)[:2] == ["court", "ship"]

    def test_images_without_a_box_come_last(self):
        candidates = pool({"a": [], "b": [(0, 0.8)]})
        context = QueryContext(views=lambda ids, views: [candidates.subset(ids)])
        assert select(candidates, "cald", 2, context=context, shortlist=1.0) == ["b", "a"]
        with pytest.raises(ValueError, match=r"expected a shortlist of at least 1 .* got 0\.5"):
            rank(candidates, "cald", shortlist=0.5)


class TestPpal:
    def test_by_hand(self):
        """sum w_c H: planes are mastered (quality 1), ships are missed (quality 0)."""
        labels = pool({"x": [(0, 1.0)], "y": [(1, 1.0)]}).replace(scores=None)
        detections = pool({"x": [], "y": [(1, 1.0)]})
        candidates = pool({"a": [(0, 0.5), (1, 0.5)], "b": [(1, 0.5)], "n": []}, box_features=np.eye(3))
        table = rank(candidates, "ppal", context=QueryContext(labels, detections), budget=1).set_index("image_id")
        weight = class_difficulty([0.0, 1.0])
        assert weight.tolist() == pytest.approx([1.2, 1.0])
        assert table["uncertainty"].to_dict() == pytest.approx({"a": 2.2 * np.log(2), "b": np.log(2), "n": 0})
        assert table.index[0] == "a"

    def test_quality_is_that_of_the_best_detection_of_each_object(self):
        """p^0.6 IoU^0.4 of the better of two; the class without labels counts as missed."""
        labels = pool({"x": [(0, 1.0), (0, 1.0, (50, 250, 40, 10, 0))]}).replace(scores=None)
        detections = pool({"x": [(0, 0.5), (0, 0.8, (58, 50, 40, 10, 0))]})
        best = max(0.5**0.6, 0.8**0.6 * (2 / 3) ** 0.4)
        candidates = pool({"a": [(0, 0.5)], "b": [(2, 0.5)]}, box_features=np.eye(2))
        table = rank(candidates, "ppal", context=QueryContext(labels, detections), budget=1).set_index("image_id")
        weight = class_difficulty([best / 2, 0, 0])
        assert table["uncertainty"].to_dict() == pytest.approx(
            {"a": weight[0] * entropy([0.5])[0], "b": weight[2] * entropy([0.5])[0]}
        )

    def test_one_of_two_alike(self):
        """Three pairs of twins by their features, all as uncertain: three picks, none of them twins."""
        images = {f"{k}{i}": [(0, 0.5)] for k in "abc" for i in (1, 2)}
        features = np.repeat(np.eye(3), 2, axis=0)
        picked = select(pool(images, box_features=features), "ppal", 3)
        assert sorted(i[0] for i in picked) == ["a", "b", "c"]

    def test_only_of_the_most_uncertain(self):
        images = {f"u{i}": [(0, 0.5)] for i in range(4)} | {f"s{i}": [(0, 0.99)] for i in range(4)}
        candidates = pool(images, box_features=np.vstack([np.eye(8)]))
        assert {i[0] for i in select(candidates, "ppal", 2, shortlist=2.0)} == {"u"}
        with pytest.raises(ValueError, match="expected a shortlist of at least 1"):
            select(candidates, "ppal", Budget(images=1), shortlist=0)


@pytest.mark.parametrize("name", ["ppal", "cald"])
def test_the_shortlist_is_of_what_the_budget_buys(name):
    """Ten boxes buy two crowded images; ten small ones would fit, and a shortlist for ten lets sure ones in."""
    crowded = {f"u{i:02d}": [(0, 0.5 + 0.01 * i)] * 5 for i in range(30)}
    candidates = pool({**crowded, **{f"s{i:02d}": [(1, 0.99)] for i in range(40)}})
    candidates = candidates.replace(box_features=np.eye(candidates.n_boxes))
    context = QueryContext(labelled([5, 0, 0]), views=lambda ids, views: [candidates.subset(ids)])
    by_images, by_boxes = (
        select(candidates, name, budget, context=context, shortlist=4.0) for budget in (2, Budget(boxes=10))
    )
    assert by_boxes == by_images
