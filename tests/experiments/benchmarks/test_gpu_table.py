"""What gpu.sh writes, from results of other machines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks import gpu_table

WAYS = {
    "d ours": {"ms": 1.5, "x": 18.0},
    "D ours, fp32": {"ms": 3.0, "x": 9.0},
    "e forward pass, ours": {"ms": 0.4},
    "f decoding": {"ms": 1.0},
}
OTHERS = {"g ours, resized on the CPU": {"ms": 1.8}, "h ours, by nvJPEG": {"ms": 1.2}}
SCRIPT = Path(gpu_table.__file__).with_name("gpu.sh")
STEPS = [(n, int(s)) for n, s in re.findall(r"^(?:\w+=\w+ )?step (\w+) (\d+) ", SCRIPT.read_text(), re.MULTILINE)]
TRAINING = {"ours": {"seconds": 0.05, "x": 3.6, "losses_apart": 2e-6}}


def make_data(data: Path) -> None:
    for folder in ("images", "labelTxt", "splits"):
        (data / folder).mkdir(parents=True)
    for name in ("images/b.jpg", "labelTxt/b.txt", "labelTxt/a.txt", "images/c.jpg", "labelTxt/c.txt"):
        (data / name).touch()
    (data / "splits" / "train.txt").write_text("a\nb\n")
    (data / "splits" / "test.txt").write_text("c\nd\n")


def test_figures_against_their_targets(tmp_path: Path):
    results = {"machine": {"gpu": "H200", "cores": 16}, "predict_640": {"ways": WAYS}, "train_640": TRAINING}
    results["decoding"] = {"ways": WAYS | OTHERS}
    results["parity"] = {"fp32": {"gain": 0}, "bf16": {"gain": -0.31}, "nvJPEG": {"error": "not there\nat all"}}
    (tmp_path / "utilisation.txt").write_text("10\n30\n")
    for step, result in results.items():
        (tmp_path / f"{step}.json").write_text(json.dumps(result))
        (tmp_path / f"{step}.log").write_text(f"first\nlast of {step}\n")
        gpu_table.add(tmp_path, step, 12, 0)
    (tmp_path / "tests.log").write_text("")
    gpu_table.add(tmp_path, "tests", 75, 124)  # ran out of time
    text = (tmp_path / "table.md").read_text()
    assert "gpu H200, cores 16" in text
    assert "| predict, 640 px, default | 18.0 x inference_detector | 15 | met |" in text
    assert "| predict, 640 px, fp32 | 9.0 x inference_detector | 10 | missed |" in text
    assert "| predict, 640 px, of forward pass or decoding | 1.50 x | at most 2 | met |" in text
    assert "| predict, 640 px, resized on the GPU | 1.20 x resized on the CPU | 1 | met |" in text
    assert "| predict, 640 px, by nvJPEG | 1.25 x decoded on the CPU | 1 | met |" in text
    assert "| mAP, bf16 | -0.31 points | at most 0.2 | missed |" in text
    assert "| mAP, nvJPEG | not there | at most 0.2 points | missed |" in text
    assert "| mAP, fp32 |" not in text
    assert "| training, 640 px | 20.0/s, 3.60 x the Runner | 3 | met |" in text
    assert "| training, 640 px, first losses | 2.0e-06 apart | 1e-4 | met |" in text
    assert "1024" not in text  # not measured
    assert "| tests | 75 | 124 |  |" in text
    assert "GPU busy while predicting: 20 %" in text
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*results, "tests"]


def test_without_nvjpeg(tmp_path: Path):
    ways = {name: row for name, row in (WAYS | OTHERS).items() if not name.startswith("h")}
    text = gpu_table.table([{"step": "decoding", "seconds": 9, "code": 0, "log": [], "result": {"ways": ways}}])
    assert "| predict, 640 px, resized on the GPU | 1.20 x resized on the CPU | 1 | met |" in text
    assert "nvJPEG" not in text


class TestScript:
    """gpu.sh, with an interpreter that runs the table alone: the others write half a result, or fail."""

    def run(self, tmp_path: Path, seconds: int) -> dict[str, dict]:
        data, out = tmp_path / "all", tmp_path / "out"
        make_data(data)
        out.mkdir()
        (out / "train_640.json").write_text(json.dumps(TRAINING))  # of an earlier run
        (out / "parity.json").write_text(json.dumps({}))
        python = tmp_path / "python"
        python.write_text(
            "#!/bin/bash\n"
            'case "$*" in\n'
            f'*gpu_table\\ machine*) echo none ;;\n*gpu_table*) exec {sys.executable} "$@" ;;\n'
            '*.throughput*) echo "{\\"ways\\": " > "${@: -1}" ;;\n'
            '*.parity*) echo "{}" > "${@: -1}"; echo too late; exit 124 ;;\n'
            "esac\n"
        )
        python.chmod(0o755)
        done = subprocess.run(
            ["bash", str(SCRIPT), str(data), str(out), str(seconds)],
            env={**os.environ, "PYTHON": str(python)},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr
        assert (out / "table.md").read_text() == done.stdout[-len((out / "table.md").read_text()) :]
        return {(step := json.loads(line))["step"]: step for line in (out / "results.jsonl").read_text().splitlines()}

    def test_results_that_are_old_cut_off_or_of_failures(self, tmp_path: Path):
        steps = self.run(tmp_path, 300)
        assert [*steps] == [name for name, _ in STEPS]
        assert all(step["result"] is None for step in steps.values())
        codes = {name: step["code"] for name, step in steps.items() if step["code"]}
        assert codes == {"parity": 124}
        assert steps["parity"]["log"] == ["too late"]

    def test_without_time(self, tmp_path: Path):
        steps = self.run(tmp_path, 9)
        assert [(name, step["code"], step["log"]) for name, step in steps.items()] == [
            (name, 125, ["no time left"]) for name, _ in STEPS
        ]

    def test_budgets(self):
        assert sum(seconds for _, seconds in STEPS) == 570
        names = [name for name, _ in STEPS]
        assert sum(seconds for _, seconds in STEPS[: names.index("decoding") + 1]) == 360  # the default


def test_data_of_which_a_part_is_there(tmp_path: Path):
    data = tmp_path / "all"
    make_data(data)
    command = [sys.executable, "-m", "experiments.benchmarks.gpu_table", "data", str(data), str(tmp_path / "part")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
        assert done.stdout == "train: 1 images\ntest: 1 images\n"
    assert (tmp_path / "part" / "splits" / "train.txt").read_text() == "b\n"
    assert sorted(file.name for file in (tmp_path / "part" / "images").iterdir()) == ["b.jpg", "c.jpg"]
