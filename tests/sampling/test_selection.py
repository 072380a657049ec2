"""`rank` and `select` with functions of a user, and their arguments."""

import numpy as np
import pytest
from helpers.random_pools import MIXED, random_pool, rng

from al_rotate import RotatedInstances
from al_rotate.sampling import Budget, QueryContext, rank, rank_and_select, select


def only_picks(candidates, budget, rng):
    return sorted(candidates.image_ids, reverse=True)[: budget.images]


class TestOwnFunctions:
    def test_a_plain_function(self):
        def most_ships(candidates, budget, rng):
            ships = np.bincount(candidates.image_index, candidates.labels == 0, minlength=len(candidates))
            order = np.lexsort((candidates.image_ids, -ships))
            return budget.take(candidates.image_ids[order], candidates.counts[order])

        candidates = random_pool([4, 3, 2, 1]).where(np.array([1, 1, 0, 0, 1, 1, 1, 1, 1, 1], bool))  # 2, 3, 2, 1 boxes
        candidates = candidates.replace(labels=np.array([1, 1, 0, 0, 2, 0, 1, 1]))  # 0, 2, 1, 0 ships
        assert select(candidates, most_ships, 3, rng()) == ["scene1/tile001", "scene2/tile002", "scene0/tile000"]
        assert select(candidates, most_ships, Budget(boxes=5), rng()) == ["scene1/tile001", "scene2/tile002"]

    @pytest.mark.parametrize("kind", [list, tuple, np.array])
    def test_sequences_come_back_as_a_list_of_str(self, kind):
        picked = select(random_pool([1, 1]), lambda candidates, budget, rng: kind(["scene1/tile001"]), 2, rng())
        assert picked == ["scene1/tile001"]
        assert type(picked) is list
        assert type(picked[0]) is str

    def test_it_is_given_the_generator(self):
        def draw(candidates, budget, rng):
            return rng.choice(candidates.image_ids, budget.images, replace=False)

        assert select(MIXED, draw, 5, rng(1)) == rng(1).choice(MIXED.image_ids, 5, replace=False).tolist()
        with pytest.raises(ValueError, match="'draw' needs a random generator: rng="):
            select(MIXED, draw, 5)

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (["scene0/tile000", "elsewhere"], "expected ids of candidates from the strategy 'bad', got 'elsewhere'"),
            ([0], "expected ids of candidates from the strategy 'bad', got 0"),
            (["scene0/tile000"] * 2, "each image once from the strategy 'bad', got 'scene0/tile000' 2 times"),
            (
                ["scene0/tile000", "scene1/tile001"],
                r"at most Budget\(.*from the strategy 'bad', got 2 images with 3 boxes",
            ),
            ("scene0/tile000", "expected a list of image ids from the strategy 'bad', got 'scene0/tile000'"),
            (None, "expected a list of image ids from the strategy 'bad', got None"),
        ],
    )
    def test_a_broken_one_is_named(self, returned, message):
        def bad(candidates, budget, rng):
            return returned

        with pytest.raises(ValueError, match=message):
            select(random_pool([3, 0]), bad, Budget(boxes=3), rng())

    def test_it_does_not_rank(self):
        with pytest.raises(ValueError, match=r"'only_picks', which only picks: use select\(\)"):
            rank(MIXED, only_picks)

    def test_it_gets_the_context_if_it_has_the_parameter(self):
        def rarest(candidates, budget, rng, context):
            rare = context.class_counts(3).argmin()
            shows = np.bincount(candidates.image_index, candidates.labels == rare, minlength=len(candidates)) > 0
            return budget.take(candidates.image_ids[shows], candidates.counts[shows])

        candidates = random_pool([1, 1, 1]).replace(labels=[2, 1, 0])
        labels = RotatedInstances(["a"], [0, 3], [[5, 5, 4, 2, 0]] * 3, [0, 0, 1])
        assert select(candidates, rarest, 5, rng(), QueryContext(labels)) == ["scene0/tile000"]

    def test_it_gets_a_table_of_its_picks(self):
        """The picked images from score 1 down, the others without a score."""
        candidates = random_pool([1, 0, 2])
        table, picked = rank_and_select(candidates, only_picks, Budget(images=2), rng(), QueryContext())
        assert picked == ["scene2/tile002", "scene1/tile001"]
        assert table["image_id"].tolist() == [*picked, "scene0/tile000"]
        assert table["rank"].tolist()[:2] == [1, 2]
        assert table["score"].tolist()[:2] == [1, 0.5]
        assert table.loc[2, ["rank", "score"]].isna().all()
        assert table["n_boxes"].tolist() == [2, 0, 1]


def test_a_seed_is_no_generator():
    with pytest.raises(TypeError, match=r"expected rng to be a np.random.Generator, got 7"):
        select(MIXED, "random", 3, 7)


def test_a_number_is_a_budget_of_images():
    assert select(MIXED, "entropy", 3) == select(MIXED, "entropy", Budget(images=3))
    with pytest.raises(ValueError, match="expected a budget of at least one of images, got 0"):
        select(MIXED, "entropy", 0)
