"""One fine-tuning, in a process of its own: ``python -m al_rotate.bridge.backend.trainer JOB``.

Killed at any moment, the same command resumes: what it read from Label Studio is kept in the job's folder, and the
training itself resumes from its last checkpoint. Label Studio's address and token come from the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data import RotatedInstances
from ...data.images import UnreadableImage
from ...data.images import size as image_size
from ...storage.files import atomic_write
from ...workspace import WorkspaceBusy
from ..conversion.class_matching import match_classes
from .fetch import Fetcher, FetchPolicy, Refused, Wanted
from .jobs import finish, jobs, read
from .journal import in_one_line
from .options import TOKEN_VARIABLE, URL_VARIABLE
from .redaction import Redactor

PATIENCE = 600.0  # seconds to wait for a workspace that another command uses


def main(folder: str | Path) -> int:
    """Train, and leave result.json in the job's folder, whether it succeeds or fails; return the exit status."""
    job = Path(folder)
    redactor = Redactor(os.environ.get(TOKEN_VARIABLE))
    request = read(job / "job.json")
    try:
        kinds = {"workspace": from_workspace, "labels": from_labels}
        result = {"state": "finished", **kinds[request["kind"]](request, job)}
    except Exception as error:
        sys.stderr.write(redactor.redact(traceback.format_exc()))
        text = f"{redactor.redact(in_one_line(error))}; the traceback is in {job / 'log.txt'}"
        result = {"state": "failed", "error": text}
    finish(job, result)
    return int(result["state"] == "failed")


def from_workspace(request: dict[str, Any], job: Path) -> dict[str, Any]:
    """Collect the answers of a workspace, and end its open round with a training.

    Raises:
        ValueError: if there is nothing to train on.
        WorkspaceBusy: if another command uses the workspace for too long.
    """
    from ...loop.active_loop import ActiveLoop

    with _retry_busy(lambda: ActiveLoop(request["workspace"], train_options=request["cfg_options"] or None)) as loop:

        def trained_rounds() -> list[Any]:
            return [past for past in loop.workspace.rounds() if past.stage == "trained"]

        before = _once(job / "before.json", lambda: len(trained_rounds()))
        if len(trained_rounds()) == before:  # otherwise the kill came between the training and its result
            loop.collect()
            os.environ.pop(TOKEN_VARIABLE, None)  # MMEngine and its loader processes need none
            loop.train()
        last = trained_rounds()[-1]
    return {"checkpoint": str(last.checkpoint), "metrics": last.metrics}


def from_labels(request: dict[str, Any], job: Path) -> dict[str, Any]:
    """Fine-tune the newest checkpoint on all labels of a project, as long as a new loop would.

    Raises:
        ValueError: if nothing of the project can be trained on.
        LabelStudioError: if Label Studio cannot be reached or refuses.
    """
    from ...detection import finetune
    from ...detection.checkpoints import read_checkpoint
    from ...detection.training.schedule import Schedule

    start = Path(_once(job / "start.json", lambda: _newest_checkpoint(request, job)))
    classes = request.get("classes") or read_checkpoint(start).classes
    if not classes:
        raise ValueError(f"expected a checkpoint that names its classes, {start} does not")
    pulled, account = _once(job / "pulled.json", lambda: _pull(request, job, tuple(classes)))
    os.environ.pop(TOKEN_VARIABLE, None)  # MMEngine and its loader processes need none
    schedule = _once(job / "schedule.json", lambda: _schedule(request, job))
    files = {image_id: Path(file) for image_id, file in pulled.items()}
    labels = RotatedInstances.load(job / "labels.parquet").subset(files)
    result = finetune(
        request["config"],
        files,
        labels,
        classes,
        job / "training",
        start,
        request["cfg_options"] or None,
        keep_checkpoints=False,
        schedule=schedule and Schedule(**schedule),
    )
    shutil.rmtree(job / "images", ignore_errors=True)
    trained = {"images": len(labels), "boxes": labels.n_boxes, "left_out": account}
    return {"checkpoint": str(result.checkpoint), "metrics": result.metrics, **trained}


def _schedule(request: dict[str, Any], job: Path) -> dict[str, Any] | None:
    """Decide how long a job trains; one that an earlier version has begun goes on as its config says."""
    from ...detection import configs
    from ...detection.training.schedule import by_default

    if (job / "training").exists():
        return None
    schedule = by_default(configs.load(request["config"]), request["cfg_options"])
    return None if schedule is None else asdict(schedule)


def _pull(request: dict[str, Any], job: Path, classes: tuple[str, ...]) -> list[Any]:
    """Pull labels into labels.parquet and fetch their images; return image id -> file, and what was left out.

    Called once per job: a resumed training must see the labels that it began with.
    """
    from ..client.api import NotAllowed
    from ..client.label_studio import LabelStudio
    from ..conversion.label_config import read_xml

    url, token, project = os.environ.get(URL_VARIABLE), os.environ.get(TOKEN_VARIABLE), request["project"]
    if not url or not token:
        raise NotAllowed(
            f"expected {URL_VARIABLE} and {TOKEN_VARIABLE} in the environment of the service, to read the labels of "
            f"project {project}"
        )
    client = LabelStudio.connect(url, token)
    config = read_xml(client.api.get(f"api/projects/{project}")["label_config"])
    rename = {label: name for name, label in match_classes(classes, config.classes).items() if label != name}
    pulled = client.pull(project, classes, rename=rename or None)
    labels = pulled.reading.labels
    account = [*pulled.notes, *_account_lines(pulled.reading.account)]
    fetcher = Fetcher(url, token, FetchPolicy.from_json(request.get("fetch") or {}))
    (job / "images").mkdir(exist_ok=True)
    assert labels.image_sizes is not None
    wanted = {
        image_id: Wanted(pulled.addresses[image_id], job / "images" / f"{position:06d}", pulled.tasks[image_id])
        for position, image_id in enumerate(labels.image_ids)
    }
    files = {}
    for (image_id, got), shown in zip(fetcher.fetch_all(wanted).items(), labels.image_sizes.tolist(), strict=True):
        try:
            if isinstance(got, Refused):
                raise got
            size = image_size(got)
            if tuple(shown) not in ((0, 0), size):
                raise Refused(f"drawn on {shown[0]} x {shown[1]} pixels, the image has {size[0]} x {size[1]}")
            files[image_id] = str(got)
        except Exception as error:  # whatever is wrong with one image concerns no other
            if not isinstance(error, (Refused, UnreadableImage)):
                traceback.print_exc()
            account.append(f"task {pulled.tasks[image_id]}, image {image_id}: {in_one_line(error)}")
    if not labels.subset(files).n_boxes:
        raise ValueError(
            f"expected labelled images in project {project}, got {len(labels)} with {labels.n_boxes} boxes, of which "
            f"{len(files)} could be fetched" + "".join(f"; {line}" for line in account[:5])
        )
    labels.save(job / "labels.parquet")
    return [files, account]


def _account_lines(account: Any) -> list[str]:
    """Turn the account of a reading into one line per row."""
    rows = account.to_dict("records") if account is not None else []
    return [f"{row.get('image_id', '')}: {row.get('action', '')}: {row.get('detail', '')}" for row in rows]


def _newest_checkpoint(request: dict[str, Any], job: Path) -> str:
    """Find the checkpoint that the last finished job left, or the first one."""
    trained = [past.result["checkpoint"] for past in jobs(job.parents[1]) if past.state == "finished"]
    return next((file for file in reversed(trained) if Path(file).is_file()), request["first"])


def _once(file: Path, compute: Callable[[], Any]) -> Any:
    """Compute a value, or return the one that an earlier start of the job computed."""
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    value = compute()
    with atomic_write(file) as text:
        json.dump(value, text)
    return value


def _retry_busy(open_loop: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Open a workspace, waiting while a person's command uses it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return open_loop()
        except WorkspaceBusy:
            if time.monotonic() > end:
                raise
            time.sleep(min(2.0, seconds / 10))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
