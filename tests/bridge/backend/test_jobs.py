"""Trainings in processes of their own: one runs, one waits, both outlive the service."""

import os
import signal
from pathlib import Path

import pytest
from helpers.bridge.label_studio import wait_until
from helpers.noisy import CLASSES, NoisyLearner, labels_of
from PIL import Image

from al_rotate import ActiveLoop, Workspace
from al_rotate.bridge.backend.jobs import ATTEMPTS, Busy, JobQueue, jobs, read

TRUTH = labels_of(4)


def process_of(job):
    """The id of the process that runs a job."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            running = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if running and b"al_rotate.bridge.backend.trainer" in words and os.fsencode(job.folder) in words:
            return int(folder.name)
    return None


@pytest.fixture
def workspace(tmp_path):
    """A workspace with a custom learner: its training fails, but only once nobody else has the workspace."""
    pool = tmp_path / "pool"
    pool.mkdir()
    for image_id in TRUTH.image_ids:
        Image.new("RGB", (128, 128)).save(pool / f"{image_id}.png")
    folder = tmp_path / "work"
    ActiveLoop(folder, pool, CLASSES, budget=2, learner=NoisyLearner(TRUTH)).close()
    return folder


@pytest.fixture
def queue(tmp_path):
    opened = JobQueue(tmp_path / "service", lambda: {"LABEL_STUDIO_API_KEY": "a secret token"})
    yield opened
    opened.close()


def training(workspace, project=1, **more):
    return {"kind": "workspace", "workspace": str(workspace), "project": project, "cfg_options": {}, **more}


def states(queue):
    return [job.state for job in jobs(queue.folder)]


def test_one_runs_and_one_waits(queue, workspace, tmp_path):
    with Workspace.open(workspace):  # so that the first does not end
        first = queue.add(training(workspace), "asked for")
        assert (first.number, first.state) == (1, "waiting")
        assert queue.add(training(workspace), "asked for again").number == 1  # it has not begun: it will see all
        assert [job.state for job in queue.tick()] == ["running"]
        second = queue.add(training(workspace), "asked for while the first runs")
        assert [job.state for job in queue.tick()] == ["running", "waiting"]
        assert queue.add(training(workspace), "and again").number == second.number == 2
        with pytest.raises(Busy, match="training 2, for project 1, waits already"):
            queue.add(training(workspace, project=2), "for another")

        # The service ends; the training continues, and the next service finds it.
        with pytest.raises(Busy, match="another service works in"):
            JobQueue(queue.folder, dict)
        queue.close()
        following = JobQueue(queue.folder, dict)
        assert [job.state for job in following.tick()] == ["running", "waiting"]
        assert process_of(first)
        assert process_of(second) is None
    wait_until(lambda: states(following)[0] == "failed", "nobody else has the workspace")
    wait_until(lambda: following.tick()[1].state == "failed", "the second's turn")
    following.close()
    failed = jobs(queue.folder)[0]
    assert "learner" in failed.result["error"]
    assert failed.result["error"].endswith(f"; the traceback is in {failed.folder / 'log.txt'}")
    assert "\n" not in failed.result["error"]
    assert "Traceback" in (failed.folder / "log.txt").read_text()
    assert "a secret token" not in "".join(file.read_text() for file in queue.folder.rglob("*") if file.is_file())


def test_a_killed_training_begins_again_a_few_times(queue, workspace):
    with Workspace.open(workspace):
        job = queue.add(training(workspace), "asked for")
        for attempt in range(1, ATTEMPTS + 1):
            assert [snapshot.state for snapshot in queue.tick()] == ["running"]
            assert len(read(job.folder / "job.json")["begun"]) == attempt
            wait_until(lambda: process_of(job), "begun")
            os.kill(process_of(job), signal.SIGKILL)
            wait_until(lambda: states(queue) == ["waiting"], "killed")
        queue.tick()
    (ended,) = jobs(queue.folder)
    assert ended.state == "failed"
    assert ended.result["error"].startswith(f"the process died {ATTEMPTS} times without a word (memory?); see ")
    assert queue.add(training(workspace), "the next").number == 2


def test_tuples_in_options_reach_the_training(queue, workspace):
    options = {"train_pipeline.2.scale": (640, 640), "randomness": {"seed": 1}, "steps": [1, 2]}
    queue.add(training(workspace, cfg_options=options), "asked for")
    (job,) = jobs(queue.folder)
    assert job.request["cfg_options"] == options
    assert isinstance(job.request["cfg_options"]["train_pipeline.2.scale"], tuple)
