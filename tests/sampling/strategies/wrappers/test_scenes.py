"""A few images of each scene before the next ones."""

import pytest
from helpers.built import pool

from al_rotate.sampling import explain, make_strategy, rank, select

TILES = pool({f"{s}__{k}": [(0, 0.5 + 0.01 * k + 0.1 * (s == "b"))] for s in "ab" for k in range(3)})


def test_the_best_of_each_scene_come_first():
    """Entropy falls from a__0 to a__2, then from b__0 to b__2."""
    assert rank(TILES, "entropy")["image_id"].tolist() == [f"{s}__{k}" for s in "ab" for k in range(3)]
    table = rank(TILES, "entropy", per_scene=1)
    assert table["image_id"].tolist() == ["a__0", "b__0", "a__1", "b__1", "a__2", "b__2"]
    assert table["placement"].tolist() == ["score"] * 2 + ["behind its scene's share"] * 4
    assert table["score"].is_monotonic_decreasing
    assert table["uncertainty_max"].iloc[2] > table["uncertainty_max"].iloc[1]
    assert explain(table)[2].startswith("Rank 3 of 6: other images of its scene come first; 1 box")
    assert select(TILES, "entropy", 3, per_scene=2) == ["a__0", "a__1", "b__0"]


def test_scenes_by_an_expression():
    frames = pool({f"clip{c}/{k}": [(0, 0.5 + 0.01 * k)] for c in (1, 2) for k in range(2)})
    assert select(frames, "entropy", 2, per_scene=1, scene="(.*)/.*") == ["clip1/0", "clip2/0"]


def test_the_figure_and_the_needs_are_the_strategys():
    wrapped = make_strategy("pal", per_scene=1)
    assert (wrapped.figure, wrapped.needs) == ("uncertainty", {"labels"})


@pytest.mark.parametrize("wrong", [0, True, 1.5, "2"])
def test_refusals(wrong):
    with pytest.raises(ValueError, match=f"expected per_scene to be at least one image, got {wrong!r}"):
        make_strategy("entropy", per_scene=wrong)
    for scene in (".*", "(", 3):
        with pytest.raises(ValueError, match="expected scene to be a regular expression with a group"):
            make_strategy("entropy", per_scene=1, scene=scene)
