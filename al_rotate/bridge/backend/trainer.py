"""One fine-tuning, in a process of its own: ``python -m al_rotate.bridge.backend.trainer JOB``.

Killed at any moment, the same command goes on: what it learnt from Label Studio is kept in the job's folder, and the
training itself resumes from its last checkpoint. Label Studio's address and token come by the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...data.images import UnreadableImage
from ...data.images import size as image_size
from ...data.instances import RotatedInstances
from ...storage.files import atomic_write
from ...workspace import WorkspaceBusy
from ..conversion.class_matching import matched
from . import jobs as _queue
from .fetch import Fetcher, Limits, Refused
from .redaction import Redactor

PATIENCE = 600.0  # seconds to wait for a workspace that another command has
ADDRESS, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"


def main(folder: str | Path) -> int:
    """Train, and leave result.json in the job's folder, whatever comes."""
    job = Path(folder)
    secrets = Redactor(os.environ.get(TOKEN))
    request = _queue.read(job / "job.json")
    try:
        kinds = {"workspace": from_workspace, "labels": from_labels}
        result = {"state": "finished", **kinds[request["kind"]](request, job)}
    except Exception as error:
        sys.stderr.write(secrets.hide(traceback.format_exc()))
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        result = {"state": "failed", "error": secrets.hide(f"{type(error).__name__}: {text}")[:2000]}
    _queue.finish(job, result)
    return int(result["state"] == "failed")


def from_workspace(request: dict[str, Any], job: Path) -> dict[str, Any]:
    """Take over the answers there are, and end the workspace's open round with a training.

    Raises:
        ValueError: when there is nothing to train on.
        WorkspaceBusy: when another command keeps the workspace for too long.
    """
    from ...loop.active_loop import ActiveLoop

    with _patiently(lambda: ActiveLoop(request["workspace"], train_options=request["cfg_options"] or None)) as loop:

        def trained() -> list[Any]:
            return [one for one in loop.workspace.rounds() if one.stage == "trained"]

        before = _once(job / "before.json", lambda: len(trained()))
        if len(trained()) == before:  # else the kill came between the training and its result
            loop.collect()
            os.environ.pop(TOKEN, None)  # MMEngine and its loader processes need none
            loop.train()
        last = trained()[-1]
    return {"checkpoint": str(last.checkpoint), "metrics": last.metrics}


def from_labels(request: dict[str, Any], job: Path) -> dict[str, Any]:
    """Fine-tune the newest checkpoint on all labels of a project.

    Raises:
        ValueError: when nothing of the project can be trained on.
        LabelStudioError: when Label Studio cannot be asked.
    """
    from ...detection.checkpoints import read_checkpoint
    from ...detection.training import finetune

    start = Path(_once(job / "start.json", lambda: _newest(request, job)))
    classes = request.get("classes") or read_checkpoint(start).classes
    if not classes:
        raise ValueError(f"expected a checkpoint that names its classes, {start} does not")
    kept, account = _pulled(request, job, tuple(classes))
    os.environ.pop(TOKEN, None)  # MMEngine and its loader processes need none
    files = {image_id: Path(file) for image_id, file in kept.items()}
    labels = RotatedInstances.load(job / "labels.parquet").subset(files)
    result = finetune(
        request["config"], files, labels, classes, job / "training", start, request["cfg_options"] or None
    )
    shutil.rmtree(job / "images", ignore_errors=True)
    for leftover in (job / "training").glob("*_*.pth"):  # the Runner's own checkpoints: several times the weights
        leftover.unlink()
    trained = {"images": len(labels), "boxes": labels.n_boxes, "left_out": account}
    return {"checkpoint": str(result.checkpoint), "metrics": result.metrics, **trained}


def _pulled(request: dict[str, Any], job: Path, classes: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """image id -> file, and what was left out; the labels themselves go into labels.parquet.

    A resumed training must see the labels that it began with, so they are pulled once.
    """

    def pull() -> list[Any]:
        from ..client.api import NotAllowed
        from ..client.label_studio import LabelStudio
        from ..conversion.label_config import read_xml

        url, token = os.environ.get(ADDRESS), os.environ.get(TOKEN)
        if not url or not token:
            raise NotAllowed(
                f"expected {ADDRESS} and {TOKEN} in the environment of the service, to read the labels of project "
                f"{request['project']}"
            )
        client = LabelStudio.connect(url, token)
        config = read_xml(client.api.get(f"api/projects/{request['project']}")["label_config"])
        rename = {label: name for name, label in matched(classes, config.classes).items() if label != name}
        pulled = client.pull(request["project"], classes=classes, rename=rename or None)
        labels = pulled.reading.labels
        account = [*pulled.notes, *_told(pulled.reading.account)]
        where = request.get("fetch") or {}
        fetcher = Fetcher(
            url, token, where.get("hosts") or (), where.get("document_root"), Limits(**where.get("limits") or {})
        )
        (job / "images").mkdir(exist_ok=True)
        assert labels.image_sizes is not None
        sizes = [(int(width), int(height)) for width, height in labels.image_sizes]
        files = {}
        for position, image_id in enumerate(labels.image_ids):
            target = job / "images" / f"{position:06d}"
            try:
                path = fetcher.fetch(pulled.addresses[image_id], target, pulled.tasks[image_id])
                drawn_on = sizes[position]
                if drawn_on not in ((0, 0), own := image_size(path)):
                    raise Refused(f"drawn on {drawn_on[0]} x {drawn_on[1]} pixels, the image has {own[0]} x {own[1]}")
                files[image_id] = str(path)
            except (Refused, UnreadableImage, OSError) as error:
                account.append(f"{image_id}: {error}")
        fetcher.close()
        if not labels.subset(files).n_boxes:
            raise ValueError(
                f"expected labelled images in project {request['project']}, got {len(labels)} with {labels.n_boxes} "
                f"boxes, of which {len(files)} could be fetched" + "".join(f"; {line}" for line in account[:5])
            )
        labels.save(job / "labels.parquet")
        return [files, account]

    files, account = _once(job / "pulled.json", pull)
    return files, account


def _told(account: Any) -> list[str]:
    """The account of a reading, a line each."""
    rows = account.to_dict("records") if account is not None else []
    return [f"{row.get('image_id', '')}: {row.get('action', '')}: {row.get('detail', '')}" for row in rows]


def _newest(request: dict[str, Any], job: Path) -> str:
    """The checkpoint that the last finished job left, or the first one."""
    done = [one.result["checkpoint"] for one in _queue.jobs(job.parents[1]) if one.state == "finished"]
    return next((file for file in reversed(done) if Path(file).is_file()), request["first"])


def _once(file: Path, compute: Callable[[], Any]) -> Any:
    """The same value each time the job is begun."""
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    value = compute()
    with atomic_write(file) as text:
        json.dump(value, text)
    return value


def _patiently(open_: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """A person's command may have the workspace just now."""
    end = time.monotonic() + seconds
    while True:
        try:
            return open_()
        except WorkspaceBusy:
            if time.monotonic() > end:
                raise
            time.sleep(min(2.0, seconds / 10))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
