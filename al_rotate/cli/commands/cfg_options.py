"""Whether ``--cfg-options`` name what is in the config: MMEngine takes any key, so that a slip would change nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...storage.user_warnings import warn_user
from . import config_slips

_ALIKE = 0.8  # of two keys, from which one is taken for a slip of the other
# What MMEngine reads from a config whether or not it is there already.
_ALWAYS_KNOWN = (
    "model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg auto_scale_lr "
    "optim_wrapper param_scheduler val_evaluator test_evaluator default_hooks custom_hooks data_preprocessor load_from "
    "resume launcher env_cfg log_processor log_level visualizer default_scope randomness experiment_name"
).split()


def check(config: str | Path, options: Mapping[str, Any] | None, training: bool = False) -> None:
    """Compare the keys of ``--cfg-options`` with a config, and on request look for slips in its training.

    A key that is new there and much like one that is there is refused. Any other new key may be meant so: a warning
    names it.

    Args:
        config: path, or the name of one shipped with MMRotate.
        options: dotted key -> value.
        training: whether the config shall be trained, see :mod:`al_rotate.cli.commands.config_slips`.

    Raises:
        ValueError: for a key, type or argument that looks misspelt; says which one could be meant.
    """
    if not options and not training:
        return
    from ...detection import configs

    loaded = configs.load(config).to_dict()
    for key in options or {}:
        _check_key(loaded, key)
    if training and (slip := config_slips.find(configs.load(config, dict(options or {})))):
        raise ValueError(f"{config}: {slip}")


def _check_key(config: Any, key: str) -> None:
    place, before = config, ""
    for part in key.split("."):
        if isinstance(place, list | tuple):
            if not part.isdigit() or int(part) >= len(place):
                got = f"{before or 'the config'} is a list of {len(place)}"
                raise ValueError(f"expected --cfg-options to name what is in the config, got {key}: {got}")
            place = place[int(part)]
        elif isinstance(place, Mapping):
            if part not in place:
                if not before and part in _ALWAYS_KNOWN:
                    return
                _report_new(key, part, before, map(str, place))
                return
            place = place[part]
        else:
            return  # MMEngine replaces a plain value
        before = f"{before}.{part}".lstrip(".")


def _report_new(key: str, part: str, before: str, there: Iterable[str]) -> None:
    where = before or "the config"
    # A key in the plural or with a number behind may be another one on purpose (bbox_head, bbox_head2).
    close = difflib.get_close_matches(part, [name for name in there if name != "type"], n=1, cutoff=_ALIKE)
    if close and part.rstrip("0123456789") != close[0].rstrip("0123456789"):
        meant = f"{before}.{close[0]}".lstrip(".")
        raise ValueError(f"expected --cfg-options to name what is in the config, got {key}: did you mean {meant}?")
    warn_user(f"--cfg-options {key} is new in the config: {where} has no {part!r} so far")
