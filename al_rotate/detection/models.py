"""From a config and a checkpoint to a model: with the right classes, and with every weight that fits."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from mmengine.config import Config
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmrotate.registry import MODELS
from torch import nn

from ..data.columns import as_classes
from ..storage.user_warnings import warn_user
from . import configs
from .checkpoints import Checkpoint, init_weights_quietly
from .checkpoints.class_rows import ClassLayers, OtherClasses, adapt, fits
from .checkpoints.fetching import fetch_pretrained
from .openmmlab import ops


def build(config: Config, n_classes: int) -> nn.Module:
    """Build a config's model for a number of classes, without loading any weights.

    Raises:
        ValueError: when it cannot be built; says why.
        OpsMissing: when it needs ops of mmcv that are not compiled here.
    """
    model = copy.deepcopy(config.model)
    configs.set_class_count(model, n_classes)
    init_default_scope(config.default_scope)
    with configs.explained(config, "a model that can be built"):
        built = revert_sync_batchnorm(MODELS.build(model))
    ops.require(built)
    return built


def start(config: Config, classes: Sequence[str] | None = None) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a model that has not been trained, with the pretrained backbone that its config names.

    It warns when that backbone cannot be had, and is random.

    Args:
        config: of the model.
        classes: by default those of the config's dataset.

    Returns:
        The model and its classes.
    """
    names = as_classes(classes) or configs.dataset_classes(config)
    plain = copy.deepcopy(config)
    try:
        fetch_pretrained(configs.dicts(config.model))
    except (ConnectionError, FileNotFoundError) as error:
        warn_user(f"the backbone starts at random, and will need many more labels: {error}")
        configs.without_pretrained(plain)
    model = build(plain, len(names))
    with configs.explained(config, "pretrained weights that can be loaded"):
        init_weights_quietly(model)
    return model, names


def load(
    config: Config,
    checkpoint: Checkpoint,
    classes: Sequence[str] | None = None,
    class_map: Mapping[str, str] | None = None,
) -> tuple[nn.Module, tuple[str, ...], bool]:
    """Build a model with the weights of a checkpoint, fitted to its classes by :func:`.class_rows.adapt`.

    Args:
        config: of the model.
        checkpoint: its weights.
        classes: by default the checkpoint's, else those of the config's dataset.
        class_map: class of the checkpoint -> class of the model.

    Returns:
        The model, its classes, and whether none of them has weights of the checkpoint's.

    Raises:
        ValueError: for a checkpoint of another model; when the number of classes is neither given nor named.
    """
    config = copy.deepcopy(config)
    configs.without_pretrained(config)
    names = as_classes(classes) or _named(checkpoint, class_map) or configs.dataset_classes(config)
    model = build(config, len(names))
    if classes is None and not class_map and not fits(checkpoint, model, names):
        names = _counted(config, checkpoint, names)
        model = build(config, len(names))
    if fits(checkpoint, model, names) and not class_map:
        checkpoint.into(model)
        return model, names, False
    init_weights_quietly(model)
    adapted = adapt(checkpoint, model, names, lambda count: build(config, count), class_map)
    adapted.checkpoint.into(model)
    if adapted.said:
        warn_user(adapted.said, OtherClasses)
    return model, names, adapted.untrained


def _named(checkpoint: Checkpoint, class_map: Mapping[str, str] | None) -> tuple[str, ...]:
    """The classes that a checkpoint names, by their new names."""
    return tuple(dict.fromkeys((class_map or {}).get(name, name) for name in checkpoint.classes or ()))


def _counted(config: Config, checkpoint: Checkpoint, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names, the checkpoint's or the config's, that are as many as the weights are for."""
    count = ClassLayers(lambda n: build(config, n), len(names)).count(checkpoint)
    if count in (None, len(names)):
        return names
    declared = configs.dataset_classes(config)
    if len(declared) == count:
        return declared
    source = checkpoint.path if checkpoint.classes else "the config"
    raise ValueError(
        f"expected as many class names as {checkpoint.path} has weights for, {count}, got {len(names)} from {source}: "
        "give the right ones, classes=[...]"
    )
