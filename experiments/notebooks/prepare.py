"""What the notebooks share: rendered scenes, and a small detector trained on some of them. Made once, then reused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import al_rotate as al
from al_rotate.detection.small_models import small_rtmdet

SIZE = 192  # pixels: what a CPU can learn from in minutes
CONFIG = "rotated_rtmdet_tiny-3x-dota"
FOLDER = Path(os.environ.get("NOTEBOOKS_FOLDER") or Path(__file__).resolve().parents[2] / "build" / "notebooks")
QUICK = bool(os.environ.get("NOTEBOOKS_QUICK"))  # so few iterations that nothing is learnt: the tests take these


if "ipykernel" in sys.modules:  # photographs as PNG would make the notebooks large
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("jpeg", pil_kwargs={"quality": 85})


def scenes(name: str, n: int, size: int = SIZE, seed: int = 0) -> tuple[Path, al.RotatedInstances]:
    """Render scenes, or find those of an earlier call: the folder of images, and their labels."""
    folder = FOLDER / name
    if not (folder / "done").exists():
        al.synthetic.write_dataset(folder, n, size, seed)
        (folder / "done").touch()
    return folder / "images", al.dota.read(folder / "labelTxt", al.synthetic.CLASSES)


def detector(iterations: int | None = None, seed: int = 0) -> al.Detector:
    """Build a detector that knows nothing yet. It trains for `iterations` at a time."""
    import torch

    options = small_rtmdet(SIZE, iterations or (8 if QUICK else 120))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the weights are drawn from PyTorch's generator
        return al.Detector(CONFIG, cfg_options=options, classes=al.synthetic.CLASSES, device="cpu")


def trained_detector() -> al.Detector:
    """Train a detector on 160 scenes of its own, some minutes on two cores; later calls find it trained."""
    images, labels = scenes("start", 16 if QUICK else 160, seed=100)
    options = small_rtmdet(SIZE, 24 if QUICK else 800)
    trained = al.finetune(
        CONFIG, images, labels, al.synthetic.CLASSES, FOLDER / "detector", cfg_options=options, keep_checkpoints=False
    )
    return al.Detector(trained.config, trained.checkpoint, device="cpu")
