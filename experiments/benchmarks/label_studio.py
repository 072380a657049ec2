r"""Label Studio: pushing tasks against the SDK's tutorial way, and an incremental pull against a full export.

    python -m experiments.benchmarks.label_studio --venv .venv-studio

Starts a server of its own, with SQLite. Each task has 50 predicted boxes; the peers are

- for push: ``tasks.create`` and ``predictions.create`` of label-studio-sdk, one task at a time, as its tutorials do;
- for pull: ``projects.exports.download_sync`` of all tasks as JSON, the whole project each time.

Both sides of a ratio run in the same process against the same server, taking turns. Memory is the peak of a process
that only pushes or pulls 1,000 and 10,000 tasks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from label_studio_sdk import LabelStudio as Sdk
from PIL import Image

from al_rotate import LabelStudio, RotatedInstances, boxes
from al_rotate.bridge import LocalServer, local_server, tasks
from al_rotate.bridge.client.addresses import LocalFiles
from al_rotate.bridge.conversion.label_config import read_xml, to_xml

from .isolated import alone

CLASSES, BOXES, SIZE = ("ship", "plane", "court"), 50, (1024, 1024)
IMAGE = "pool/image.png"  # below the server's document root; all tasks show it
N_CHANGED = 10  # tasks that are edited before an incremental pull


class Server(NamedTuple):
    """What a client needs to know of the server."""

    url: str
    token: str
    root: str


def detections(ids: list[str]) -> RotatedInstances:
    rng, n = np.random.default_rng(0), len(ids) * BOXES
    box = [rng.uniform(100, 900, (n, 2)), rng.uniform(20, 60, (n, 2)), rng.uniform(-1.5, 1.5, (n, 1))]
    offsets, sizes = np.arange(len(ids) + 1) * BOXES, np.full((len(ids), 2), SIZE)
    labels, scores = rng.integers(0, 3, n), rng.uniform(0.3, 1, n)
    canonical = boxes.canonical(np.concatenate(box, axis=1))
    return RotatedInstances(ids, offsets, canonical, labels, scores=scores, classes=CLASSES, image_sizes=sizes)


def push(server: Server, title: str, prefix: str, n: int) -> float:
    """Push `n` tasks our way; the seconds it took."""
    client, ids = LabelStudio.connect(server.url, server.token), [f"{prefix}{k:05d}" for k in range(n)]
    predicted, image = detections(ids), Path(server.root) / IMAGE
    project = client.open_project(title, CLASSES)
    start = time.perf_counter()
    pushed = client.push(project, ids, predicted, dict.fromkeys(ids, image), LocalFiles(server.root), "round-000")
    assert len(pushed.created) == n
    return time.perf_counter() - start


def push_one_by_one(sdk: Sdk, project: int, prefix: str, n: int) -> float:
    """Push `n` tasks with the same predictions as the tutorials do; the seconds it took."""
    predicted, config = detections([f"{prefix}{k:05d}" for k in range(n)]), read_xml(to_xml(CLASSES))
    start = time.perf_counter()
    for image_id, image in predicted:
        prediction = tasks.prediction(image_id, SIZE, config, image, "round-000", 0.5)
        data = {"image": f"/data/local-files/?d={IMAGE}", "al_image_id": image_id}
        task = sdk.tasks.create(project=project, data=data)
        sdk.predictions.create(task=task.id, result=prediction["result"], score=0.5, model_version="round-000")
    return time.perf_counter() - start


def pull(server: Server, project: int, since: str | None = None) -> tuple[int, str, float]:
    """Pull what changed; the number of labelled images, the cursor, and the seconds it took."""
    client = LabelStudio.connect(server.url, server.token)
    start = time.perf_counter()
    pulled = client.pull(project, CLASSES, since)
    return len(pulled.reading.labels), pulled.cursor, time.perf_counter() - start


def fill(sdk: Sdk, project: int, n: int) -> None:
    """Import tasks with predictions and submitted annotations, to be pulled."""
    config = read_xml(to_xml(CLASSES))
    for first in range(0, n, 250):
        ids = [f"full{k:05d}" for k in range(first, min(n, first + 250))]
        batch = []
        for image_id, image in detections(ids):
            prediction = tasks.prediction(image_id, SIZE, config, image, "round-000", 0.5)
            data = {"image": f"/data/local-files/?d={IMAGE}", "al_image_id": image_id}
            annotations = [{"result": prediction["result"]}]
            batch.append({"data": data, "predictions": [prediction], "annotations": annotations})
        sdk.projects.import_tasks(project, request=batch)


def compare_pushes(sdk: Sdk, server: Server, n: int) -> None:
    project = sdk.projects.create(title="one by one", label_config=to_xml(CLASSES)).id
    turns, seconds = 5, {"ours": 0.0, "peer": 0.0}
    for turn in range(turns):
        seconds["ours"] += push(server, "ours", f"a{turn}-", n // turns)
        seconds["peer"] += push_one_by_one(sdk, project, f"b{turn}-", n // turns)
    n_pushed = n // turns * turns
    ms = {name: 1000 * total / n_pushed for name, total in seconds.items()}
    print(f"push {n_pushed} tasks of {BOXES} boxes: ours {ms['ours']:.1f} ms per task, one request each "
          f"{ms['peer']:.1f} ms: {ms['peer'] / ms['ours']:.1f}x")  # fmt: skip


def measure_memory(sdk: Sdk, server: Server, n: int) -> tuple[int, str]:
    """Push and pull a tenth of `n` tasks and all of them; project and cursor of the last pull."""
    for count in (n // 10, n):
        seconds, memory = alone(push, server, f"many {count}", "m", count)
        print(f"push {count} tasks of {BOXES} boxes: {seconds:.0f} s, peak {memory:.0f} MB")
    for count in (n // 10, n):
        project = sdk.projects.create(title=f"full {count}", label_config=to_xml(CLASSES)).id
        fill(sdk, project, count)
        (pulled, cursor, seconds), memory = alone(pull, server, project)
        assert pulled == count
        print(f"pull {count} answered tasks of {BOXES} boxes: {seconds:.0f} s, peak {memory:.0f} MB")
    return project, cursor


def compare_pulls(sdk: Sdk, server: Server, project: int, cursor: str, n: int, turns: int = 3) -> None:
    changed = sdk.tasks.list(project=project, page_size=N_CHANGED, fields="all").items or []
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(turns + 1):
        time.sleep(31)  # a pull looks 30 s back: changes of the turn before must not count
        for task in changed:
            result = task.annotations[0]["result"][: BOXES - turn - 1]
            sdk.annotations.update(task.annotations[0]["id"], result=result)
        count, cursor, seconds = pull(server, project, cursor)
        if turn == 0:
            continue  # this pull still saw the end of the import
        assert count == len(changed) == N_CHANGED, count
        times["ours"].append(seconds)
        start = time.perf_counter()
        size = sum(map(len, sdk.projects.exports.download_sync(project, download_all_tasks=True)))
        times["peer"].append(time.perf_counter() - start)
    ours, peer = median(times["ours"]), median(times["peer"])
    print(f"pull after {N_CHANGED} edits among {n} tasks: ours {ours:.2f} s, full export {peer:.1f} s "
          f"({size / 1e6:.0f} MB): {peer / ours:.0f}x; all {json.dumps(times)}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="where Label Studio is or shall be installed")
    parser.add_argument("--tasks", type=int, default=1000, help="pushed both ways")
    parser.add_argument("--many", type=int, default=10_000, help="pushed for the memory, and pulled from")
    args = parser.parse_args()
    environment = local_server.install(args.venv)
    with tempfile.TemporaryDirectory() as root, LocalServer(Path(root) / "server", root, environment) as running:
        (Path(root) / IMAGE).parent.mkdir()
        Image.new("RGB", SIZE).save(Path(root) / IMAGE)
        sdk, server = Sdk(base_url=running.url, api_key=running.token), Server(running.url, running.token, root)
        compare_pushes(sdk, server, args.tasks)
        project, cursor = measure_memory(sdk, server, args.many)
        compare_pulls(sdk, server, project, cursor, args.many)


if __name__ == "__main__":
    main()
