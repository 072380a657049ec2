import json
import os
import signal
import subprocess
import sys
import traceback
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.kills import dump, kill_at
from helpers.noisy import CLASSES, NoisyLearner, Start, labels_of

from al_rotate.data.instances import RotatedInstances
from al_rotate.data.views import View
from al_rotate.loop.active_loop import ActiveLoop
from al_rotate.loop.annotator import Answer
from al_rotate.loop.simulated import SimulatedAnnotator
from al_rotate.sampling import STRATEGIES, Budget, needs_of
from al_rotate.sampling.costs import CostModel
from al_rotate.workspace import WorkspaceBusy
from al_rotate.workspace import artefacts

POOL, TEST = labels_of(24), labels_of(8, "test")
TRUTH = RotatedInstances.concat([POOL, TEST])
FILES = {image_id: f"/images/{image_id}.png" for image_id in POOL.image_ids}  # this learner opens no image
TEST_FILES = {image_id: f"/images/{image_id}.png" for image_id in TEST.image_ids}


class People(SimulatedAnnotator):
    """Answer only some images, and skip some; what they were asked is kept elsewhere, as a server would."""

    def __init__(self, answered=lambda image_id: True, skipped=()):
        super().__init__(POOL)
        self.answered, self.skips = answered, skipped

    def pull(self, since=None):
        told = super().pull()
        skipped = {i: "clouds" for i in told.labels.image_ids if i in self.skips}
        given = [i for i in told.labels.image_ids if i not in skipped and self.answered(i)]
        costs = told.costs[told.costs["image_id"].isin([*given, *skipped])]
        return Answer(told.labels.subset(given), skipped, costs)


BY_THE_MEAN = {"strategy": "entropy", "strategy_options": {"how": "mean"}}  # asks for images with few boxes, too


def make(folder, **changes):
    arguments = {
        "images": FILES,
        "classes": CLASSES,
        "budget": 5,
        "annotator": SimulatedAnnotator(POOL),
        "test": (TEST_FILES, TEST),
        "learner": NoisyLearner(TRUTH),
    }
    return ActiveLoop(folder, **{**arguments, **changes})


@pytest.fixture
def loop(tmp_path):
    with make(tmp_path / "work") as made:
        yield made


def queried(workspace):
    return [workspace.query(r.number)["image_id"].tolist() for r in workspace.rounds()]


# The way round.


def test_rounds_go_on_and_detections_get_better(loop):
    history = loop.run(3)
    assert history["stage"].tolist() == ["trained"] * 3
    assert history["strategy"].tolist() == ["random", "pal", "pal"]
    assert history["n_queried"].tolist() == history["n_labelled"].tolist() == [5, 10, 15]
    assert history["mAP"].is_monotonic_increasing
    assert history["mAP"].iloc[0] < 0.4 < 0.5 < history["mAP"].iloc[-1]
    assert history["cost"].is_monotonic_increasing
    assert history["loss"].tolist() == pytest.approx([1 / 6, 1 / 11, 1 / 16])
    assert {f"AP/{name}" for name in CLASSES} <= {*history.columns}
    assert len({*chain(*queried(loop.workspace))}) == 15
    assert loop.workspace.counts() == {"unlabelled": 9, "queried": 0, "labelled": 15, "skipped": 0}
    assert loop.run(3).equals(history)  # nothing is left to do
    assert len(loop.learner.trained) == 3


def test_what_a_round_leaves_behind(loop):
    loop.run(2)
    folder = loop.workspace.folder / "rounds" / "001"
    ranking, selection = (pd.read_csv(folder / f"{name}.csv") for name in ("ranking", "selection"))
    assert sorted(ranking["image_id"]) == sorted({*FILES} - {*queried(loop.workspace)[0]})
    assert ranking["rank"].tolist() == list(range(1, 20))
    asked = loop.workspace.query(1)
    assert selection["image_id"].tolist() == asked["image_id"].tolist() == ranking["image_id"].tolist()[:5]
    assert selection["score"].tolist() == pytest.approx(asked["score"].tolist())
    assert RotatedInstances.load(folder / "detections").image_ids.shape == (19,)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == loop.workspace.rounds()[1].metrics
    assert metrics["mAP"] == loop.workspace.history()["mAP"][1]


def test_training_sees_all_labels_so_far_and_only_these(tmp_path):
    with make(tmp_path, strategy="random") as loop:
        loop.run(4)
        for number, (_, files, labels) in enumerate(loop.learner.trained):
            so_far = sorted(chain(*queried(loop.workspace)[: number + 1]))
            assert labels.image_ids.tolist() == list(files) == so_far
            assert labels.boxes.tolist() == POOL.subset(so_far).boxes.tolist()
            assert {str(file) for file in files.values()} == {FILES[image_id] for image_id in so_far}
        # 20 of the 24 images: one at least of the five confirmed empty is there, as a negative.
        assert len(labels) == 20
        assert (labels.counts == 0).any()
        # The pool is what is left, and between queries come the test images.
        shown = [ids for _, ids in loop.learner.predicted]
        assert [len(ids) for ids in shown] == [8, 19, 8, 14, 8, 9, 8]
        assert all(ids == TEST.image_ids.tolist() for ids in shown[::2])
        assert shown[5] == sorted({*FILES} - {*chain(*queried(loop.workspace)[:3])})


def test_a_seed_says_it_all(tmp_path):
    asked, histories = [], []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        with make(tmp_path / name, seed=seed) as loop:
            histories.append(loop.run(2).drop(columns=["started", "finished"]))
            asked.append(queried(loop.workspace))
    assert asked[0] == asked[1]
    assert histories[0].equals(histories[1])
    assert asked[0][0] != asked[2][0]
    assert not histories[0]["mAP"].equals(histories[2]["mAP"])


@pytest.mark.parametrize("detector", [None, Start()])
def test_weights_that_know_nothing_are_not_asked(tmp_path, detector):
    with make(tmp_path, detector=detector) as loop:
        asked = loop.query()
        assert loop.workspace.rounds()[0].strategy == "random"
        assert loop.learner.predicted == []
        assert asked["image_id"].tolist() != sorted(FILES)[:5]  # as the order of equal scores would have it


def test_weights_that_know_something_are_asked_at_once(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.query()
        assert loop.workspace.rounds()[0].strategy == "pal"
        assert loop.learner.predicted == [(tmp_path / "initial.pth", sorted(FILES))]


@pytest.mark.parametrize(("warm", "trainings"), [(True, [1, 2, 3]), (False, [1, 1, 1])])
def test_where_trainings_start(tmp_path, warm, trainings):
    with make(tmp_path / "a", detector=Start(), warm_start=warm) as loop:
        loop.run(3)
        checkpoints = [r.checkpoint for r in loop.workspace.rounds()]
        first = tmp_path / "a" / "initial.pth"
        assert [start for start, *_ in loop.learner.trained] == ([first, *checkpoints[:2]] if warm else [first] * 3)
        assert [json.loads(c.read_text())["trainings"] for c in checkpoints] == trainings
    with make(tmp_path / "b", warm_start=warm) as loop:
        loop.run(2)
        starts = [start for start, *_ in loop.learner.trained]
        assert starts == [None, loop.workspace.rounds()[0].checkpoint if warm else None]


def test_the_budget_holds(tmp_path):
    with make(tmp_path, detector=Start(taught=4), budget=Budget(images=8, boxes=11), **BY_THE_MEAN) as loop:
        loop.query()
        selection = pd.read_csv(loop.workspace.folder / "rounds" / "000" / "selection.csv")
        assert 3 <= len(selection) <= 8
        assert 8 <= selection["n_shown"].clip(lower=1).sum() <= 11
    with make(tmp_path, budget=3) as loop:  # of this process alone
        loop.run(1)
        assert len(loop.query()) == 3
        assert loop.workspace.settings["budget"] == {"images": 8, "boxes": 11, "seconds": None, "cost": None}


def test_a_budget_in_time_learns_how_long_people_take(tmp_path):
    """Assumed are 5 s an image; these take a hundred."""
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, CostModel(image=100)), budget=20) as loop:
        loop.run(1)
    slow = Budget(seconds=320)
    with make(tmp_path, budget=slow) as loop:
        assert 1 <= len(loop.query()) <= 3
    assert len(slow.take(POOL.image_ids, POOL.counts)) > 5


def test_a_budget_that_covers_nothing(tmp_path):
    crowded = [i for i, one in POOL if one.n_boxes > 3]
    files = {image_id: FILES[image_id] for image_id in crowded}
    with (
        make(tmp_path, images=files, detector=Start(taught=4), budget=Budget(boxes=3)) as loop,
        pytest.raises(ValueError, match=rf"boxes=3\) covers none of the {len(crowded)} images: raise it"),
    ):
        loop.query()


def test_a_strategy_of_ones_own(tmp_path):
    def last_ones(candidates, budget, rng):
        seen.append(candidates)
        return sorted(candidates.image_ids, reverse=True)[: budget.images]

    seen = []
    with make(tmp_path, strategy=last_ones) as loop:
        history = loop.run(2)
        assert history["strategy"].tolist() == ["random", "custom"]
        (candidates,) = seen
        assert sorted(candidates.image_ids) == sorted({*FILES} - {*queried(loop.workspace)[0]})
        assert candidates.scores.size > 0
        assert queried(loop.workspace)[1] == sorted(candidates.image_ids, reverse=True)[:5]
        ranking = pd.read_csv(loop.workspace.folder / "rounds" / "001" / "ranking.csv")
        assert ranking["score"].tolist()[:5] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
        assert len(ranking) == 19
        assert ranking["score"][5:].isna().all()
        assert ranking["n_boxes"].tolist() == candidates.subset(ranking["image_id"]).counts.tolist()
    with pytest.raises(ValueError, match="strategy of your own: give it again, or a name"):
        make(tmp_path)
    with make(tmp_path, strategy="random") as loop:
        assert loop.run(3)["strategy"].tolist() == ["random", "custom", "random"]


# People.


def test_people_answer_when_they_like(tmp_path):
    people = People(answered=lambda image_id: False)
    with make(tmp_path, annotator=people) as loop:
        asked = loop.query()["image_id"].tolist()
        assert loop.query()["image_id"].tolist() == asked
        assert loop.collect()["status"].tolist() == ["queried"] * 5
        with pytest.raises(ValueError, match=r"nothing of round 0 is labelled yet \(5 queried\)"):
            loop.train()
        people.answered = {*asked[:2]}.__contains__
        assert loop.collect()["status"].tolist() == ["labelled"] * 2 + ["queried"] * 3
        with pytest.raises(ValueError, match="3 images of this round are not answered yet"):
            loop.run(1)
        assert loop.workspace.rounds()[0].stage == "queried"
        loop.train()  # with what there is
        assert loop.learner.trained[0][2].image_ids.tolist() == sorted(asked[:2])
        second = loop.query()["image_id"].tolist()
        assert not {*second} & {*asked}  # they are asked for, still
        people.answered = lambda image_id: True
        loop.collect()
        loop.train()
        assert loop.learner.trained[1][2].image_ids.tolist() == sorted(asked + second)


def test_skipped_images_are_never_trained_on(tmp_path):
    with make(tmp_path / "work", annotator=SimulatedAnnotator(POOL)) as loop:
        asked = loop.query()["image_id"].tolist()
    people = People(skipped=asked[:2])
    with make(tmp_path / "work", annotator=people) as loop:
        history = loop.run(2)
        assert history["n_skipped"].tolist() == [2, 2]
        assert history["n_labelled"].tolist() == [3, 8]
        for _, files, labels in loop.learner.trained:
            assert not {*asked[:2]} & {*files, *labels.image_ids}
        assert not {*asked[:2]} & {*queried(loop.workspace)[1]}


def test_a_round_in_which_all_is_skipped_waits_for_a_label(tmp_path):
    people = People(skipped=[*FILES])
    with make(tmp_path, annotator=people) as loop:
        with pytest.raises(ValueError, match=r"nothing of round 0 is labelled yet \(5 skipped\)"):
            loop.run(1)
        people.skips = ()
        assert loop.run(1)["n_labelled"].tolist() == [5]


def test_the_annotator_sees_what_the_detector_saw(tmp_path):
    pushed = []

    class Watching(SimulatedAnnotator):
        def push(self, query):
            pushed.append(query)
            super().push(query)

    with make(tmp_path, annotator=Watching(POOL), detector=Start(taught=40)) as loop:
        asked = loop.query()["image_id"].tolist()
        (query,) = pushed
        detections = query.detections
        assert query.image_ids == detections.image_ids.tolist() == asked
        assert query.scores == loop.workspace.query(0)["score"].tolist()
        assert (query.round, query.model_version) == (0, "initial")
        assert query.paths == {image_id: Path(FILES[image_id]) for image_id in asked}
        assert detections.n_boxes > 0
        assert detections == RotatedInstances.load(tmp_path / "rounds" / "000" / "detections").subset(asked)
        loop.collect()
        ledger = loop.workspace.ledger()
        # Nearly right boxes are moved or kept and not drawn anew.
        assert ledger["n_added"].sum() < 0.3 * ledger["n_boxes"].sum()


def test_a_loop_without_an_annotator(tmp_path):
    with make(tmp_path, annotator=None) as loop:
        asked = loop.query()
        assert asked["status"].tolist() == ["queried"] * 5
        with pytest.raises(ValueError, match="has no annotator: give one to ActiveLoop"):
            loop.collect()


# Steps out of their order, and at the end.


def test_steps_out_of_their_order(loop):
    with pytest.raises(ValueError, match="round 0 has not queried yet"):
        loop.collect()
    with pytest.raises(ValueError, match=r"nothing is labelled yet: query\(\) and collect\(\) first"):
        loop.train()
    asked = loop.query()
    loop.collect()
    assert loop.query()["image_id"].tolist() == asked["image_id"].tolist()
    assert loop.collect()["status"].tolist() == ["labelled"] * 5
    metrics = loop.train()
    assert loop.train() == pytest.approx(metrics)
    assert len(loop.learner.trained) == 1
    with pytest.raises(ValueError, match="round 1 has not queried yet"):
        loop.collect()


def test_until_the_pool_is_used_up(tmp_path):
    with make(tmp_path, budget=10) as loop:
        assert loop.run(99)["n_labelled"].tolist() == [10, 20, 24]
        assert len(loop.run(99)) == 3
        with pytest.raises(ValueError, match="no unlabelled image is left"):
            loop.query()


def test_images_that_cannot_be_read_are_not_asked_for(tmp_path):
    bad = ["image_03", "image_07", "test_01"]
    learner = NoisyLearner(TRUTH, unreadable=bad)
    with make(tmp_path, learner=learner, detector=Start(taught=4), budget=11) as loop:
        assert loop.run(2)["n_labelled"].tolist() == [11, 22]
        assert loop.workspace.ids("unlabelled") == bad[:2]
        metrics = loop.workspace.rounds()[0].metrics
        assert metrics["test_images_skipped"] == 1
        with pytest.raises(
            ValueError, match=r"none of the 2 unlabelled images can be read, e\.g\. 'image_03': no image"
        ):
            loop.query()


def test_without_a_test_set_there_is_no_figure(tmp_path):
    with make(tmp_path, test=None) as loop:
        loop.run(1)
        assert loop.workspace.rounds()[0].metrics.keys() == {"loss"}


# Coming back.


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
        asked = queried(loop.workspace)
    with make(tmp_path / "two", **options) as loop:
        loop.run(1)
    with ActiveLoop(tmp_path / "two", learner=NoisyLearner(TRUTH)) as loop:
        assert loop.run(3)["mAP"].tolist() == expected["mAP"].tolist()
        assert queried(loop.workspace) == asked
    with pytest.raises(ValueError, match="made with a learner of your own: give it again"):
        ActiveLoop(tmp_path / "two")


def test_another_strategy_for_one_query(tmp_path):
    options = {"strategy": "entropy", "strategy_options": {"how": "sum"}}
    with make(tmp_path, **options) as loop:
        loop.run(1)
    with make(tmp_path, strategy="random") as loop:  # which has no `how`
        loop.run(2)
    with make(tmp_path) as loop:
        assert loop.settings["strategy_options"] == {"how": "sum"}
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
        ({"classes": ("ship", "plane")}, r"has the classes \('ship', 'plane', 'court'\), got"),
        ({"images": dict(list(FILES.items())[1:])}, r"with 24 images, got 23 .* a new pool needs a new folder"),
        ({"images": other}, r"got 24 of which 23 are the same \('image_00' is not in both\)"),
        ({"detector": Start(text="model = 2\n")}, "made with a detector of another config"),
        ({"test": (TEST_FILES, moved)}, "made with other test labels"),
        ({"strategy": "entropi"}, "Did you mean 'entropy'"),
        ({"strategy": "random", "strategy_options": {"how": "sum"}}, "expected options of 'random'"),
    ):
        with pytest.raises(ValueError, match=message):
            make(folder, **changes)
    make(folder).close()  # each gave the workspace back
    make(tmp_path / "untested", test=None).close()
    with pytest.raises(ValueError, match="made with no test set; a new test set needs a new folder"):
        make(tmp_path / "untested")


def test_a_workspace_that_cannot_be_is_not_made(tmp_path):
    known = POOL.subset(sorted(FILES)[:20])
    inside = {**TEST_FILES, "test_02": FILES["image_05"]}
    for changes, message in (
        ({"images": None}, "is no workspace yet: give images, classes and a detector"),
        ({"classes": None}, "is no workspace yet"),
        ({"learner": None}, "is no workspace yet"),
        ({"detector": Start(classes=("a", "b"))}, r"expected detector of the classes .*, got \('a', 'b'\)"),
        ({"annotator": SimulatedAnnotator(POOL.replace(classes=("a", "b", "c")))}, "expected held-back labels of"),
        ({"annotator": SimulatedAnnotator(known)}, r"got none for 4, e\.g\. 'image_20'"),
        ({"test": (inside, TEST)}, r"outside the pool, got 1 that are in it, e\.g\. /images/image_05\.png"),
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


def test_a_simulated_annotators_prices_are_its_own(tmp_path):
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, CostModel(image=100, added=0))) as loop:
        assert loop.run(1)["cost"].tolist() == [500]


# Killed anywhere.


def play(folder):
    with make(folder) as loop:
        loop.run(2)


def play_in_a_child(folder, point=None):
    """Play, killed at `point`; the points if it came to its end."""
    told = folder.with_suffix(".json")
    told.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            seen = kill_at(point, folder)
            play(folder)
            told.write_text(json.dumps(seen))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"status {status} at point {point} of {folder}"
    return json.loads(told.read_text()) if status == 0 else None


def play_all(root):
    """Undisturbed in root/000; then killed in a round's every step, some again elsewhere, and played to its end."""
    root = Path(root)
    points = play_in_a_child(root / "000")
    # Before and after a file takes its name or a transaction ends, by turns, and while weights are written.
    turning = [k for k, what in enumerate(points, 1) if what.startswith(("os.rename", "COMMIT"))]
    chosen = [k + turn % 2 for turn, k in enumerate(turning)]
    chosen += [k for k, what in enumerate(points, 1) if what.startswith("open") and "/training/" in what][1:3]
    for point in sorted({*chosen} - {len(points) + 1}):
        folder = root / f"{point:03d}"
        assert not play_in_a_child(folder, point)
        if point % 3 == 0:
            play_in_a_child(folder, 1 + 7 * point % 40)
        assert play_in_a_child(folder) is not None


def test_killed_anywhere_it_ends_as_if_undisturbed(tmp_path):
    # In a process of its own, which forks: it has started no threads, and imported what each child would.
    run = "import pandas.io.formats.csvs, pyarrow.dataset, test_active_loop as test\n"
    run += f"test.play_all({str(tmp_path)!r})"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, "-c", run], env=env, check=True)
    expected, left = dump(tmp_path / "000"), left_in(tmp_path / "000")
    assert [row["stage"] for row in expected["rounds"]] == ["trained", "trained"]
    assert len(expected["queries"]) == len(expected["answers"]) == 10
    assert len(left) == 8
    killed = sorted(path for path in tmp_path.iterdir() if path.is_dir())[1:]
    assert len(killed) >= 25
    for folder in killed:
        assert dump(folder) == expected, folder
        assert left_in(folder) == left, folder


def left_in(folder):
    names = ("selection.csv", "ranking.csv", "metrics.json", "training/weights.json")
    return [(path.name, path.read_bytes()) for name in names for path in sorted(folder.glob(f"rounds/*/{name}"))]


# Every named strategy goes round.


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
def test_named_strategies(tmp_path, name):
    """What a strategy needs is made for it, and only that; a query asked again picks the same."""
    with make(tmp_path / "work", strategy=name) as loop:
        loop.run(3)
        asked = queried(loop.workspace)
        assert [len(ids) for ids in asked] == [5, 5, 5]
        assert len({*chain(*asked)}) == 15
        folder = loop.workspace.folder / "rounds" / "002"
        selection = pd.read_csv(folder / "selection.csv")
        assert selection["why"].str.startswith("Rank ").all()
        found = RotatedInstances.load(folder / "detections")
        needs = needs_of(loop.strategy)
        assert (folder / "labelled_detections").exists() == ("labelled_features" in needs)
        assert any(folder.glob("views-*")) == ("views" in needs)
        assert len(found) == 24 - 10


def test_a_strategy_that_asks_for_columns_gets_them(tmp_path):
    seen = []

    def looks(candidates, budget, rng, known):
        seen.append((candidates, known))
        return list(candidates.image_ids[:2])

    looks.needs = {"class_scores", "features", "views", "labels", "labelled_features"}
    with make(tmp_path, strategy=looks) as loop:
        loop.run(2)
        (candidates, known) = seen[-1]
        assert candidates.class_scores.shape == (candidates.n_boxes, len(CLASSES))
        assert candidates.image_features.shape == (19, len(CLASSES))
        assert known.features.shape == (5, len(CLASSES))
        assert known.labels == loop.workspace.labels().subset(sorted(queried(loop.workspace)[0]))
        assert len(known.detections) == 0  # the first round asked blindly
        one, other = known.seen(candidates.image_ids[:3].tolist(), [View(flip=True), View(quarters=1)])
        assert one.image_ids.tolist() == other.image_ids.tolist() == candidates.image_ids[:3].tolist()
        loop.query()
        (_, known) = seen[-1]
        assert sorted(known.detections.image_ids) == sorted(queried(loop.workspace)[1])
        # made by the weights that asked for them, before they were taught their labels
        first = RotatedInstances.load(tmp_path / "rounds" / "001" / "detections")
        plain = first.subset(known.detections.image_ids)
        assert known.detections == plain


def test_costs_are_those_of_the_answers(tmp_path):
    """Simulated people take 5 s an image, 12 for a drawn and 5 for a moved box, 2 for one taken away."""
    with make(tmp_path, budget=12, strategy="box-count") as loop:
        loop.run(2)
        assert len(loop.workspace.ledger()) == 24
    assumed, learnt = (pd.read_csv(tmp_path / "rounds" / f"00{k}" / "ranking.csv") for k in (0, 1))
    assert (assumed["expected_seconds"] == 5.0).all()  # blind: no box is predicted
    np.testing.assert_allclose(learnt["expected_seconds"], 5 + 6.5 * learnt["n_shown"])  # 12 answers are too few


def test_a_query_killed_under_another_strategy_detects_again(tmp_path):
    with make(tmp_path, strategy="entropy") as loop:
        loop.run(1)
        folder = tmp_path / "rounds" / "001"
        loop.workspace.begin_round()
        artefacts.clear_unless_made_for(folder / "detections", {})
        loop.learner.predict(
            loop.workspace.rounds()[0].checkpoint, {"image_00": FILES["image_00"]}, folder / "detections"
        )
    with make(tmp_path, strategy="entropy", strategy_options={"use_class_scores": True}) as loop:
        assert len(loop.query()) == 5
        assert len(RotatedInstances.load(folder / "detections")) == 19


# Labels in doubt.


class Hasty(SimulatedAnnotator):
    """Gives two images of the second round somebody else's boxes, until they are asked about again."""

    def __init__(self):
        super().__init__(POOL)
        self.again = []

    def push(self, query):
        super().push(query)
        if query.again:
            self.again = [*query.image_ids]

    def pull(self, since=None):
        told = super().pull()
        ids = told.labels.image_ids.tolist()
        wrong = [i for i in ids[5:] if told.labels[i].n_boxes][:2]
        wrong = [i for i in wrong if i not in self.again]
        moved = told.labels.boxes.copy()
        moved[np.isin(told.labels.image_ids[told.labels.image_index], wrong), :2] += 300
        return Answer(told.labels.replace(boxes=moved), {}, told.costs)


def test_labels_in_doubt_are_asked_for_again(tmp_path):
    with make(tmp_path, annotator=Hasty(), seed=1, **BY_THE_MEAN) as loop:
        loop.run(2)
        labels = loop.workspace.labels()
        far = {i for i, one in labels if (one.boxes[:, 0] > 200).any()}
        assert len(far) == 2
        asked = loop.review(2)
        assert {*asked["image_id"]} == far
        assert (asked["status"] == "queried").all()
        assert loop.workspace.labels() == labels  # nothing is taken away before it is answered
        assert loop.workspace.rounds()[2].strategy == "review"
        assert loop.review(2).equals(asked)  # asked once
        collected = loop.collect()
        assert (collected["status"] == "labelled").all()
        assert loop.workspace.labels() == POOL.subset(
            sorted({*queried(loop.workspace)[0], *queried(loop.workspace)[1]})
        )
        loop.train()
        assert loop.learner.trained[-1][2] == loop.workspace.labels()
        assert loop.workspace.counts() == {"unlabelled": 14, "queried": 0, "labelled": 10, "skipped": 0}
        selection = pd.read_csv(tmp_path / "rounds" / "002" / "selection.csv")
        assert selection["why"].str.contains("has no label|was not seen").all()
        page = loop.report().read_text()
        assert "2 of 5 images, whose labels are in doubt" in page  # the first round asked blindly
        loop.query()  # and on it goes
        assert len(queried(loop.workspace)[3]) == 5
        assert not {*queried(loop.workspace)[3]} & {*labels.image_ids}


def test_an_answer_that_confirms_labels_is_one(tmp_path):
    with make(tmp_path, seed=1) as loop:
        loop.run(2)
        labels = loop.workspace.labels()
        asked = loop.review(Budget(images=1))
        assert (loop.collect()["status"] == "labelled").all()
        assert loop.workspace.labels() == labels
        assert len(asked) == 1
        assert loop.workspace.rounds()[2].stage == "collected"


def test_nothing_to_review(tmp_path):
    with make(tmp_path) as loop:
        with pytest.raises(ValueError, match="no label of 0 images that can be judged is in doubt"):
            loop.review()
        loop.run(1)  # asked blindly
        with pytest.raises(ValueError, match="no label of 0 images that can be judged is in doubt"):
            loop.review()
        assert len(loop.query()) == 5  # the round is still free


def test_an_open_review_does_not_hold_up_the_next_round(tmp_path):
    class Away(SimulatedAnnotator):
        def push(self, query):
            if not query.again:
                super().push(query)

        def pull(self, since=None):
            told = super().pull()
            asked_again = {*loop.workspace.query(2)["image_id"]} if len(loop.workspace.rounds()) > 2 else {}
            keep = [i for i in told.labels.image_ids if i not in asked_again]
            return Answer(told.labels.subset(keep), {}, told.costs[told.costs["image_id"].isin(keep)])

    with make(tmp_path, annotator=Away(POOL), seed=1) as loop:
        loop.run(2)
        (image_id,) = loop.review(1)["image_id"]
        assert loop.collect()["status"].tolist() == ["queried"]
        loop.workspace.close_collection(2)
        loop.train()
        assert image_id in loop.learner.trained[-1][2]
        loop.query()
        loop.collect()
        assert loop.workspace.ids("queried") == [image_id]
        assert image_id in loop.workspace.labels()
