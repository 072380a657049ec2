"""Images a second of Detector.predict, against the usual ways to run an MMRotate detector and the bare forward pass.

    python experiments/vhr10_checkpoint.py --data PATH/TO/vhr10           # once: work_dirs/rtmdet_tiny_320
    python experiments/benchmarks/predict.py work_dirs/rtmdet_tiny_320 PATH/TO/vhr10/images --size 320

All ways detect in the same images with the same weights, one after the other, in several turns; the table has the
median turn of each, and the peak memory of each in a process of its own. Then where the time of one image goes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.runner import Runner

from al_rotate import RotatedInstances
from al_rotate.data import dataset as labelled
from al_rotate.data import images
from al_rotate.detection import configs
from al_rotate.detection.detector import Detector
from al_rotate.detection.inference.processes import cores
from al_rotate.detection.networks.precision import resolve
from al_rotate.detection.openmmlab import rotated_ops

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a config may name lite0
warnings.filterwarnings("ignore")
BATCH = 8


class Setting:
    """A checkpoint, the images, and every way to run the one on the others."""

    def __init__(self, folder: Path, files: dict[str, Path], size: int | None) -> None:
        self.files, self.checkpoint = files, str(folder / "finetuned.pth")
        options: dict[str, Any] = {}
        if size:
            side = (size, size)
            options = {f"test_dataloader.dataset.pipeline.{k}": side for k in ("1.scale", "2.size")}
        self.options = options
        self.config = configs.load(folder / "config.py")
        self.config.merge_from_dict(options, allow_list_keys=True)
        configs.without_pretrained(self.config)
        self.ways: dict[str, Callable[[], Callable[[], Any]]] = {
            "a inference_detector, one by one": self.one_by_one,
            "b DetInferencer, batches of 8": self.inferencer,
            "c MMRotate's test loop": self.test_loop,
            "d ours": lambda: self.ours("auto", "auto"),
            "d ours, fp32": lambda: self.ours("fp32", "auto"),
            "d ours, fp32 in PyTorch": lambda: self.ours("fp32", "torch"),
            "e forward pass, MMRotate's model": self.forward_of_mmrotate,
            "e forward pass, ours": lambda: self.forward_of_ours("auto", "auto"),
            "e forward pass, ours in fp32": lambda: self.forward_of_ours("fp32", "auto"),
            "e forward pass, ours in PyTorch": lambda: self.forward_of_ours("fp32", "torch"),
            "f decoding": self.decoding,
        }

    def one_by_one(self) -> Callable[[], Any]:
        model = init_detector(self.config, self.checkpoint, device="cpu")

        def run() -> None:
            with rotated_ops.uninstalled():
                for file in self.files.values():
                    inference_detector(model, str(file))

        return run

    def inferencer(self) -> Callable[[], Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            made = DetInferencer(self.config, self.checkpoint, "cpu", scope="mmrotate", show_progress=False)
        paths = [str(file) for file in self.files.values()]

        def run() -> None:
            with rotated_ops.uninstalled():
                made(paths, batch_size=BATCH, return_datasamples=True, no_save_vis=True)

        return run

    def test_loop(self) -> Callable[[], Any]:
        cfg = Config(self.config.to_dict())
        folder = Path(tempfile.mkdtemp())
        classes = configs.dataset_classes(cfg)
        labels = RotatedInstances.empty(list(self.files), classes)
        data = labelled.write(folder / "test.parquet", self.files, labels, classes)
        pipeline = cfg.test_dataloader.dataset.pipeline
        cfg.test_dataloader = {
            "batch_size": BATCH,
            "num_workers": cores(),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": {
                "type": "RotatedInstancesDataset",
                "ann_file": str(data),
                "metainfo": {"classes": classes},
                "pipeline": pipeline,
                "test_mode": True,
            },
        }
        cfg.test_evaluator = {"type": "mmdet.DumpDetResults", "out_file_path": str(folder / "found.pkl")}
        cfg.test_cfg = {"type": "TestLoop"}
        cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.load_from, cfg.resume, cfg.work_dir, cfg.log_level = self.checkpoint, False, str(folder), "ERROR"
        cfg.custom_hooks = []
        with contextlib.redirect_stdout(io.StringIO()):
            runner = Runner.from_cfg(cfg)

        def run() -> None:
            with rotated_ops.uninstalled(), contextlib.redirect_stdout(io.StringIO()):
                runner.test()

        return run

    def ours(self, precision: Any, engine: Any) -> Callable[[], Any]:
        detector = Detector(self.config, self.checkpoint, "cpu", precision=precision, engine=engine)

        def run() -> RotatedInstances:
            with tempfile.TemporaryDirectory() as out:
                return detector.predict(self.files, BATCH, progress=False, out=out)

        return run

    def _prepared(self, detector: Detector) -> list[torch.Tensor]:
        batches = []
        pairs = list(self.files.items())
        for start in range(0, len(pairs), BATCH):
            made = [detector._prepare(pair) for pair in pairs[start : start + BATCH]]
            data = {name: [one[name] for one in made] for name in ("inputs", "data_samples")}  # type: ignore[index]
            batches.append(detector.model.data_preprocessor(data)["inputs"])  # type: ignore[operator]
        return batches

    def forward_of_mmrotate(self) -> Callable[[], Any]:
        model = init_detector(self.config, self.checkpoint, device="cpu")
        batches = self._prepared(Detector(self.config, self.checkpoint, "cpu"))

        @torch.no_grad()
        def run() -> None:
            for batch in batches:
                model.bbox_head(model.extract_feat(batch))

        return run

    def forward_of_ours(self, precision: Any, engine: Any) -> Callable[[], Any]:
        detector = Detector(self.config, self.checkpoint, "cpu", precision=precision, engine=engine)
        batches = self._prepared(detector)
        model: Any = detector.model
        graph = detector._engine.graph(model, "these", detector._sample)

        def one(batch: torch.Tensor) -> None:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=detector.precision == "bf16"):
                model.bbox_head(model.extract_feat(batch))

        def run() -> None:
            with graph.in_place() if graph else contextlib.nullcontext():
                threads = torch.get_num_threads()
                with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                    list(pool.map(one, batches))
                torch.set_num_threads(threads)

        return run

    def decoding(self) -> Callable[[], Any]:
        def run() -> None:
            with ThreadPoolExecutor(cores()) as pool:
                list(pool.map(images.read, self.files.values()))

        return run

    def split(self) -> dict[str, float]:
        """Milliseconds an image of each step, one after the other in one thread."""
        detector = Detector(self.config, self.checkpoint, "cpu")
        model: Any = detector.model
        graph = detector._engine.graph(model, "these", detector._sample)
        torch.set_num_threads(1)
        spent: dict[str, float] = {}

        def timed(name: str, function: Callable[[], Any]) -> Any:
            started = time.perf_counter()
            result = function()
            spent[name] = spent.get(name, 0.0) + (time.perf_counter() - started) * 1e3 / len(self.files)
            return result

        module: Any = import_module("mmcv.ops.nms")
        suppress = module.nms_rotated
        module.nms_rotated = lambda *args, **kwargs: timed("NMS", lambda: suppress(*args, **kwargs))
        pairs = list(self.files.items())
        with torch.no_grad(), graph.in_place() if graph else contextlib.nullcontext():
            for start in range(0, len(pairs), BATCH):
                chosen = pairs[start : start + BATCH]
                pixels = timed("decode", lambda c=chosen: [images.read(file, "BGR") for _, file in c])
                made = timed("test pipeline", lambda p=pixels: [detector._prepare(("", one)) for one in p])
                data = {name: [one[name] for one in made] for name in ("inputs", "data_samples")}
                data = timed("normalise", lambda d=data: model.data_preprocessor(d))
                outs = timed("forward", lambda d=data: model.bbox_head(model.extract_feat(d["inputs"])))
                metas = [sample.metainfo for sample in data["data_samples"]]
                timed(
                    "decode boxes",
                    lambda o=outs, m=metas: model.bbox_head.predict_by_feat(*o, batch_img_metas=m, rescale=True),
                )
        spent["decode boxes"] -= spent.get("NMS", 0.0)
        module.nms_rotated = suppress
        torch.set_num_threads(cores())
        found = self.ours("auto", "auto")()
        with tempfile.TemporaryDirectory() as out:
            timed("write", lambda: found.save(Path(out) / "shard.parquet"))
        return spent


def peak_mb() -> float:
    """Of this process alone; getrusage would count what the parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--size", type=int, help="side that images are resized to; by default the config's")
    parser.add_argument("--count", type=int, default=96, help="how many images")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ways", default="abcdef", help="letters of the ways to run")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()

    found = images.find(args.images)
    step = max(1, len(found) // args.count)
    setting = Setting(args.checkpoint, dict(list(found.items())[::step][: args.count]), args.size)
    ways = {name: way for name, way in setting.ways.items() if name[0] in args.ways}
    if args.memory_of:
        run = setting.ways[args.memory_of]()
        before = peak_mb()
        run()
        print(json.dumps([before, peak_mb()]))
        return
    if resolve("auto", torch.device("cpu")) == "fp32":  # then these are what ours does anyway
        ways = {name: way for name, way in ways.items() if name not in ("d ours, fp32", "e forward pass, ours in fp32")}
    print(f"{len(setting.files)} images, {cores()} cores, {torch.backends.cpu.get_cpu_capability()}, ", end="")
    print(f"ours by default: {resolve('auto', torch.device('cpu'))}")
    runs = {name: way() for name, way in ways.items()}
    for run in runs.values():
        run()  # warm: exported, allocated, in the page cache
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.turns):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - started) / len(setting.files))
    first = statistics.median(next(iter(seconds.values())))
    rows = {}
    for name, times in seconds.items():
        command = [sys.executable, *sys.argv, "--memory-of", name]
        memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        loaded, peak = json.loads(memory)
        median = statistics.median(times)
        rows[name] = {"ms": 1e3 * median, "images_s": 1 / median, "x": first / median, "loaded": loaded, "peak": peak}
        print(
            f"{name:34} {1e3 * median:8.1f} ms ({1e3 * min(times):.1f}-{1e3 * max(times):.1f}) "
            f"{1 / median:7.2f} images/s {first / median:6.2f} x a   peak {peak:.0f} MB (loaded {loaded:.0f})"
        )
    parts = setting.split()
    print("one image in one thread: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in parts.items()))
    if args.json:
        args.json.write_text(json.dumps({"ways": rows, "split": parts}, indent=1))


if __name__ == "__main__":
    main()
