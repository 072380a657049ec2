"""Which of several processes this one is, as torchrun or SLURM started them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# the number of this process and of all, here and on all machines
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# SLURM_NTASKS is set in a batch script's one process too; these only in the steps that srun starts.
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Process(NamedTuple):
    """One process of several.

    Attributes:
        number: of this process, from 0.
        total: how many there are.
        local: its number on this machine.
        beside: how many are on this machine, itself included.
    """

    number: int = 0
    total: int = 1
    local: int = 0
    beside: int = 1


def this_process(environment: Mapping[str, str] | None = None) -> Process:
    """From the variables that torchrun or srun has set; alone without them."""
    given = os.environ if environment is None else environment
    for names in (_TORCHRUN, _SLURM):
        if all(name in given for name in names[:2]):
            number, total, local, beside = (given.get(name, "") for name in names)
            # "2(x3),1": two on each of three machines, one on the last
            here = max((int(part.partition("(")[0]) for part in beside.split(",") if part), default=1)
            return Process(int(number), int(total), int(local or 0), here)
    return Process()


def cores() -> int:
    """How many this process may use: those it is bound to or its container grants, shared with those beside it."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max 100000", or microseconds of how many
        quota, period = map(int, _QUOTA.read_text().split())
        bound = min(bound, -(-quota // period))
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun binds none to cores
        return max(1, bound // this_process().beside)
    # SLURM binds each task to its own, where the cluster is set up so; where not, it says how many they are.
    return max(1, min(bound, int(os.environ.get("SLURM_CPUS_PER_TASK") or bound)))
