"""Every task is pushed exactly once, however the network, the server and our own process fail meanwhile."""

import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from helpers.bridge.label_studio import CLASSES, labels_in
from helpers.bridge.proxy import Fault, proxy_to

from al_rotate import RotatedInstances, boxes
from al_rotate.bridge.client import LabelStudio, LabelStudioError
from al_rotate.bridge.client.push import ATTEMPTS

PAUSES = "al_rotate.bridge.client.push.pauses"


@pytest.fixture
def quick(monkeypatch):
    """The same attempts with shorter pauses."""
    monkeypatch.setattr(PAUSES, lambda attempts: (time.sleep(0.05) or i for i in range(attempts)))


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("refuse", status=500)],
        [Fault("refuse", status=429, headers={"Retry-After": "1"}, times=2)],
        [Fault("lie", status=500)],
        [Fault("lie", status=504), Fault("refuse", "GET", "/api/tasks", status=502, after=2)],
        [Fault("cut")],
        [Fault("hang", seconds=4)],
        [Fault("lie", status=500), Fault("lie", status=409, times=3, after=1)],
        [Fault("cut", "PATCH", "/api/projects")],
    ],
    ids=lambda faults: "+".join(f"{fault.kind} {fault.status}" for fault in faults),
)
def test_every_task_exists_once_after_a_fault(studio, pool, quick, faults):
    project = studio.project()
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token, timeout=2)
        proxy.faults = [Fault(**vars(fault)) for fault in faults]
        for _ in range(2):
            # Only a change of the project, which is not retried, raises here.
            with suppress(*[LabelStudioError] * ("PATCH" in {fault.method for fault in faults})):
                studio.push(project, pool, client=client)
                break
    tasks = studio.tasks(project)
    assert [task["data"]["al_image_id"] for task in tasks] == list(pool.files)
    assert [len(task["predictions"]) for task in tasks] == [1] * 6 + [0]


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_a_server_that_finishes_after_its_proxy_gave_up(studio, pool, monkeypatch, seconds):
    """The push waits for the server; what comes later still does not exist twice."""
    monkeypatch.setattr(PAUSES, lambda attempts: (time.sleep(0.6) or i for i in range(attempts)))
    project = studio.project()
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        slow_patch = Fault("hang", "PATCH", "/api/projects", seconds=0)
        proxy.faults = [Fault("late", status=504, seconds=seconds), slow_patch]
        studio.push(project, pool, client=client)
        imports = proxy.sent("POST", "/import")
    assert imports == (1 if seconds < 1 else 2)
    time.sleep(2)
    studio.push(project, pool)
    assert sorted(task["data"]["al_image_id"] for task in studio.tasks(project)) == sorted(pool.files)


def test_a_server_that_keeps_refusing(studio, pool, quick):
    project = studio.project()
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        proxy.faults = [Fault("refuse", status=500, times=99)]
        with pytest.raises(LabelStudioError, match=r"7 of 7 tasks are not in project .*'a b'; push again .*500"):
            studio.push(project, pool, client=client)
        assert proxy.sent("POST", "/import") <= ATTEMPTS
        proxy.faults = []
        studio.push(project, pool, client=client)
    assert len(studio.tasks(project)) == 7


PUSHER = """
import sys
from al_rotate import RotatedInstances
from al_rotate.bridge.client import LabelStudio, addresses, push
url, token, project, file, detections = sys.argv[1:]
push.BATCH_TASKS = 20
detections = RotatedInstances.load(detections)
files = {i: file for i in detections.image_ids}
LabelStudio.connect(url, token).push(
    int(project), list(files), detections, files, addresses("https://tiles.example/{image_id}"), "round-000"
)
"""


@pytest.mark.parametrize("victim", ["client", "server"])
def test_a_kill_during_a_push(studio, pool, tmp_path, victim):
    """Either side is killed while 400 tasks are on their way; the same push then completes them."""
    rng = np.random.default_rng(0)
    ids = [f"tile_{k:04d}" for k in range(400)]
    rows = boxes.canonical(rng.uniform([50, 50, 20, 10, -1.5], [250, 150, 40, 20, 1.5], (4000, 5)))
    offsets, labels, scores = np.arange(0, 4001, 10), np.zeros(4000, int), np.full(4000, 0.5)
    detections = RotatedInstances(ids, offsets, rows, labels, scores, classes=CLASSES)
    project = studio.project()
    command = [sys.executable, "-c", PUSHER, studio.server.url, studio.server.token, str(project)]
    command += [str(pool.files["plain"]), str(detections.save(tmp_path / "detections.parquet"))]
    with open(tmp_path / "log", "w") as log:
        pusher = subprocess.Popen(command, stdout=log, stderr=log)
        while studio.client.api.count(project) < 60:
            assert pusher.poll() is None, (tmp_path / "log").read_text()
        if victim == "client":
            pusher.send_signal(signal.SIGKILL)
        else:
            studio.server.kill()
            time.sleep(1)
            studio.server.start()
        pusher.wait()
    if victim == "client":
        assert 60 <= studio.client.api.count(project) < 400
        subprocess.run(command, check=True)
    tasks = list(studio.client.api.tasks(project, fields=["data", "predictions", "result"]))
    assert [task["data"]["al_image_id"] for task in tasks] == ids, (tmp_path / "log").read_text()
    assert all(len(labels_in(prediction["result"])) == 10 for task in tasks for prediction in task["predictions"])
    assert {len(task["predictions"]) for task in tasks} == {1}
