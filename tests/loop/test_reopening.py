"""Loops that are opened again, by another process or with other arguments."""

import pytest
from helpers.loops.kills import dump
from helpers.loops.loop import FILES, POOL, TEST, TEST_FILES, TRUTH, make, queried
from helpers.noisy import NoisyLearner, Start

from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.sampling import Budget
from al_rotate.workspace import WorkspaceBusy


def test_each_step_by_another_process_makes_the_same_loop(tmp_path):
    with make(tmp_path / "one") as loop:
        loop.run(2)
    for _ in range(2):
        for step in ("query", "collect", "train"):
            with make(tmp_path / "many") as loop:
                getattr(loop, step)()
    assert dump(tmp_path / "one") == dump(tmp_path / "many")


def test_the_folder_alone_is_enough(tmp_path):
    options = {"strategy": "margin", "strategy_options": {"how": "sum"}, "budget": Budget(boxes=9), "seed": 7}
    with make(tmp_path / "one", **options) as loop:
        expected = loop.run(3)
        queries = queried(loop.workspace)
    with make(tmp_path / "two", **options) as loop:
        loop.run(1)
    with ActiveLoop(tmp_path / "two", learner=NoisyLearner(TRUTH)) as loop:
        assert loop.run(3)["mAP"].tolist() == expected["mAP"].tolist()
        assert queried(loop.workspace) == queries
    with pytest.raises(ValueError, match="made with a learner of your own: give it again"):
        ActiveLoop(tmp_path / "two")


def test_another_strategy_for_one_query(tmp_path):
    options = {"strategy": "entropy", "strategy_options": {"how": "sum"}}
    with make(tmp_path, **options) as loop:
        loop.run(1)
    with make(tmp_path, strategy="random") as loop:  # which has no `how`
        loop.run(2)
    with make(tmp_path) as loop:
        assert loop.settings.strategy_options == {"how": "sum"}
        assert loop.run(3)["strategy"].tolist() == ["random", "random", "entropy"]


def test_one_process_at_a_time(loop):
    with pytest.raises(WorkspaceBusy, match="an earlier Workspace that was not closed"):
        make(loop.workspace.folder)
    loop.close()
    make(loop.workspace.folder).close()


def test_arguments_that_contradict_the_workspace(tmp_path):
    folder = tmp_path / "work"
    make(folder, detector=Start()).close()
    other = {**FILES, "image_99": "x.png"}
    del other["image_00"]
    moved = TEST.replace(boxes=TEST.boxes + 1)
    for changes, message in (
        ({"classes": ("ship", "plane")}, "has the classes ship, plane, court, got ship, plane; to change them, use"),
        ({"images": dict(list(FILES.items())[1:])}, r"has 24 images, got 23 .* use add_images or remove_images"),
        ({"images": other}, r"got 24 of which 23 are the same \('image_00' is not in both\)"),
        ({"detector": Start(text="model = 2\n")}, "made with a detector of another config"),
        ({"test": (TEST_FILES, moved)}, "has another test set; to change it, use set_test"),
        ({"strategy": "entropi"}, "Did you mean 'entropy'"),
        ({"strategy": "random", "strategy_options": {"how": "sum"}}, "expected options of 'random'"),
    ):
        with pytest.raises(ValueError, match=message):
            make(folder, **changes)
    make(folder).close()  # each gave the workspace back
    make(tmp_path / "untested", test=None).close()
    with pytest.raises(ValueError, match="has no test set; to change it, use set_test"):
        make(tmp_path / "untested")


def test_a_workspace_that_cannot_be_is_not_made(tmp_path):
    part = POOL.subset(sorted(FILES)[:20])
    inside = {**TEST_FILES, "test_02": FILES["image_05"]}
    for changes, message in (
        ({"images": None}, "is no workspace yet: give images, classes and a detector"),
        ({"classes": None}, "is no workspace yet"),
        ({"learner": None}, "is no workspace yet"),
        ({"detector": Start(classes=("a", "b"))}, r"expected detector of the classes .*, got \('a', 'b'\)"),
        ({"annotator": SimulatedAnnotator(POOL.replace(classes=("a", "b", "c")))}, "expected held-back labels of"),
        ({"annotator": SimulatedAnnotator(part)}, r"got none for 4, e\.g\. 'image_20'"),
        (
            {"test": (inside, TEST)},
            r"of the test set outside the pool, got 1 that are in it, e\.g\. /images/image_05\.png",
        ),
        ({"test": ({}, TEST)}, "expected an image file for every label"),
        ({"test": (TEST_FILES, TEST.replace(classes=("a", "b", "c")))}, "expected labels of the classes"),
        ({"strategy": "entropi"}, "Did you mean 'entropy'"),
        ({"strategy_options": {"hows": 1}}, "expected options of 'pal'"),
        ({"budget": 0}, "expected a budget of at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            make(tmp_path, **changes)
        assert not (tmp_path / "state.db").exists()
    make(tmp_path).close()  # nothing is in the way
