"""What strategies that pick sets prefer, on built cases."""

import numpy as np
import pytest
from helpers.built import labelled, overconfident, pool

from al_rotate.sampling import Budget, QueryContext, rank, select
from al_rotate.sampling.measures.distances import gradients
from al_rotate.sampling.measures.uncertainty import class_difficulty, entropy


def rng(seed=0):
    return np.random.default_rng(seed)


def at(places):
    """Images with a box each whose features are places in the plane."""
    return pool({name: [(0, 0.5)] for name in places}, image_features=list(places.values()))


PLACES = {"a": (0, 0), "a2": (0, 0.1), "b": (10, 0), "b2": (10, 0.1), "c": (0, 6)}


class TestFeatures:
    def test_core_set_goes_far_and_avoids_the_near_duplicate(self):
        context = QueryContext(features=np.array([[0.0, 0.0]]))
        assert select(at(PLACES), "core-set", 2, rng(), context) == ["b2", "c"]
        table = rank(at(PLACES), "core-set", rng(), context, budget=3)
        assert table["image_id"][:2].tolist() == ["b2", "c"]
        assert table["diversity_gain"][0] == pytest.approx(np.hypot(10, 0.1))
        assert table["diversity_gain"][1] == pytest.approx(6)
        assert table["diversity_gain"][2] == pytest.approx(0.1)
        assert table["diversity_gain"][3:].isna().all()
        assert table["placement"].tolist() == ["picked"] * 3 + ["rest"] * 2

    def test_core_set_does_not_ask_for_what_is_labelled(self):
        context = QueryContext(features=np.array([[10.0, 0.0]]))
        assert select(at(PLACES), "core-set", 1, rng(), context) == ["c"]  # sqrt(136) away

    def test_typiclust_asks_for_the_middle_of_each_cluster(self):
        angles = {"a": [0, 0.1, -0.15], "b": [1.5, 1.6, 1.3], "c": [3.1, 3.0, 3.3]}
        places = {f"{k}{i}": (np.cos(t), np.sin(t)) for k, many in angles.items() for i, t in enumerate(many)}
        picked = select(at(places), "typiclust", 3, rng())
        assert sorted(i[0] for i in picked) == ["a", "b", "c"]
        # the mean distance to the two others is least for these
        middles = {k: min(range(3), key=lambda i: sum(abs(many[i] - t) for t in many)) for k, many in angles.items()}
        assert {*picked} == {f"{k}{i}" for k, i in middles.items()}

    def test_typiclust_goes_where_nothing_is_labelled(self):
        places = {f"a{i}": (1, 0.01 * i) for i in range(6)} | {f"b{i}": (0.01 * i, 1) for i in range(4)}
        context = QueryContext(features=np.array([[1.0, 0.0], [1.0, 0.02]]))
        assert select(at(places), "typiclust", 1, rng(), context)[0][0] == "b"


class TestBadge:
    def test_it_wants_large_and_different_gradients(self):
        """Sure boxes have hardly a gradient, though the first pick may be one; of twins one is enough."""
        sure, unsure = [0.99, 0.0, 0.0], [0.4, 0.3, 0.0]
        images = {f"s{i}": [(0, 0.99)] for i in range(6)} | {"u1": [(0, 0.4)], "u2": [(0, 0.4)], "v": [(0, 0.4)]}
        features = [[1.0, 0.0]] * 6 + [[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]]
        candidates = pool(images, class_scores=[sure] * 6 + [unsure] * 3, box_features=features)
        picks = [select(candidates, "badge", 3, rng(seed)) for seed in range(20)]
        both = sum("v" in picked and len({"u1", "u2"} & {*picked}) == 1 for picked in picks)
        assert both >= 15
        table = rank(candidates, "badge", rng(), budget=2).set_index("image_id")
        sizes = np.linalg.norm(gradients(candidates, rng()), axis=1)
        assert table.loc["v", "gradient"] == pytest.approx(sizes[-1])
        assert table.loc["v", "gradient"] == pytest.approx(3 * np.hypot(0.6, 0.3))

    def test_it_draws(self):
        with pytest.raises(ValueError, match=r"'badge' draws from a generator of yours"):
            rank(pool({"a": [(0, 0.5)]}), "badge")


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


class TestQuotas:
    def test_mus_cdb_by_hand(self):
        """w = 1 - mean of the scores above 0.1, H = -sum p ln p over the classes."""
        candidates = pool(
            {"a": [(0, 0.5)], "b": [(0, 0.7)], "c": [(0, 0.5), (1, 0.9), (2, 0.05)]},
            class_scores=[[0.5, 0, 0], [0.7, 0, 0], [0.5, 0, 0], [0, 0.9, 0], [0, 0, 0.05]],
        )
        table = rank(candidates, "mus-cdb", budget=3).set_index("image_id")
        assert table.loc["a", "uncertainty"] == pytest.approx(0.5 * -0.5 * np.log(0.5))
        assert table.loc["b", "uncertainty"] == pytest.approx(0.3 * -0.7 * np.log(0.7), rel=1e-6)
        assert table.loc["c", "uncertainty"] == pytest.approx(0.3 * -0.5 * np.log(0.5), rel=1e-6)  # mean of 0.5, 0.9

    @pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
    @pytest.mark.parametrize("name", ["mus-cdb", "pal"])
    def test_the_rare_class_is_asked_for(self, name):
        """Ten images of ships, more uncertain than the two of courts, of which the labels show none."""
        ships = {f"s{i}": [(0, 0.5), (0, 0.5)] for i in range(10)}
        candidates = pool({**ships, "c0": [(2, 0.8)], "c1": [(2, 0.8)]})
        context = QueryContext(labelled([1000, 5, 0]))
        table = rank(candidates, name, context=context, budget=4)
        picked = table[table["placement"] == "picked"].set_index("image_id")
        assert {"c0", "c1"} <= {*picked.index}
        assert picked.loc["c0", "quota"] == "court"
        assert "c0" not in select(candidates, "entropy", 4)

    def test_pal_is_calibrated(self):
        found, truth = overconfident()
        candidates = pool({"a": [(0, 0.9)], "b": [(0, 0.6)], "c": [(1, 0.6)], "d": [(1, 0.9)]})
        table = rank(candidates, "pal", context=QueryContext(truth, found), budget=4).set_index("image_id")
        assert table.loc["a", "uncertainty"] == pytest.approx(np.log(2), abs=0.02)
        assert table.loc["a", "uncertainty"] > table.loc["c", "uncertainty"]

    def test_no_box(self):
        assert select(pool({"a": [], "b": []}), "mus-cdb", 1) == ["a"]


class TestPpal:
    def test_by_hand(self):
        """sum w_c H: planes are mastered (quality 1), ships are missed (quality 0)."""
        labels = pool({"x": [(0, 1.0)], "y": [(1, 1.0)]}).replace(scores=None)
        found = pool({"x": [], "y": [(1, 1.0)]})
        candidates = pool({"a": [(0, 0.5), (1, 0.5)], "b": [(1, 0.5)], "n": []}, box_features=np.eye(3))
        table = rank(candidates, "ppal", context=QueryContext(labels, found), budget=1).set_index("image_id")
        weight = class_difficulty([0.0, 1.0])
        assert weight.tolist() == pytest.approx([1.2, 1.0])
        assert table["uncertainty"].to_dict() == pytest.approx({"a": 2.2 * np.log(2), "b": np.log(2), "n": 0})
        assert table.index[0] == "a"

    def test_quality_is_that_of_the_best_detection_of_each_object(self):
        """p^0.6 IoU^0.4 of the better of two; the class without labels counts as missed."""
        labels = pool({"x": [(0, 1.0), (0, 1.0, (50, 250, 40, 10, 0))]}).replace(scores=None)
        found = pool({"x": [(0, 0.5), (0, 0.8, (58, 50, 40, 10, 0))]})
        best = max(0.5**0.6, 0.8**0.6 * (2 / 3) ** 0.4)
        candidates = pool({"a": [(0, 0.5)], "b": [(2, 0.5)]}, box_features=np.eye(2))
        table = rank(candidates, "ppal", context=QueryContext(labels, found), budget=1).set_index("image_id")
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
