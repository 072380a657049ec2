"""MMRotate configs: found by name, loaded offline with everything registered, adapted to classes and arrays."""

from __future__ import annotations

import ast
import contextlib
import copy
import difflib
import io
import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load as load_file

from ..data.columns import as_classes
from ..storage.files import sha256
from .checkpoints.fetching import fetch, hash_in

with contextlib.redirect_stdout(io.StringIO()):  # the forks print on import
    import mmdet.datasets  # noqa: F401
    import mmrotate.datasets
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
        ValueError: for a slip in the config, with its line; for a config without a model or of MMRotate 0.x; for
            `cfg_options` that do not fit.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        register_mmdet(init_default_scope=False)
        register_mmrotate(init_default_scope=False)
    for message in ("torch.meshgrid: in an upcoming", "The `clip` function does nothing"):  # from mmdet and mmengine
        warnings.filterwarnings("ignore", message=message)
    if isinstance(config, Config):
        loaded = copy.deepcopy(config)
    else:
        path = find(config)
        with explained(path, "a config of MMEngine"):
            loaded = Config.fromfile(path)
    if {"data", "optimizer", "runner"} & {*loaded} and not any(name.endswith("_dataloader") for name in loaded):
        raise ValueError(
            f"{name_of(loaded)}: expected a config of MMRotate 1.x, got one of 0.x, with {', '.join(loaded)[:200]}. "
            "Start from the config of the same model that MMRotate 1.x ships, and move your changes there"
        )
    require(loaded, "a detector", "model")
    with explained(loaded, f"a config that takes the cfg_options {', '.join(cfg_options or {})}"):
        loaded.merge_from_dict(copy.deepcopy(cfg_options or {}))  # merging consumes the _delete_ keys of its argument
    loaded.setdefault("default_scope", "mmrotate")
    return loaded


def name_of(config: str | Path | Config) -> str:
    """Return the file of a config, for messages."""
    return str((config.filename if isinstance(config, Config) else config) or "the config")


def require(config: Config, purpose: str, *parts: str) -> None:
    """Raise ValueError, with what is there and what to do, unless a config has all of these parts."""
    if lacking := [part for part in parts if not config.get(part)]:
        raise ValueError(
            f"{name_of(config)}: expected a config with {' and '.join(lacking)}, for {purpose}, got only "
            f"{', '.join(config)[:200] or 'an empty one'}. Use the complete config that the detector was trained with "
            "(MMEngine writes it to its work_dir), or the one that MMRotate ships"
        )


@contextlib.contextmanager
def explained(
    config: str | Path | Config, expected: str, kinds: tuple[type[BaseException], ...] = (Exception, SystemExit)
) -> Iterator[None]:
    """Let whatever a config's content raises in this block be one ValueError, with the file and the line.

    Args:
        config: the file, or the config itself.
        expected: what the block makes of it.
        kinds: of the exceptions; others go through, and so do those of files, which name one themselves.
    """
    try:
        yield
    except OSError:
        raise
    except kinds as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        raise ValueError(f"{name_of(config)}: expected {expected}, got {_place(config, error)}{got}") from error


def _place(config: str | Path | Config, error: BaseException) -> str:
    """Return in which file and line a config went wrong, as far as it is known."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.name == "<module>":  # a config's own code, which may be that of a base
            return f"in line {frame.lineno} of {frame.filename} "
    if not isinstance(error, SyntaxError) or isinstance(config, Config):
        return ""
    with contextlib.suppress(UnicodeDecodeError):
        try:
            ast.parse(Path(config).read_text(encoding="utf-8"))
        except SyntaxError as slip:
            return f"in line {slip.lineno} of {config} "
    return "in one of its _base_ files "


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
    fetch(addresses[name], target)
    if not (digest := sha256(target)).startswith(expected := hash_in(target)):
        raise ValueError(f"expected the SHA-256 of {target} to begin with {expected}, got {digest[:8]}: fetch it again")
    return target


def set_classes(config: Config, classes: Sequence[str]) -> None:
    """Give every head of the model the number of `classes`.

    Raises:
        ValueError: unless these are distinct names.
    """
    set_class_count(config.model, len(as_classes(classes) or ()))


def set_class_count(model: dict[str, Any], count: int) -> None:
    """Give every head of a model's config this number of classes."""
    for part in dicts(model):
        if "num_classes" in part:
            part["num_classes"] = count


def without_pretrained(config: Config) -> None:
    """Drop every ``init_cfg`` that downloads weights: a full checkpoint is loaded anyway, or none is wanted."""
    for part in dicts(config.model):
        if isinstance(part.get("init_cfg"), dict) and part["init_cfg"].get("type") == "Pretrained":
            part["init_cfg"] = None


def dataset_classes(config: Config) -> tuple[str, ...]:
    """Return the classes that the config's own dataset declares: that of the training, else of a test.

    Raises:
        ValueError: when it declares none, or one as text.
    """
    from mmrotate.registry import DATASETS

    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        dataset = innermost((config.get(loader) or {}).get("dataset") or {})
        known = getattr(DATASETS.get(dataset["type"]), "METAINFO", {}) if isinstance(dataset.get("type"), str) else {}
        classes = {**known, **(dataset.get("metainfo") or {})}.get("classes")
        if isinstance(classes, str):
            raise ValueError(
                f"{name_of(config)}: expected a tuple of class names in the metainfo of {loader}, got the text "
                f"{classes!r}; for one class write ({classes!r},), with a comma"
            )
        if classes:
            return as_classes(classes) or ()
    raise ValueError(f"{name_of(config)}: expected a dataset that names its classes, got none; give classes=[...]")


def array_pipeline(config: Config) -> list[dict[str, Any]]:
    """Return the config's test pipeline, for decoded images without labels.

    A config without a test set of its own tests on its validation set; one for inference may have the pipeline alone.

    Raises:
        ValueError: for a config without one, or with one that does not begin with an image file.
    """
    loaders = [config.get(name) or {} for name in ("test_dataloader", "val_dataloader")]
    candidates = [innermost(loader.get("dataset") or {}).get("pipeline") for loader in loaders]
    pipeline = next(filter(None, [*candidates, config.get("test_pipeline"), config.get("val_pipeline")]), None)
    if pipeline is None:
        require(config, "the preparation of images", "test_dataloader", "test_pipeline")
    pipeline = copy.deepcopy(pipeline) or []
    if not pipeline or kind(pipeline[0]) not in ("LoadImageFromFile", "LoadImageAsShown"):
        first = pipeline[0]["type"] if pipeline else "an empty one"
        raise ValueError(f"expected a test pipeline that begins with LoadImageFromFile, got {first}")
    # We decode ourselves, so that files look as in Label Studio and broken ones are noticed.
    pipeline[0] = {"type": "mmdet.LoadImageFromNDArray"}
    return [step for step in pipeline if kind(step) not in ("LoadAnnotations", "ConvertBoxType")]


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


def kind(step: dict[str, Any]) -> str:
    """Return the type of a part of a config, without its package."""
    return step["type"].rsplit(".", 1)[-1]


def dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict in a value of a config, from the outside in."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from dicts(item)
