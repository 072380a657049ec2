"""Configs are complete and say what is run; arms share what they begin with, if they are trained alike."""

from dataclasses import replace

import pytest

from experiments.comparison.config import (
    Cell,
    arm_of,
    cell_folder,
    depends_on,
    digest,
    list_cells,
    load_config,
    n_rounds,
    n_shared,
    run_as,
    spent_after,
)
from experiments.learners.pools.tile_pool import POOLS
from experiments.paths import CHOICES, COMPARISONS, DETECTORS


def test_configs_with_slips_are_refused(tmp_path, write_config):
    for changes, message in (
        ({"iteration": 3}, "iteration"),
        ({"arms": {"random": {"option": {}}}}, r"arm 'random' .*strategy, options, training, loop, got \['option'\]"),
        ({"budget": {"images": [10, 10]}}, "a budget of images or seconds that rises"),
        ({"budget": {"boxes": [10, 20]}}, "a budget of images or seconds that rises"),
    ):
        with pytest.raises(ValueError, match=message):
            load_config(write_config(tmp_path, **changes))


def test_a_config_takes_from_another_what_it_does_not_say(tmp_path, write_config):
    write_config(tmp_path)
    (tmp_path / "own.yaml").write_text("like: small.yaml\nseeds: [7]\n")
    config = load_config(tmp_path / "own.yaml")
    assert config["seeds"] == [7]
    assert config["budget"] == {"images": [10, 16, 22]}
    assert "like" not in config


def test_rounds_and_budgets(tmp_path, write_config):
    config = load_config(write_config(tmp_path))
    assert (n_rounds(config), n_shared(config)) == (3, 1)
    assert [spent_after(config, number) for number in range(3)] == [("images", 10), ("images", 16), ("images", 22)]
    known = load_config(write_config(tmp_path, known=5))
    assert (n_rounds(known), n_shared(known)) == (4, 2)
    assert [spent_after(known, number)[1] for number in range(4)] == [0, 10, 16, 22]


def test_arms_that_are_trained_alike_share_their_first_rounds(tmp_path, write_config):
    arms = {"random": None, "short": {"strategy": "random", "training": {"most": 5}}, "entropy": None}
    config = load_config(write_config(tmp_path, arms=arms, known=1))
    cells = [cell for cell in list_cells(config) if cell.seed == 0]
    ran = [run_as(config, cell).arm for cell in cells]
    assert ran == 2 * ["random", "short", "random"] + 2 * ["random", "short", "entropy"]
    assert len({cell_folder(tmp_path, config, run_as(config, cell)) for cell in cells}) == 2 + 3
    assert arm_of(config, "short") == {"strategy": "random", "options": {}, "training": {"most": 5}, "loop": {}}


def test_a_longer_budget_keeps_the_shared_rounds(tmp_path, write_config):
    cell = Cell((0, 0, 0), 0, 0, "random")
    short, long = (
        load_config(write_config(tmp_path, budget={"images": totals})) for totals in ([10, 16], [10, 16, 30])
    )
    assert cell_folder(tmp_path, short, cell) == cell_folder(tmp_path, long, cell)
    later = replace(cell, round=1)
    assert cell_folder(tmp_path, short, later) != cell_folder(tmp_path, long, later)


def test_a_whole_detector_is_another_recipe_and_none_leaves_digests_as_they_were(tmp_path, write_config):
    plain, whole = (load_config(write_config(tmp_path, **more)) for more in ({}, {"detector": "rtmdet_lite0_640"}))
    assert "detector" not in depends_on(plain, "random")
    assert depends_on(whole, "random") == {**depends_on(plain, "random"), "detector": "rtmdet_lite0_640"}
    assert (DETECTORS / f"{load_config(COMPARISONS / 'whole-vhr10.yaml')['detector']}.py").exists()


def test_the_order_of_keys_makes_no_difference():
    assert digest({"a": 1, "b": 2}, 3) == digest({"b": 2, "a": 1}, 3) != digest({"a": 1, "b": 2}, 4)


@pytest.mark.parametrize("pool", sorted({*POOLS} - {"vhr10-large"}))
def test_every_pool_is_chosen_by_and_reported_and_the_two_share_nothing(pool):
    choice, final = (
        load_config(CHOICES / f"choose-{pool}.yaml"),
        load_config(COMPARISONS / f"{pool}.yaml"),
    )
    assert choice["pool"] == final["pool"] == pool
    assert (choice["measure"], final["measure"]) == ("val", "test")
    assert not {*choice["seeds"]} & {*final["seeds"]}
    assert len(final["seeds"]) >= 8
    totals = final["budget"]["seconds"]
    assert len(totals) == 6
    assert totals[0] <= 0.0501 * totals[-1]
    controls = {"random-detected"} | ({"random-class"} if not pool.startswith("ssdd") else set())
    assert controls <= {*choice["arms"]} & {*final["arms"]}
    assert {*final["arms"]} - {*choice["arms"]} == {"random"}  # whose savings need no choice
    assert "random-class" in controls or "random-class" not in final["arms"]  # with one class it is random-detected
