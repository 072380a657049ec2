"""What is set aside, where it stands in the ranking, and which of it is drawn for the audit."""

import numpy as np
import pytest
from helpers.built import labelled, pool

from al_rotate.sampling import Budget, QueryContext, explain, rank, select


def rng(seed=0):
    return np.random.default_rng(seed)


def empties_known(n=20):
    """A context in which boxes at 0.9 were objects, and images without a box were empty."""
    detections = pool({f"f{k}": [(0, 0.9)] for k in range(n)} | {f"e{k}": [] for k in range(n)})
    return QueryContext(detections.replace(scores=None), detections)


ANGLES = {"a1": 0.0, "a2": 0.02, "b1": 1.0, "b2": 1.03, "b3": 0.97, "c": 2.0}


def directed():
    """Images with a box each whose features, of length 7, point in these directions."""
    directions = np.array([(np.cos(t), np.sin(t)) for t in ANGLES.values()])
    images = {name: [(0, score)] for name, score in zip(ANGLES, (0.9, 0.6, 0.8, 0.5, 0.9, 0.7), strict=True)}
    return pool(images, image_features=directions * 7)


class TestTriage:
    POOL = pool({**{f"e{k:02d}": [] for k in range(10)}, "sure": [(0, 0.9)], "half": [(0, 0.5)]})

    def test_surely_empty_images_go_last(self):
        """As `empty` would place them first."""
        table = rank(self.POOL, "entropy", rng(), empties_known(), empty="first", triage=0.9, audit=0.0)
        assert table["image_id"].tolist() == ["half", "sure", *(f"e{k:02d}" for k in range(10))]
        assert table["placement"].tolist() == ["score"] * 2 + ["surely empty"] * 10
        assert (table["emptiness"][2:] > 0.9).all()
        assert table["emptiness"][1] < table["emptiness"][0] < 0.9
        assert table["score"][2:].tolist() == [0] * 10
        assert "Rank 12 of 12: it holds no object with a probability of 99%; 0 boxes to correct" in explain(table)[-1]

    def test_the_surest_come_last_and_nothing_is_set_aside_while_nothing_is_known(self):
        candidates = pool({"a": [], "b": [(0, 0.1)], "c": [(0, 0.05)], "z": [(0, 0.9)]})
        table = rank(candidates, "box-count", rng(), empties_known(), triage=0.5, audit=0.0)
        assert table["image_id"].tolist() == ["z", "b", "c", "a"]
        few = rank(candidates, "entropy", rng(), empties_known(9), triage=0.5)
        assert few["placement"].tolist() == ["score", "score", "score", "last"]
        assert few["emptiness"].tolist() == [0.5] * 4

    def test_the_audit_is_the_share_of_the_ranking_wherever_it_is_cut(self):
        """Every fourth place from one of the first four; with 30 others, ten of the 40 empty images are moved."""
        images = {f"e{k:02d}": [] for k in range(40)} | {f"f{k:02d}": [(0, 0.9)] for k in range(30)}
        starts = set()
        for seed in range(30):
            table = rank(pool(images), "entropy", rng(seed), empties_known(), triage=0.9, audit=0.25)
            places = np.flatnonzero(table["placement"] == "audit")
            assert len(places) in (9, 10)
            assert (np.diff(places) == 4).all()
            assert table["rank"].tolist() == list(range(1, 71))
            assert table["score"].is_monotonic_decreasing
            assert (table["n_boxes"][places] == 0).all()
            starts.add(int(places[0]))
        assert starts == {0, 1, 2, 3}

    def test_each_is_as_likely_in_the_audit_as_any_other(self):
        """Half of the images that count as empty have a faint box, which nobody looks at more often for it."""
        faint = {f"e{k}": [(0, 0.1)] * (k % 2) for k in range(8)}
        candidates = pool({**faint, "f0": [(0, 0.9)], "f1": [(0, 0.9)]})
        drawn = [
            i
            for s in range(400)
            for i in select(candidates, "entropy", 2, rng(s), empties_known(), triage=0.5, audit=0.5)
            if i[0] == "e"
        ]
        counts = [drawn.count(f"e{k}") for k in range(8)]
        assert sum(counts) == 400  # one of two
        assert np.ptp(counts) < 40  # of 50 each, seven in standard deviation
        assert "drawn at random to find missed objects" in " ".join(
            explain(rank(candidates, "entropy", rng(), empties_known(), triage=0.5, audit=0.5))
        )

    def test_all_are_surely_empty(self):
        candidates = pool({f"e{k}": [] for k in range(5)})
        for audit in (0.0, 0.5):
            picked = select(candidates, "pal", 3, rng(), empties_known(), triage=0.9, audit=audit)
            assert picked == ["e0", "e1", "e2"]

    def test_refusals(self):
        with pytest.raises(ValueError, match="an audit draws images, which needs a random generator"):
            rank(self.POOL, "entropy", None, empties_known(), triage=0.9)
        for options in ({"triage": 0}, {"triage": 1.1}, {"triage": True}, {"triage": 0.9, "audit": 1}):
            with pytest.raises(ValueError, match=r"expected triage in \(0, 1\] and audit in \[0, 1\), got"):
                rank(self.POOL, "entropy", **options)


class TestDuplicates:
    def test_one_of_those_that_are_alike_is_ranked(self):
        """The median distance is 0.95 or so; 0.05 of it is more than the 0.03 of b2 and b3 from b1, which leads."""
        table = rank(directed(), "entropy", duplicates=0.05)
        assert table["image_id"].tolist() == ["c", "b1", "a1", "a2", "b2", "b3"]
        assert table["placement"].tolist() == ["score"] * 3 + ["near-duplicate"] * 3
        assert table["repeats"].tolist() == ["", "", "", "a1", "b1", "b1"]
        assert explain(table)[3].startswith("Rank 4 of 6: it nearly repeats a1; 1 box to correct")
        assert rank(directed(), "entropy", duplicates=0.0)["placement"].tolist() == ["score"] * 6

    def test_labelled_images_are_not_repeated(self):
        context = QueryContext(labelled([1, 0, 0]), features=np.array([[np.cos(1), np.sin(1)], [0, -3]]))
        table = rank(directed(), "core-set", rng(), context, duplicates=0.05).set_index("image_id")
        assert table["placement"].to_dict() == {
            "a1": "picked", "c": "picked", "a2": "near-duplicate", **dict.fromkeys(("b1", "b2", "b3"), "near-duplicate")
        }  # fmt: skip
        assert table.loc["b2", "repeats"] == "a labelled image"

    def test_duplicates_still_go_before_the_budget_is_left_unused(self):
        assert len(select(directed(), "core-set", 5, rng(), duplicates=0.05)) == 5
        assert sorted(select(directed(), "core-set", Budget(boxes=6), rng(), duplicates=0.05)) == sorted(ANGLES)

    def test_refusals(self):
        for distance in (-0.1, 1, "near"):
            with pytest.raises(
                ValueError, match=r"expected duplicates to be a share of the median distance in \[0, 1\)"
            ):
                rank(directed(), "entropy", duplicates=distance)
        with pytest.raises(ValueError, match="expected detections with image_features"):
            rank(directed().replace(image_features=None), "entropy", duplicates=0.1)
