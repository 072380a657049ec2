"""What gpu.sh needs beside the benchmarks: the data that are there, the machine, and a table against the targets.

python -m experiments.benchmarks.gpu_table data PATH/TO/vhr10 OUT     # links to the images, lists of those there
python -m experiments.benchmarks.gpu_table machine OUT/machine.json
python -m experiments.benchmarks.gpu_table add OUT STEP SECONDS CODE  # a line in results.jsonl, and table.md anew
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Results = dict[str, Any]  # step -> what it wrote as JSON


def link_data(data: Path, out: Path) -> None:
    """Make a folder in DOTA form of the images of `data` that are there."""
    (out / "splits").mkdir(parents=True, exist_ok=True)
    for part in ("images", "labelTxt"):
        (out / part).unlink(missing_ok=True)
        (out / part).symlink_to((data / part).resolve())
    present = {file.stem for file in (data / "images").iterdir()} & {
        file.stem for file in (data / "labelTxt").iterdir()
    }
    for split in ("train", "test"):
        ids = [image_id for image_id in (data / "splits" / f"{split}.txt").read_text().split() if image_id in present]
        (out / "splits" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        print(f"{split}: {len(ids)} images")


def describe_machine(file: Path) -> None:
    """Write what the figures depend on."""
    import torch

    from al_rotate.detection.openmmlab import gpu_ops

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    compiled = torch.cuda.is_available() and gpu_ops.runs_on(torch.device("cuda:0"))
    facts = {
        "gpu": gpu,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "ops": "compiled" if compiled else "PyTorch",
    }
    file.write_text(json.dumps(facts))
    print(facts)


def add(out: Path, step: str, seconds: int, code: int) -> None:
    """Append a step to results.jsonl, and write table.md from all steps so far; a failed step has no result."""
    result = _result(out / f"{step}.json") if code == 0 else None
    log = (out / f"{step}.log").read_text(errors="replace").splitlines()[-10:]
    line = {"step": step, "seconds": seconds, "code": code, "result": result, "log": log}
    if step == "predict_640" and (samples := _utilisation(out / "utilisation.txt")):
        line["utilisation"] = statistics.mean(samples)
    with (out / "results.jsonl").open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    steps = [json.loads(text) for text in (out / "results.jsonl").read_text().splitlines()]
    (out / "table.md").write_text(table(steps))


def table(steps: list[dict[str, Any]]) -> str:
    """Return the figures against the targets, and the steps, as Markdown."""
    results = {step["step"]: step["result"] for step in steps if step["result"]}
    machine = ", ".join(f"{name} {value}" for name, value in results.get("machine", {}).items())
    lines = [machine, "", "| what | measured | target | |", "|---|---|---|---|"]
    for what, measured, target, met in targets(results):
        lines.append(f"| {what} | {measured} | {target} | {'met' if met else 'missed'} |")
    lines += ["", "| step | seconds | exit status | last line |", "|---|---|---|---|"]
    for step in steps:
        lines.append(f"| {step['step']} | {step['seconds']} | {step['code']} | {(step['log'] or [''])[-1][:120]} |")
    used = [f"GPU busy while predicting: {step['utilisation']:.0f} %" for step in steps if "utilisation" in step]
    return "\n".join([*lines, "", *used]) + "\n"


def targets(results: Results) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what was measured, the figure, its target, and whether that is met."""
    for size in (640, 1024):
        if not (measured := results.get(f"predict_{size}")):
            continue
        ways = measured["ways"]
        ours = ways["d ours"]
        yield f"predict, {size} px, default", f"{ours['x']:.1f} x inference_detector", "15", ours["x"] >= 15
        exact = ways.get("D ours, fp32", ours)
        yield f"predict, {size} px, fp32", f"{exact['x']:.1f} x inference_detector", "10", exact["x"] >= 10
        bound = max(ways["e forward pass, ours"]["ms"], ways["f decoding"]["ms"])
        share = ours["ms"] / bound
        yield f"predict, {size} px, of forward pass or decoding", f"{share:.2f} x", "at most 2", share <= 2
    ways = results.get("decoding", {}).get("ways", {})
    for what, ours, other, than in (
        ("resized on the GPU", "d ours", "g ours, resized on the CPU", "resized on the CPU"),
        ("by nvJPEG", "h ours, by nvJPEG", "d ours", "decoded on the CPU"),
    ):
        if ours in ways and other in ways:
            gain = ways[other]["ms"] / ways[ours]["ms"]
            yield f"predict, 640 px, {what}", f"{gain:.2f} x {than}", "1", gain >= 1
    for name, row in [*results.get("parity", {}).items()][1:]:  # held against the first
        if "error" in row:
            yield f"mAP, {name}", row["error"].splitlines()[0], "at most 0.2 points", False
        else:
            yield f"mAP, {name}", f"{row['gain']:+.2f} points", "at most 0.2", abs(row["gain"]) <= 0.2
    for step, what in (("train_640", "training, 640 px"), ("ops_in_pytorch", "training, 640 px, ops in PyTorch")):
        if rows := results.get(step):
            ours = rows["ours"]
            yield what, f"{1 / ours['seconds']:.1f}/s, {ours['x']:.2f} x the Runner", "3", ours["x"] >= 3
            apart = ours["losses_apart"]
            yield f"{what}, first losses", f"{apart:.1e} apart", "1e-4", apart <= 1e-4


def _result(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # a step without figures, or one that was killed while it wrote them
        return None


def _utilisation(file: Path) -> list[float]:
    return [float(line) for line in file.read_text().splitlines() if line.strip().isdigit()] if file.exists() else []


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "data":
        link_data(*map(Path, arguments))
    elif command == "machine":
        describe_machine(Path(arguments[0]))
    else:
        add(Path(arguments[0]), arguments[1], int(arguments[2]), int(arguments[3]))
