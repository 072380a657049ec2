from __future__ import annotations

from pathlib import Path

import pytest

from al_rotate.detection.inference import processes


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1, 0, 1)),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, (5, 8, 1, 4)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2, 0, 1)),
        (
            {
                "SLURM_PROCID": "6",
                "SLURM_STEP_NUM_TASKS": "7",
                "SLURM_LOCALID": "0",
                "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
            },
            (6, 7, 0, 2),
        ),
        # A batch script is one process, however many tasks its allocation has.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "7", "SLURM_TASKS_PER_NODE": "2(x3),1"}, (0, 1, 0, 1)),
        # torchrun inside of a step counts by torchrun
        ({"RANK": "3", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, (3, 4, 0, 1)),
    ],
)
def test_who_this_process_is(variables: dict[str, str], expected: tuple[int, ...]):
    assert processes.this_process(variables) == expected


def test_cores_are_shared_with_the_other_processes_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    alone = processes.cores()
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    assert processes.cores() == max(1, alone // 2)


def test_nor_more_than_a_container_or_slurm_grants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    for name in ("LOCAL_WORLD_SIZE", "RANK", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(processes, "CPU_QUOTA", quota)
    assert processes.cores() == 64
    for text, expected in (("max 100000", 64), ("400000 100000", 4), ("150000 100000", 2)):
        quota.write_text(text)
        assert processes.cores() == expected
    quota.write_text("max 100000")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert processes.cores() == 8
