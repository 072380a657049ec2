"""MMRotate configs: found by name, loaded offline with everything registered, adapted to classes and arrays."""

from __future__ import annotations

import contextlib
import copy
import difflib
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load as load_file

from ..storage.files import sha256

with contextlib.redirect_stdout(io.StringIO()):  # the forks print on import
    import mmdet.datasets  # noqa: F401
    import mmrotate
    from mmdet.utils import get_test_pipeline_cfg
    from mmdet.utils import register_all_modules as register_mmdet
    from mmrotate.utils import register_all_modules as register_mmrotate

SHIPPED = Path(mmrotate.__file__).parent / ".mim" / "configs"


def load(config: str | Path | Config, cfg_options: dict[str, Any] | None = None) -> Config:
    """Load a config, as a copy, and register everything that it names.

    Args:
        config: a path, an ``mmengine.Config`` (copied), or the name of a config shipped with MMRotate such as
            ``rotated_rtmdet_tiny-3x-dota``; those are found in the installed package, without a network.
        cfg_options: dotted key -> value, as MMEngine's ``--cfg-options``.

    Raises:
        FileNotFoundError: for a name or path that does not exist, with the nearest names.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        register_mmdet(init_default_scope=False)
        register_mmrotate(init_default_scope=False)
    for message in ("torch.meshgrid: in an upcoming", "The `clip` function does nothing"):  # from mmdet and mmengine
        warnings.filterwarnings("ignore", message=message)
    loaded = config.copy() if isinstance(config, Config) else Config.fromfile(find(config))
    loaded.merge_from_dict(copy.deepcopy(cfg_options or {}))  # merging consumes the _delete_ keys of its argument
    loaded.setdefault("default_scope", "mmrotate")
    return loaded


def find(config: str | Path) -> Path:
    """Find the file of a config by its path, or by the name of one shipped with MMRotate."""
    path = Path(config).expanduser()
    if path.suffix and path.is_file():
        return path
    shipped = {file.stem: file for file in SHIPPED.rglob("*.py") if "_base_" not in file.parts}
    if path.stem in shipped and str(path) in (path.name, path.stem):
        return shipped[path.stem]
    close = difflib.get_close_matches(path.stem, shipped, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"the {len(shipped)} shipped ones are under {SHIPPED}"
    raise FileNotFoundError(
        f"expected the path of a config or the name of one shipped with MMRotate, got {config}; {hint}"
    )


def published_weights(config: str | Path | Config) -> Path:
    """Return the published checkpoint of a shipped config, from the cache or downloaded, and check its hash.

    Raises:
        ValueError: when MMRotate publishes no weights for it, or the cached file does not have the hash in its name.
        ConnectionError: when the download fails; says which file to put where.
    """
    name = Path(config.filename if isinstance(config, Config) else config).stem
    models = [model for file in SHIPPED.rglob("metafile.yml") for model in load_file(file).get("Models") or []]
    addresses = {model["Name"]: model["Weights"] for model in models if model.get("Weights")}
    if name not in addresses:
        raise ValueError(
            f"expected a config whose weights MMRotate publishes, got {name}; there are: {', '.join(sorted(addresses))}"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "al_rotate" / "checkpoints"
    target = cache / addresses[name].rsplit("/", 1)[-1]
    named = re.search(r"-([0-9a-f]{8})\.pth$", target.name)
    expected = named[1] if named else ""  # the first digits of the file's SHA-256
    if not target.is_file():
        from torch.hub import download_url_to_file  # checks the hash, and needs no other client

        cache.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(addresses[name], str(target), hash_prefix=expected or None)
        except (OSError, RuntimeError) as error:  # RuntimeError: another hash
            raise ConnectionError(
                f"could not download {addresses[name]} ({error}). Fetch that file elsewhere and put it at {target}"
            ) from error
    if not (digest := sha256(target)).startswith(expected):
        raise ValueError(f"expected the SHA-256 of {target} to begin with {expected}, got {digest[:8]}: fetch it again")
    return target


def set_classes(config: Config, classes: Sequence[str]) -> None:
    """Give every head of the model the number of `classes`."""
    for part in _dicts(config.model):
        if "num_classes" in part:
            part["num_classes"] = len(classes)


def without_pretrained(config: Config) -> None:
    """Drop every ``init_cfg`` that downloads weights: a full checkpoint is loaded anyway, or none is wanted."""
    for part in _dicts(config.model):
        if isinstance(part.get("init_cfg"), dict) and part["init_cfg"].get("type") == "Pretrained":
            part["init_cfg"] = None


def dataset_classes(config: Config) -> tuple[str, ...]:
    """Return the classes that the config's own dataset declares."""
    from mmrotate.registry import DATASETS

    dataset = innermost(config.train_dataloader.dataset)
    metainfo = dataset.get("metainfo") or DATASETS.get(dataset["type"]).METAINFO
    return tuple(metainfo["classes"])


def array_pipeline(config: Config) -> list[dict[str, Any]]:
    """Return the config's test pipeline, for decoded images without labels."""
    pipeline = copy.deepcopy(get_test_pipeline_cfg(config))
    if _kind(pipeline[0]) not in ("LoadImageFromFile", "LoadImageAsShown"):
        raise ValueError(f"expected a test pipeline that begins with LoadImageFromFile, got {pipeline[0]['type']}")
    # We decode ourselves, so that files look as in Label Studio and broken ones are noticed.
    pipeline[0] = {"type": "mmdet.LoadImageFromNDArray"}
    # A config without a test set of its own tests on its validation set.
    return [step for step in pipeline if _kind(step) not in ("LoadAnnotations", "ConvertBoxType")]


def check_score_thr(config: Config, score_thr: float | None) -> None:
    """Refuse a score threshold below the one with which the config drops boxes itself.

    Raises:
        ValueError: says how to lower the config's threshold.
    """
    two_stage, test_cfg = _test_cfg(config)
    own = test_cfg.get("score_thr")
    if score_thr is not None and own is not None and score_thr < own:
        key = f"model.test_cfg.{'rcnn.' if two_stage else ''}score_thr"
        raise ValueError(
            f"expected a score_thr of at least the config's {own}, got {score_thr}; lower it with "
            f"cfg_options={{'{key}': {score_thr}}}"
        )


def nms_threshold(config: Config) -> float:
    """Return the IoU threshold of the config's own NMS."""
    return float(_test_cfg(config)[1].get("nms", {}).get("iou_threshold", 0.1))


def _test_cfg(config: Config) -> tuple[bool, Any]:
    """Whether the detector has two stages, and the test settings of the stage whose boxes it returns."""
    test_cfg = config.model.get("test_cfg") or {}
    return "rcnn" in test_cfg, test_cfg.get("rcnn") or test_cfg


def innermost(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return the dataset inside RepeatDataset, ClassBalancedDataset and the like; of several, the first."""
    while "dataset" in dataset or "datasets" in dataset:
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    return dataset


def _kind(step: dict[str, Any]) -> str:
    return step["type"].rsplit(".", 1)[-1]


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _dicts(item)
