"""Schedules and pseudo-labels: what a loop gives to its trainings, remembers, and keeps out of its labels."""

import json

import numpy as np
import pytest
from helpers.loops.loop import TEST, TRUTH, make
from helpers.noisy import NoisyLearner, Start, labels_of

from al_rotate import RotatedInstances, Schedule
from al_rotate.evaluation.pseudo_labels import PseudoLabels, choose
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.loop.learners import MMRotateLearner
from al_rotate.workspace.held_out import held_out

SCHEDULE = Schedule(per_image=3, least=10, most=100, balance=0.2)


BIG = labels_of(80, seed=5).replace(image_sizes=None)  # enough to calibrate on


class Recording(NoisyLearner):
    """A learner that takes all there is to take."""

    def __init__(self, truth=TRUTH):
        super().__init__(truth)
        self.options = []

    def train(self, checkpoint, images, labels, work_dir, **options):
        self.options.append(options)
        return super().train(checkpoint, images, labels, work_dir)


@pytest.mark.parametrize("warm", [True, False])
def test_each_training_is_given_the_schedule(tmp_path, warm):
    with make(tmp_path, detector=Start(), schedule=SCHEDULE, warm_start=warm, learner=Recording()) as loop:
        loop.run(1)
        assert loop.learner.options == [{"schedule": SCHEDULE}]
    learner = Recording()
    with ActiveLoop(tmp_path, learner=learner) as loop:  # the workspace remembers it
        loop.run(3)
        assert learner.options == [{"schedule": SCHEDULE}] * 2  # a warm start restarts the rate
    with ActiveLoop(tmp_path, learner=learner, schedule="config") as loop:
        loop.run(4)
        assert learner.options[-1] == {}


@pytest.mark.parametrize(
    ("schedule", "later"), [(Schedule(), None), (SCHEDULE, SCHEDULE), (None, None)], ids=["default", "own", "none"]
)
def test_another_detector_decides_anew_where_nobody_said_how_long(tmp_path, schedule, later):
    with make(tmp_path, detector=Start(), schedule=schedule, learner=Recording()) as loop:
        loop.set_detector(Start(taught=30))  # whose config does not count in epochs
    with ActiveLoop(tmp_path, learner=Recording()) as loop:
        assert loop.settings.schedule == later
        epochs = Start(taught=40, text="model = 2\n")
        epochs.train_cfg = {"max_epochs": 36}
        loop.set_detector(epochs)
        assert loop.settings.schedule == later  # it is as it was said to be, or as the config says


def test_old_workspaces_train_as_they_did(tmp_path):
    with make(tmp_path, learner=Recording()) as loop:
        loop.run(1)
        assert not {"schedule", "pseudo_labels"} & loop.workspace.settings.keys()
        assert loop.settings.schedule is loop.settings.pseudo_labels is None
        assert loop.learner.options == [{}]
        assert "pseudo_images" not in loop.workspace.history()


def test_a_learner_that_takes_none_is_refused(tmp_path):
    for name, options in (("schedule", {"schedule": SCHEDULE}), ("pseudo-labels", {"pseudo_labels": True})):
        with pytest.raises(ValueError, match=rf"NoisyLearner\.train takes no {name}: give it a parameter"):
            make(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
    make(tmp_path / "old").close()
    with make(tmp_path / "old", schedule=SCHEDULE) as loop:
        loop.query()
        loop.collect()
        with pytest.raises(ValueError, match="takes no schedule"):
            loop.train()


def make_big(folder, **options):
    """A loop on a pool whose files are there."""
    files = {image_id: folder / "images" / f"{image_id}.png" for image_id in BIG.image_ids.tolist()}
    (folder / "images").mkdir(parents=True)
    for file in files.values():
        file.touch()
    learner = Recording(RotatedInstances.concat([BIG, TEST]))
    loop = {"images": files, "annotator": SimulatedAnnotator(BIG), "learner": learner, "budget": 20}
    return make(folder / "work", **{**loop, **options})


def test_pseudo_labels_are_the_last_querys_detections_and_no_labels(tmp_path):
    options = PseudoLabels(precision=0.5, doubt=0.1)
    with make_big(tmp_path, pseudo_labels=options) as loop:
        learner = loop.learner
        loop.run(2)
        assert learner.options[0] == {}  # nothing had detected yet
        (workspace, current) = (loop.workspace, loop.workspace.rounds()[-1])
        labels = workspace.labels()
        detections = RotatedInstances.load(current.folder / "detections").subset(workspace.ids("unlabelled"))
        rng = np.random.default_rng([0, current.number, 1])
        expected = choose(detections, held_out(workspace, labels), labels, options, rng)
        given = learner.options[1]["pseudo"]
        assert given.labels == expected.labels
        assert given.ignored == expected.ignored
        assert len(given.labels) > 0
        assert {*learner.trained[1][1]} == {*labels.image_ids, *given.labels.image_ids}
        assert learner.trained[1][2] == labels
        history = workspace.history()
        assert history["pseudo_images"].tolist() == [0, len(given.labels)]
        assert history["pseudo_boxes"].tolist() == [0, given.labels.n_boxes]
        assert RotatedInstances.load(current.folder / "pseudo_labels.parquet") == given.labels
        # The ledger, the statuses and the next query know nothing of them.
        assert {*workspace.ledger()["image_id"]} == {*labels.image_ids}
        assert {*given.labels.image_ids} <= {*workspace.ids("unlabelled")}
    with ActiveLoop(tmp_path / "work", learner=learner, pseudo_labels=False) as loop:
        loop.run(3)
        assert learner.options[2] == {}


def test_the_same_ones_after_a_kill(tmp_path):
    class Killed(Recording):
        def train(self, checkpoint, images, labels, work_dir, **options):
            self.options.append(options)
            raise KeyboardInterrupt

    options = PseudoLabels(precision=0.5, per_image=0.1)
    with make_big(tmp_path, pseudo_labels=options) as loop:
        loop.run(1)
    killed, learner = (kind(RotatedInstances.concat([BIG, TEST])) for kind in (Killed, Recording))
    with ActiveLoop(tmp_path / "work", learner=killed) as loop, pytest.raises(KeyboardInterrupt):
        loop.run(2)
    with ActiveLoop(tmp_path / "work", learner=learner) as loop:
        loop.run(2)
    before, after = (each.options[0]["pseudo"] for each in (killed, learner))
    assert before.labels == after.labels
    assert before.ignored == after.ignored
    assert len(after.labels) == 4  # of 40 labelled images a tenth


class KilledInTraining(Recording):
    """It has begun, as ``finetune`` records it."""

    def train(self, checkpoint, images, labels, work_dir, **options):
        self.options.append(options)
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / "request.json").write_text("{}")
        raise KeyboardInterrupt


@pytest.mark.parametrize("precision", [0.5, 0.6])
def test_a_training_that_has_begun_goes_on_with_its_own(tmp_path, precision):
    """Whatever files have gone since; with other settings they are chosen anew."""
    with make_big(tmp_path, pseudo_labels=PseudoLabels(precision=0.5)) as loop:
        loop.run(1)
    killed, learner = (kind(RotatedInstances.concat([BIG, TEST])) for kind in (KilledInTraining, Recording))
    with ActiveLoop(tmp_path / "work", learner=killed) as loop, pytest.raises(KeyboardInterrupt):
        loop.run(2)
    before = killed.options[0]["pseudo"]
    gone = before.labels.image_ids[0]
    (tmp_path / "images" / f"{gone}.png").unlink()
    with ActiveLoop(tmp_path / "work", learner=learner, pseudo_labels=PseudoLabels(precision=precision)) as loop:
        loop.run(2)
    after = learner.options[0]["pseudo"]
    assert (after.labels == before.labels) == (after.ignored == before.ignored) == (precision == 0.5)
    assert (gone in after.labels) == (precision == 0.5)


def test_a_training_that_has_begun_without_goes_on_without(tmp_path):
    with make(tmp_path, learner=Recording(), pseudo_labels=True) as loop:
        loop.run(1)
    with (
        ActiveLoop(tmp_path, learner=KilledInTraining()) as loop,
        pytest.warns(UserWarning, match="not calibrated"),
        pytest.raises(KeyboardInterrupt),
    ):
        loop.run(2)
    with ActiveLoop(tmp_path, learner=Recording()) as loop:
        loop.run(2)  # says nothing again
        assert loop.learner.options == [{}]


def test_too_few_answers_are_told(tmp_path):
    with make(tmp_path, learner=Recording(), pseudo_labels=True) as loop:
        loop.run(1)
        with pytest.warns(
            UserWarning, match=r"trained without pseudo-labels: scores are not calibrated: that takes 50"
        ):
            loop.run(2)
        assert loop.learner.options == [{}, {}]
        assert loop.workspace.history()["pseudo_images"].tolist() == [0, 0]


def test_damaged_detections_do_without(tmp_path):
    with make_big(tmp_path, pseudo_labels=PseudoLabels(precision=0.5)) as loop:
        loop.run(1)
        loop.query()
        loop.collect()
        for shard in (loop.workspace.rounds()[-1].folder / "detections").glob("*.parquet"):
            shard.write_bytes(b"")
        with pytest.warns(UserWarning, match=r"trained without pseudo-labels: delete .*detections"):
            loop.train()
        assert loop.learner.options[-1] == {}
        assert json.loads((loop.workspace.rounds()[-1].folder / "metrics.json").read_text())["pseudo_images"] == 0


@pytest.mark.mm
def test_options_that_contradict_the_schedule(tmp_path):
    pytest.importorskip("mmrotate")
    learner = MMRotateLearner(tmp_path / "config.py", ("ship",), train_options={"train_cfg.max_epochs": 12})
    with pytest.raises(ValueError, match=r"without train_cfg\.max_epochs, because this loop's schedule .*--schedule"):
        learner.train(None, {}, RotatedInstances.empty(), tmp_path / "training", schedule=SCHEDULE)
