"""Calls in processes of their own, with the memory that each needs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def alone(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Call a function in a process that does nothing else: its result, and the peak of the process in MB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # whose process may have children
        return pool.submit(_measured, function, arguments).result()


def peak_mb() -> float:
    """The peak memory of this process (Linux); getrusage would include what the parent held when it was started."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _measured(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    return function(*arguments), peak_mb()
