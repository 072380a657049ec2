"""The ways to run a trained detector on many images that the benchmark of throughput compares."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import Compose
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.runner import Runner

from al_rotate import RotatedInstances
from al_rotate.data import dataset, images
from al_rotate.detection import Detector, configs
from al_rotate.detection.inference.processes import cores
from al_rotate.detection.networks.onnx import Engine, OnnxNetwork
from al_rotate.detection.openmmlab import components, rotated_ops

BATCH = 8
Run = Callable[[], Any]


class Ways:
    """Every way to run a checkpoint on images.

    Args:
        folder: of al_rotate.finetune.
        files: the images.
        size: side that they are resized to; None for the config's.
        device: of the models.

    Attributes:
        by_name: name -> a function that prepares a way and returns the one to be timed. Names begin with a letter, a
            capital where the default precision is replaced by float32.
    """

    def __init__(self, folder: Path, files: dict[str, Path], size: int | None, device: str = "cpu") -> None:
        self.files, self.checkpoint, self.device = files, str(folder / "finetuned.pth"), device
        self.config = config_of(folder, size)
        self.by_name: dict[str, Callable[[], Run]] = {
            "a inference_detector, one by one": self.one_by_one,
            "b DetInferencer, batches of 8": self.inferencer,
            "c MMRotate's test loop": self.test_loop,
            "d ours": lambda: self.ours("auto", "auto"),
            "D ours, fp32": lambda: self.ours("fp32", "auto"),
            "D ours, fp32 in PyTorch": lambda: self.ours("fp32", "torch"),
            "e forward pass, MMRotate's model": self.forward_of_mmrotate,
            "e forward pass, ours": lambda: self.forward_of_ours("auto", "auto"),
            "E forward pass, ours in fp32": lambda: self.forward_of_ours("fp32", "auto"),
            "E forward pass, ours in PyTorch": lambda: self.forward_of_ours("fp32", "torch"),
            "f decoding": self.decoding,
            "g ours, resized on the CPU": lambda: self.ours("auto", "auto", resize_on_device=False),
            "h ours, by nvJPEG": lambda: self.ours("auto", "auto", nvjpeg=True),
        }

    def one_by_one(self) -> Run:
        model = init_detector(self.config, self.checkpoint, device=self.device)

        def run() -> None:
            with rotated_ops.uninstalled():
                for file in self.files.values():
                    inference_detector(model, str(file))

        return run

    def inferencer(self) -> Run:
        with contextlib.redirect_stdout(io.StringIO()):
            inferencer = DetInferencer(self.config, self.checkpoint, self.device, scope="mmrotate", show_progress=False)
        paths = [str(file) for file in self.files.values()]

        def run() -> None:
            with rotated_ops.uninstalled():
                inferencer(paths, batch_size=BATCH, return_datasamples=True, no_save_vis=True)

        return run

    def test_loop(self) -> Run:
        cfg = Config(self.config.to_dict())
        folder = Path(tempfile.mkdtemp())
        classes = configs.dataset_classes(cfg)
        labels = RotatedInstances.empty(list(self.files), classes)
        data = dataset.write(folder / "test.parquet", self.files, labels, classes)
        cfg.test_dataloader = {
            "batch_size": BATCH,
            "num_workers": cores(),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": {
                "type": components.RotatedInstancesDataset.__name__,
                "ann_file": str(data),
                "metainfo": {"classes": classes},
                "pipeline": cfg.test_dataloader.dataset.pipeline,
                "test_mode": True,
            },
        }
        cfg.test_evaluator = {"type": "mmdet.DumpDetResults", "out_file_path": str(folder / "detections.pkl")}
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

    def ours(self, precision: Any, engine: Any, **options: Any) -> Run:
        detector = Detector(self.config, self.checkpoint, self.device, precision=precision, engine=engine)

        def run() -> RotatedInstances:
            with tempfile.TemporaryDirectory() as out:
                return detector.predict(self.files, progress=False, out=out, **options)

        return run

    def forward_of_mmrotate(self) -> Run:
        model = init_detector(self.config, self.checkpoint, device=self.device)
        batches = self._normalised_batches(Detector(self.config, self.checkpoint, self.device))

        @torch.no_grad()
        def run() -> None:
            for batch in batches:
                model.bbox_head(model.extract_feat(batch))
            self._finish()

        return run

    def forward_of_ours(self, precision: Any, engine: Any) -> Run:
        detector = Detector(self.config, self.checkpoint, self.device, precision=precision, engine=engine)
        batches = self._normalised_batches(detector)
        model: Any = detector.model
        graph = graph_of(detector, batches[0][:1])

        def forward(batch: torch.Tensor) -> None:
            with (
                torch.no_grad(),
                torch.autocast(batch.device.type, torch.bfloat16, enabled=detector.precision == "bf16"),
            ):
                model.bbox_head(model.extract_feat(batch))

        def run() -> None:
            if self.device != "cpu":
                for batch in batches:
                    forward(batch)
                return self._finish()
            with graph.in_place() if graph else contextlib.nullcontext():
                threads = torch.get_num_threads()
                with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                    list(pool.map(forward, batches))
                torch.set_num_threads(threads)

        return run

    def decoding(self) -> Run:
        def run() -> None:
            with ThreadPoolExecutor(cores()) as pool:
                list(pool.map(images.read, self.files.values()))

        return run

    def _finish(self) -> None:
        """Wait for a GPU."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def _normalised_batches(self, detector: Detector) -> list[torch.Tensor]:
        """What the networks receive of the images."""
        pipeline = Compose(configs.array_pipeline(detector.config))
        model: Any = detector.model
        batches, files = [], list(self.files.values())
        size = BATCH if self.device == "cpu" else 32  # as ours by default
        for start in range(0, len(files), size):
            batch = files[start : start + size]
            prepared = [pipeline({"img": images.read(file, "BGR"), "img_id": ""}) for file in batch]
            batches.append(model.data_preprocessor(collate(prepared))["inputs"])
        return batches


def config_of(folder: Path, size: int | None) -> Config:
    """Return the config of a folder of al_rotate.finetune; images are resized to `size`, None for its own."""
    config = configs.load(folder / "config.py")
    if size:
        sides = {f"test_dataloader.dataset.pipeline.{k}": (size, size) for k in ("1.scale", "2.size")}
        config.merge_from_dict(sides, allow_list_keys=True)
    configs.without_pretrained(config)
    return config


def collate(prepared: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A batch as data preprocessors take it."""
    return {name: [image[name] for image in prepared] for name in ("inputs", "data_samples")}


def graph_of(detector: Detector, sample: torch.Tensor) -> OnnxNetwork | None:
    """The networks as the detector runs them in ONNX Runtime, for one thread per batch; None in PyTorch."""
    engine: Any = detector.engine
    return Engine(engine, detector.device, detector.precision).graph(detector.model, "benchmark", lambda: sample)
