"""MMRotate configs made ready: found by name, registered, offline, with the right number of classes."""

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
    """A config of the caller's own, with everything registered that it names.

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
    for known in ("torch.meshgrid: in an upcoming", "The `clip` function does nothing"):  # of the code we wrap
        warnings.filterwarnings("ignore", message=known)
    loaded = config.copy() if isinstance(config, Config) else Config.fromfile(find(config))
    loaded.merge_from_dict(copy.deepcopy(cfg_options or {}))  # it eats the _delete_ of what it is given
    loaded.setdefault("default_scope", "mmrotate")
    return loaded


def find(config: str | Path) -> Path:
    """The file of a config given by path or by the name of one shipped with MMRotate."""
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
    """The published checkpoint of a shipped config: from the cache, else downloaded and checked by its hash.

    Raises:
        ValueError: when MMRotate publishes no weights for it, or the file in the cache is not what its name says.
        ConnectionError: offline; it says which file to put where.
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
    expected = named[1] if named else ""  # the file's SHA-256 begins so
    if not target.is_file():
        from torch.hub import download_url_to_file  # reads the whole file through a hash; needs no other client

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
    """Drop every ``init_cfg`` that fetches weights: a full checkpoint is loaded anyway, or none is wanted."""
    for part in _dicts(config.model):
        if isinstance(part.get("init_cfg"), dict) and part["init_cfg"].get("type") == "Pretrained":
            part["init_cfg"] = None


def dataset_classes(config: Config) -> tuple[str, ...]:
    """The classes that the config's own dataset declares."""
    from mmrotate.registry import DATASETS

    dataset = innermost(config.train_dataloader.dataset)
    metainfo = dataset.get("metainfo") or DATASETS.get(dataset["type"]).METAINFO
    return tuple(metainfo["classes"])


def array_pipeline(config: Config) -> list[dict[str, Any]]:
    """The config's test pipeline for images that are decoded already and have no labels."""
    pipeline = copy.deepcopy(get_test_pipeline_cfg(config))
    if _kind(pipeline[0]) not in ("LoadImageFromFile", "LoadImageAsShown"):
        raise ValueError(f"expected a test pipeline that begins with LoadImageFromFile, got {pipeline[0]['type']}")
    # We decode ourselves, so that files look as in Label Studio and a broken one is noticed.
    pipeline[0] = {"type": "mmdet.LoadImageFromNDArray"}
    # A config without a test set of its own tests on its validation set.
    return [step for step in pipeline if _kind(step) not in ("LoadAnnotations", "ConvertBoxType")]


def innermost(dataset: dict[str, Any]) -> dict[str, Any]:
    """The dataset inside RepeatDataset, ClassBalancedDataset and the like; of several, the first."""
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
