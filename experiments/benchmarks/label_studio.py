r"""Label Studio: pushing tasks against the SDK's tutorial way, and an incremental pull against a full export.

    python experiments/benchmarks/label_studio.py --venv .venv-studio

Starts a server of its own, with SQLite. Each task has 50 predicted boxes; the peers are

- for push: ``tasks.create`` and ``predictions.create`` of label-studio-sdk, one task at a time, as its tutorials do;
- for pull: ``projects.exports.download_sync`` of all tasks as JSON, the whole project each time.

Both sides of a ratio run in the same process against the same server, taking turns. Memory is the peak of a process
that pushes (and one that pulls) 1,000 and 10,000 tasks, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from label_studio_sdk import LabelStudio as Sdk
from PIL import Image

from al_rotate import RotatedInstances
from al_rotate.boxes.convert import canonical
from al_rotate.bridge import local_server
from al_rotate.bridge.client.addresses import LocalFiles
from al_rotate.bridge.client.label_studio import LabelStudio
from al_rotate.bridge.conversion import tasks
from al_rotate.bridge.conversion.label_config import read_xml, to_xml

CLASSES, BOXES, SIZE = ("ship", "plane", "court"), 50, (1024, 1024)


def detections(ids: list[str]) -> RotatedInstances:
    rng, n = np.random.default_rng(0), len(ids) * BOXES
    box = [rng.uniform(100, 900, (n, 2)), rng.uniform(20, 60, (n, 2)), rng.uniform(-1.5, 1.5, (n, 1))]
    offsets, sizes = np.arange(len(ids) + 1) * BOXES, np.full((len(ids), 2), SIZE)
    labels, scores = rng.integers(0, 3, n), rng.uniform(0.3, 1, n)
    boxes = canonical(np.concatenate(box, axis=1))
    return RotatedInstances(ids, offsets, boxes, labels, scores=scores, classes=CLASSES, image_sizes=sizes)


def push(url: str, token: str, root: str, title: str, prefix: str, n: int) -> tuple[int, float]:
    """Our way; the project, and the seconds it took."""
    client, ids = LabelStudio.connect(url, token), [f"{prefix}{k:05d}" for k in range(n)]
    found, image = detections(ids), Path(root) / "pool" / "one.png"
    project = client.open_project(title, CLASSES)
    start = time.perf_counter()
    pushed = client.push(project, ids, found, dict.fromkeys(ids, image), LocalFiles(root), "round-000")
    assert len(pushed.created) == n
    return project, time.perf_counter() - start


def push_one_by_one(sdk: Sdk, project: int, prefix: str, n: int) -> float:
    """The tutorials' way, with the same predictions."""
    ids = [f"{prefix}{k:05d}" for k in range(n)]
    found, config = detections(ids), read_xml(to_xml(CLASSES))
    start = time.perf_counter()
    for image_id, one in found:
        made = tasks.prediction(image_id, SIZE, config, one, "round-000", 0.5)
        address = "/data/local-files/?d=pool/one.png"
        task = sdk.tasks.create(project=project, data={"image": address, "al_image_id": image_id})
        sdk.predictions.create(task=task.id, result=made["result"], score=0.5, model_version="round-000")
    return time.perf_counter() - start


def pull(url: str, token: str, project: int, since: str | None = None) -> tuple[int, str, float]:
    """How many labelled images it brought, the cursor, and the seconds it took."""
    client = LabelStudio.connect(url, token)
    start = time.perf_counter()
    pulled = client.pull(project, CLASSES, since)
    return len(pulled.reading.labels), pulled.cursor, time.perf_counter() - start


def fill(sdk: Sdk, project: int, n: int) -> None:
    """Tasks with predictions and submitted annotations; no push of ours, only something to pull."""
    config = read_xml(to_xml(CLASSES))
    for first in range(0, n, 250):
        ids = [f"full{k:05d}" for k in range(first, min(n, first + 250))]
        batch = []
        for image_id, one in detections(ids):
            made = tasks.prediction(image_id, SIZE, config, one, "round-000", 0.5)
            data = {"image": "/data/local-files/?d=pool/one.png", "al_image_id": image_id}
            batch.append({"data": data, "predictions": [made], "annotations": [{"result": made["result"]}]})
        sdk.projects.import_tasks(project, request=batch)


def alone(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result of a call in a process of its own, and that process's peak memory in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, arguments))


def _measured(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    result = function(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="where Label Studio is or shall be installed")
    parser.add_argument("--tasks", type=int, default=1000, help="pushed both ways")
    parser.add_argument("--many", type=int, default=10_000, help="pushed for the memory, and pulled from")
    args = parser.parse_args()
    environment = local_server.install(args.venv)
    with (
        tempfile.TemporaryDirectory() as root,
        local_server.LocalServer(Path(root) / "server", root, environment) as server,
    ):
        (Path(root) / "pool").mkdir()
        Image.new("RGB", SIZE).save(Path(root) / "pool" / "one.png")
        sdk, here = Sdk(base_url=server.url, api_key=server.token), (server.url, server.token)

        theirs = sdk.projects.create(title="one by one", label_config=to_xml(CLASSES)).id
        parts, seconds = 5, {"ours": 0.0, "peer": 0.0}
        for part in range(parts):  # in turns
            n = args.tasks // parts
            seconds["ours"] += push(*here, root, "ours", f"a{part}-", n)[1]
            seconds["peer"] += push_one_by_one(sdk, theirs, f"b{part}-", n)
        ms = {name: 1000 * total / (n * parts) for name, total in seconds.items()}
        print(f"push {n * parts} tasks of {BOXES} boxes: ours {ms['ours']:.1f} ms a task, one request each "
              f"{ms['peer']:.1f} ms: {ms['peer'] / ms['ours']:.1f}x")  # fmt: skip
        for n in (args.many // 10, args.many):
            (_, took), memory = alone(push, *here, root, f"many {n}", "m", n)
            print(f"push {n} tasks of {BOXES} boxes: {took:.0f} s, peak {memory:.0f} MB")

        for n in (args.many // 10, args.many):
            project = sdk.projects.create(title=f"full {n}", label_config=to_xml(CLASSES)).id
            fill(sdk, project, n)
            (count, cursor, took), memory = alone(pull, *here, project)
            assert count == n
            print(f"pull {n} answered tasks of {BOXES} boxes: {took:.0f} s, peak {memory:.0f} MB")
        changed = sdk.tasks.list(project=project, page_size=10, fields="all").items or []
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        for turn in range(4):
            time.sleep(31)  # a pull looks 30 s back; what was changed in the turn before is not to count
            for task in changed:
                result = task.annotations[0]["result"][: BOXES - turn - 1]
                sdk.annotations.update(task.annotations[0]["id"], result=result)
            count, cursor, took = pull(*here, project, cursor)
            if turn == 0:
                continue  # this one still saw the end of the import
            assert count == len(changed) == 10, count
            times["ours"].append(took)
            start = time.perf_counter()
            size = sum(map(len, sdk.projects.exports.download_sync(project, download_all_tasks=True)))
            times["peer"].append(time.perf_counter() - start)
        ours, peer = median(times["ours"]), median(times["peer"])
        print(f"pull after 10 edits among {args.many} tasks: ours {ours:.2f} s, full export {peer:.1f} s "
              f"({size / 1e6:.0f} MB): {peer / ours:.0f}x; all {json.dumps(times)}")  # fmt: skip


if __name__ == "__main__":
    main()
