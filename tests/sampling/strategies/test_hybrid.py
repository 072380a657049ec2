"""Our own strategy: what each of its parts changes."""

import numpy as np
import pytest
from helpers.built import overconfident, pool

from al_rotate.sampling import Budget, QueryContext, rank, select
from al_rotate.sampling.costs import ExpectedCost

FOUND, TRUTH = overconfident()


def rng(seed=0):
    return np.random.default_rng(seed)


def seen(images, features=None, **options):
    """Detections with features; all different unless given."""
    return pool(images, image_features=np.eye(len(images)) if features is None else features, **options)


def context(**more):
    return QueryContext(TRUTH, FOUND, **more)


def test_diversity_first_while_the_detector_is_weak():
    """Two clusters: without labels, or when nothing that was found was right, the uncertain image does not matter."""
    features = [[1, 0.0], [1, 0.1], [1, 0.2], [0.0, 1], [0.1, 1], [0.2, 1]]
    images = {"a0": [(0, 0.99)], "a1": [(0, 0.99)], "a2": [(0, 0.5)], "b0": [(0, 0.99)], "b1": [(0, 0.99)], "b2": []}
    all_wrong = pool({i: [(0, 0.9, (200, 200, 9, 9, 0))] for i in TRUTH.image_ids})
    for weak in (QueryContext(), QueryContext(TRUTH, all_wrong)):
        table = rank(seen(images, features), "hybrid", rng(), weak, budget=2)
        assert table["image_id"][:2].str[0].tolist() in (["a", "b"], ["b", "a"])
        assert (table["start"] == "diversity first").all()
    table = rank(seen(images, features), "hybrid", rng(), context(), budget=2)
    assert "start" not in table


def test_weak_is_by_the_map_before_training():
    """Half of the ships and nearly all planes: their mAP is far above 0.1 and below 0.95."""
    images = {"a": [(0, 0.9)], "b": [(1, 0.6)]}
    assert "start" not in rank(seen(images), "hybrid", rng(), context(), budget=1)
    assert "start" in rank(seen(images), "hybrid", rng(), context(), budget=1, weak_below=0.95)


def test_value_is_calibrated_and_for_what_it_takes_of_the_budget():
    """A ship at 0.9 is right every second time; ten sure planes take more and teach less."""
    cost = ExpectedCost(image=5, box=0, correction=5, corrections_per_box=1)
    an_hour, ten_boxes = Budget(seconds=3600, cost=cost), Budget(boxes=10)
    images = {"planes": [(1, 0.6)] * 10, "ship": [(0, 0.9)]}
    for budget, takes in ((an_hour, {"ship": 10 / 3600, "planes": 55 / 3600}), (ten_boxes, {"ship": 0.1, "planes": 1})):
        table = rank(seen(images), "hybrid", rng(), context(cost=cost), budget).set_index("image_id")
        assert table.index[0] == "ship"
        assert table["expected_seconds"].to_dict() == {"ship": 10, "planes": 55}
        assert (table["uncertainty"] / table["value"]).to_dict() == pytest.approx(takes, rel=1e-6)
    assert table.loc["ship", "expected_boxes"] == pytest.approx(0.5, abs=0.03)
    assert table.loc["planes", "expected_boxes"] == pytest.approx(9.7, abs=0.3)
    images = {"faint": [(1, 0.2)] * 9, "ship": [(0, 0.9)]}
    faint = rank(seen(images), "hybrid", rng(), context(cost=cost), ten_boxes).set_index("image_id").loc["faint"]
    assert faint["n_shown"] == 0
    assert faint["expected_seconds"] == pytest.approx(5 + 5 * faint["expected_boxes"])
    assert faint["uncertainty"] / faint["value"] == pytest.approx(faint["expected_boxes"] / 10)


def test_a_budget_of_images_does_not_shun_crowded_ones():
    """Nine doubtful ships teach more than one does and take as much of a budget of images; of boxes nine times that."""
    images = {"nine": [(0, 0.9)] * 9, "one": [(0, 0.9)]}
    for budget in (1, Budget(images=1), None):
        table = rank(seen(images), "hybrid", rng(), context(), budget, shortlist=1.0)
        assert table["image_id"][0] == "nine"
        assert "value" not in table
    table = rank(seen(images), "hybrid", rng(), context(), Budget(boxes=9), shortlist=1.0)
    assert table["image_id"][0] == "one"


IMAGES = {"one": [(0, 0.9)], "nine": [(0, 0.9)] * 9, "both": [(0, 0.9), (1, 0.6)], "plane": [(1, 0.6)]}


def test_many_of_a_class_teach_less_than_as_many_times_one():
    """What boxes add to the logarithm of their class's labels, and classes add up."""
    taught = rank(seen(IMAGES), "hybrid", rng(), context(), budget=1).set_index("image_id")["uncertainty"]
    classes = len(TRUTH.classes)
    assert np.expm1(classes * taught["nine"]) == pytest.approx(9 * np.expm1(classes * taught["one"]))
    assert taught["nine"] < 9 * taught["one"]
    assert taught["both"] == pytest.approx(taught["one"] + taught["plane"])


def test_a_class_with_few_labels_teaches_more():
    """Ten times the labels of its class: the logarithm rises less by the same box."""
    ids = [f"{i}/{k}" for k in range(9) for i in TRUTH.image_ids]
    more = type(TRUTH)(
        ids,
        np.concatenate([[0], np.cumsum(np.tile(TRUTH.counts, 9))]),
        np.tile(TRUTH.boxes, (9, 1)),
        np.tile(TRUTH.labels, 9),
        classes=TRUTH.classes,
    )
    with_more = QueryContext(TRUTH.concat([TRUTH, more]), FOUND)
    few, lots = (
        rank(seen(IMAGES), "hybrid", rng(), each, budget=1).set_index("image_id")["uncertainty"]["one"]
        for each in (context(), with_more)
    )
    n, classes = int((TRUTH.labels == 0).sum()), len(TRUTH.classes)
    assert np.expm1(classes * few) * (1 + n) == pytest.approx(np.expm1(classes * lots) * (1 + 10 * n))


def test_the_root_as_it_was_before():
    """Nine ships teach three times what one does."""
    table = rank(seen(IMAGES), "hybrid", rng(), context(), budget=1, class_gain="root").set_index("image_id")
    taught = table["uncertainty"]
    assert taught["nine"] == pytest.approx(3 * taught["one"])
    assert taught["both"] == pytest.approx(taught["one"] + taught["plane"])
    with pytest.raises(ValueError, match="class_gain"):
        rank(seen(IMAGES), "hybrid", class_gain="linear")


def test_near_duplicates_do_not_come_together():
    """Three images of doubtful ships, two of which look and hold the same: the odd one is among two picks."""
    images = {"a": [(0, 0.9)], "a2": [(0, 0.9)], "b": [(0, 0.9, (50, 50, 20, 20, 0.5))], "sure": [(1, 0.6)]}
    features = [[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 1]]
    picked = select(seen(images, features), "hybrid", 2, rng(), context())
    assert "b" in picked
    assert len({"a", "a2"} & {*picked}) == 1


def test_tiles_of_one_scene_do_not_fill_a_batch():
    tiles = {f"P1__{i}": [(0, 0.9)] * 3 for i in range(6)}
    others = {f"P{k}__0": [(0, 0.9), (1, 0.6)] for k in range(2, 6)}
    candidates = seen({**tiles, **others})
    picked = select(candidates, "hybrid", 4, rng(), context(), shortlist=1.0, per_scene=1)
    assert sorted(i.partition("__")[0] for i in picked) != ["P1"] * 4
    assert len({i.partition("__")[0] for i in picked}) == 4
    assert sum(i.startswith("P1") for i in select(candidates, "hybrid", 4, rng(), context(), per_scene=6)) > 1


def test_scenes_may_be_named_otherwise():
    """Frames of two clips, all alike: two of each clip, not the first four."""
    candidates = seen({f"clip{k}/{i}": [(0, 0.9)] for k in range(2) for i in range(4)})
    for weak in (context(), QueryContext()):
        picked = select(candidates, "hybrid", 4, rng(), weak, shortlist=1.0, scene="(.*)/.*")
        assert sorted(i.partition("/")[0] for i in picked) == ["clip0", "clip0", "clip1", "clip1"]
    for wrong in ("clip.*", "("):
        with pytest.raises(ValueError, match=r"expected scene to be a regular expression with a group, got '"):
            rank(candidates, "hybrid", scene=wrong)


def test_views_raise_what_moves():
    """The same two images; in the views one of them has moved."""
    images = {"calm": [(0, 0.9)], "moves": [(0, 0.9)]}
    candidates = seen(images)
    moved = pool({"calm": [(0, 0.9)], "moves": [(0, 0.9, (70, 50, 40, 10, 0))]})
    requests = []

    def views(ids, wanted):
        requests.append((ids, len(wanted)))
        return [moved.subset(ids) for _ in wanted]

    assert select(candidates, "hybrid", 1, rng(), context(views=views)) == ["calm"]  # a tie
    assert not requests
    table = rank(candidates, "hybrid", rng(), context(views=views), budget=1, views=True).set_index("image_id")
    assert table.index[0] == "moves"
    assert requests == [(["calm", "moves"], 7)]
    overlap = 20 / 60
    assert table["instability"].to_dict() == pytest.approx({"calm": 0, "moves": 1 - overlap}, abs=1e-6)
    counted = np.expm1(len(TRUTH.classes) * table["value"])
    assert counted["moves"] / counted["calm"] == pytest.approx(2 - overlap, abs=1e-6)


def test_only_the_shortlist_is_looked_at_from_other_sides():
    images = {f"i{k}": [(0, 0.9)] * (k + 1) for k in range(9)}
    candidates, requests = seen(images), []

    def views(ids, wanted):
        requests.extend(ids)
        return [candidates.subset(ids) for _ in wanted]

    table = rank(candidates, "hybrid", rng(), context(views=views), budget=2, views=True, shortlist=2.0)
    assert len(requests) == 4
    assert table["instability"].notna().sum() == 4


def test_images_without_a_box_count_what_such_images_held():
    held = pool({**{i: [] for i in ("e1", "e2")}})
    truth = pool({"e1": [(0, 1.0)], "e2": [(0, 1.0)]}).replace(scores=None)
    both = QueryContext(TRUTH.concat([TRUTH, truth]), FOUND.concat([FOUND, held]))
    table = rank(seen({"a": [(0, 0.9)], "n": []}), "hybrid", rng(), both, budget=1).set_index("image_id")
    assert table.loc["n", "uncertainty"] == pytest.approx(table.loc["a", "uncertainty"] * 0.75)


@pytest.mark.parametrize("options", [{"shortlist": 0.5}, {"per_scene": 0}, {"weak_below": 2}])
def test_options(options):
    with pytest.raises(ValueError, match="expected shortlist and per_scene >= 1 and weak_below"):
        rank(seen({"a": []}), "hybrid", **options)
