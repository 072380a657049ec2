"""What strategies that pick unlike images prefer, on built cases."""

import numpy as np
import pytest
from helpers.built import pool

from al_rotate.sampling import QueryContext, rank, select
from al_rotate.sampling.measures.distances import gradients


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
        places = {f"{k}{i}": (np.cos(t), np.sin(t)) for k, members in angles.items() for i, t in enumerate(members)}
        picked = select(at(places), "typiclust", 3, rng())
        assert sorted(i[0] for i in picked) == ["a", "b", "c"]
        # the mean distance to the two others is least for these
        middles = {
            k: min(range(3), key=lambda i: sum(abs(members[i] - t) for t in members)) for k, members in angles.items()
        }
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
        with pytest.raises(ValueError, match=r"'badge' needs a random generator"):
            rank(pool({"a": [(0, 0.5)]}), "badge")
