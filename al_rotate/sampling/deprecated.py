"""Old names, accepted until 0.3 with a DeprecationWarning."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ..storage.user_warnings import warn_user

__all__ = ["call_with_context", "renamed_argument", "renamed_field", "renamed_key", "warn_renamed"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def warn_renamed(old: str, new: str) -> None:
    warn_user(f"use {new}, {old} will go in 0.3", DeprecationWarning)


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let callers of a function give the keyword argument `new` by its old name, too."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            renamed_key(kwargs, old, new, mark="=")
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_field(old: str, new: str) -> Callable[[type[T]], type[T]]:
    """Let a field of a dataclass be given and read by its old name, too."""

    def decorate(cls: type[T]) -> type[T]:
        def read(self: T) -> Any:
            warn_renamed(f"{cls.__name__}.{old}", f"{cls.__name__}.{new}")
            return getattr(self, new)

        cls.__init__ = renamed_argument(old, new)(cls.__init__)  # type: ignore[method-assign, misc]
        setattr(cls, old, property(read))
        return cls

    return decorate


def renamed_key(values: dict[str, Any], old: str, new: str, mark: str = "") -> None:
    """Rename a key in place; if both are given, the new one counts.

    Args:
        values: keyword arguments, or columns.
        old: name until 0.2.
        new: name from 0.2 on.
        mark: what follows the names in the warning.
    """
    if old in values:
        warn_renamed(f"{old}{mark}", f"{new}{mark}")
        value = values.pop(old)
        values.setdefault(new, value)


def call_with_context(strategy: Callable[..., R], context: Any, *args: Any) -> R:
    """Call a user's strategy, with the context if it has a parameter of that name; `known` was its name before."""
    parameters = inspect.signature(strategy).parameters
    if "known" in parameters:
        name = getattr(strategy, "__name__", strategy)
        warn_renamed(f"the parameter 'known' of the strategy {name!r}", "a parameter named 'context'")
    names = [name for name in ("context", "known") if name in parameters]
    return strategy(*args, **dict.fromkeys(names, context))
