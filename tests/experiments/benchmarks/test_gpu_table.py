"""What gpu.sh writes, from results of other machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks import gpu_table

WAYS = {
    "d ours": {"ms": 1.5, "x": 18.0},
    "d ours, fp32": {"ms": 3.0, "x": 9.0},
    "e forward pass, ours": {"ms": 0.4},
    "f decoding": {"ms": 1.0},
}
OTHERS = {"g ours, resized on the CPU": {"ms": 1.8}, "h ours, by nvJPEG": {"ms": 1.2}}
TRAINING = {"ours": {"seconds": 0.05, "x": 3.6, "losses_apart": 2e-6}}


def test_figures_against_their_targets(tmp_path: Path):
    results = {"machine": {"gpu": "H200", "cores": 16}, "predict_640": {"ways": WAYS}, "train_640": TRAINING}
    results |= {step: {"ways": WAYS | OTHERS} for step in ("resizing", "nvjpeg")}
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
    assert "| training, 640 px | 20.0/s, 3.60 x the Runner | 3 | met |" in text
    assert "| training, 640 px, first losses | 2.0e-06 apart | 1e-4 | met |" in text
    assert "1024" not in text  # not measured
    assert "| tests | 75 | 124 |  |" in text
    assert "GPU busy while predicting: 20 %" in text
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == ["machine", "predict_640", "train_640", "resizing", "nvjpeg", "tests"]


def test_data_of_which_a_part_is_there(tmp_path: Path):
    data = tmp_path / "all"
    for folder in ("images", "labelTxt", "splits"):
        (data / folder).mkdir(parents=True)
    for name in ("images/b.jpg", "labelTxt/b.txt", "labelTxt/a.txt", "images/c.jpg", "labelTxt/c.txt"):
        (data / name).touch()
    (data / "splits" / "train.txt").write_text("a\nb\n")
    (data / "splits" / "test.txt").write_text("c\nd\n")
    command = [sys.executable, "-m", "experiments.benchmarks.gpu_table", "data", str(data), str(tmp_path / "part")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
        assert done.stdout == "train: 1 images\ntest: 1 images\n"
    assert (tmp_path / "part" / "splits" / "train.txt").read_text() == "b\n"
    assert sorted(file.name for file in (tmp_path / "part" / "images").iterdir()) == ["b.jpg", "c.jpg"]
