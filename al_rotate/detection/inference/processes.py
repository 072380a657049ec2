"""Which of several processes this one is, as torchrun or SLURM started them, and how many cores it may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# Names of the variables for: the process's number, the number of processes, and the same on this machine.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# SLURM_NTASKS is set in a batch script's single process too; these only in the steps that srun starts.
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Process(NamedTuple):
    """One process of several.

    Attributes:
        number: of this process, from 0.
        total: how many there are.
        local: its number on this machine, from 0.
        local_total: how many there are on this machine.
    """

    number: int = 0
    total: int = 1
    local: int = 0
    local_total: int = 1


def this_process(environment: Mapping[str, str] | None = None) -> Process:
    """Read the variables that torchrun or srun sets; without them the process is alone."""
    variables = os.environ if environment is None else environment
    for names in (_TORCHRUN, _SLURM):
        if all(name in variables for name in names[:2]):
            number, total, local, per_machine = (variables.get(name, "") for name in names)
            # "2(x3),1": two on each of three machines, one on the last
            local_total = max((int(part.partition("(")[0]) for part in per_machine.split(",") if part), default=1)
            return Process(int(number), int(total), int(local or 0), local_total)
    return Process()


def cores() -> int:
    """Count the cores that this process may use: its share of those that its affinity and its container grant."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max 100000", or microseconds per period
        quota, period = map(int, CPU_QUOTA.read_text().split())
        granted = min(granted, -(-quota // period))
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun binds no process to cores
        return max(1, granted // this_process().local_total)
    # SLURM binds each task to its cores where the cluster is configured so; elsewhere it states their number.
    return max(1, min(granted, int(os.environ.get("SLURM_CPUS_PER_TASK") or granted)))
