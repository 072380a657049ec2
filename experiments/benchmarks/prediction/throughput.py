"""Images per second of Detector.predict, against the usual ways to run an MMRotate detector and the bare forward pass.

    python -m experiments.vhr10.checkpoint --data PATH/TO/vhr10           # once: work_dirs/rtmdet_tiny_320
    python -m experiments.benchmarks.prediction.throughput work_dirs/rtmdet_tiny_320 PATH/TO/vhr10/images --size 320

All ways detect in the same images with the same weights, one after the other, in several turns; the table has the
median turn of each, and the peak memory of each in a process of its own. Then follows the time of each step of one
image. With --device cuda:0 the models are on a GPU; memory and steps are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import Compose

from al_rotate.data import images
from al_rotate.detection import Detector, configs
from al_rotate.detection.inference.processes import cores
from al_rotate.detection.networks import normalising
from al_rotate.detection.networks.precision import resolve

from ..isolated import alone, peak_mb
from .ways import BATCH, Run, Ways, collate, graph_of


def measure_memory(folder: Path, files: dict[str, Path], size: int | None, name: str) -> float:
    """MB of this process before a way runs; its peak is that of the way."""
    warnings.filterwarnings("ignore")
    run = Ways(folder, files, size).by_name[name]()
    loaded = peak_mb()
    run()
    return loaded


def measure_speed(runs: dict[str, Run], turns: int, n_images: int) -> dict[str, list[float]]:
    """Seconds per image of each way in each turn; a way that this machine does not have is left out, and said."""
    for name in [*runs]:
        try:
            runs[name]()  # warm: exported, allocated, in the page cache
        except ValueError as error:  # such as without nvJPEG
            print(f"{name}: {error}")
            del runs[name]
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - started) / n_images)
    return seconds


def measure_steps(ways: Ways) -> dict[str, float]:
    """Milliseconds per image of each step, one after the other in one thread."""
    detector = Detector(ways.config, ways.checkpoint, "cpu")
    pipeline = Compose(configs.array_pipeline(detector.config))
    model: Any = detector.model
    files = list(ways.files.values())
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = function()
        spent[name] = spent.get(name, 0.0) + (time.perf_counter() - started) * 1e3 / len(files)
        return result

    def prepare(pixels: Any) -> dict[str, Any]:
        return pipeline({"img": pixels, "img_id": ""})

    sample = model.data_preprocessor(collate([prepare(images.read(files[0], "BGR"))]))["inputs"]
    graph = graph_of(detector, sample)
    torch.set_num_threads(1)
    module: Any = import_module("mmcv.ops.nms")
    suppress = module.nms_rotated
    module.nms_rotated = lambda *args, **options: timed("NMS", lambda: suppress(*args, **options))
    with torch.no_grad(), normalising.in_batches(model), graph.in_place() if graph else contextlib.nullcontext():
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            pixels = timed("decode", lambda batch=batch: [images.read(file, "BGR") for file in batch])
            prepared = timed("test pipeline", lambda pixels=pixels: [prepare(image) for image in pixels])
            data = timed("normalise", lambda prepared=prepared: model.data_preprocessor(collate(prepared)))
            outs = timed("forward", lambda data=data: model.bbox_head(model.extract_feat(data["inputs"])))
            options = {"batch_img_metas": [sample.metainfo for sample in data["data_samples"]], "rescale": True}
            timed("decode boxes", lambda outs=outs, o=options: model.bbox_head.predict_by_feat(*outs, **o))
    spent["decode boxes"] -= spent.get("NMS", 0.0)
    module.nms_rotated = suppress
    torch.set_num_threads(cores())
    detections = ways.ours("auto", "auto")()
    with tempfile.TemporaryDirectory() as out:
        timed("write", lambda: detections.save(Path(out) / "shard.parquet"))
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--size", type=int, help="side that images are resized to; by default the config's")
    parser.add_argument("--count", type=int, default=96, help="how many images")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--ways", default="abcdDeEf", help="letters of the ways to run; D and E are float32, g and h are for GPUs"
    )
    parser.add_argument("--device", default="cpu", help="such as cuda:0")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")

    available = images.find(args.images)
    step = max(1, len(available) // args.count)
    files = dict(list(available.items())[::step][: args.count])
    ways = Ways(args.checkpoint, files, args.size, args.device)
    on_cpu = args.device == "cpu"
    default = resolve("auto", torch.device(args.device))
    names = [name for name in ways.by_name if name[0] in args.ways]
    if default == "fp32":  # then these are what ours does anyway
        names = [name for name in names if name not in ("D ours, fp32", "E forward pass, ours in fp32")]
    if not on_cpu:  # there all is
        names = [name for name in names if not name.endswith("in PyTorch")]
    print(
        f"{len(files)} images, {cores()} cores, {torch.backends.cpu.get_cpu_capability()}, {args.device}, "
        f"ours by default: {default}"
    )
    seconds = measure_speed({name: ways.by_name[name]() for name in names}, args.turns, len(files))
    first = statistics.median(next(iter(seconds.values())))
    rows = {}
    for name, times in seconds.items():
        loaded, peak = alone(measure_memory, args.checkpoint, files, args.size, name) if on_cpu else (0.0, 0.0)
        median = statistics.median(times)
        rows[name] = {"ms": 1e3 * median, "images_s": 1 / median, "x": first / median, "loaded": loaded, "peak": peak}
        print(
            f"{name:34} {1e3 * median:8.1f} ms ({1e3 * min(times):.1f}-{1e3 * max(times):.1f}) "
            f"{1 / median:7.2f} images/s {first / median:6.2f} x a   peak {peak:.0f} MB (loaded {loaded:.0f})"
        )
    steps = measure_steps(ways) if on_cpu else {}
    print("one image in one thread: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in steps.items()))
    if args.json:
        args.json.write_text(json.dumps({"ways": rows, "split": steps}, indent=1))


if __name__ == "__main__":
    main()
