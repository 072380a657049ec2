"""The demo: rounds of active learning on rendered scenes, on a CPU, in minutes."""

from __future__ import annotations

from pathlib import Path

from ..data import images, synthetic
from ..detection.small_models import small_rtmdet
from ..loop import ActiveLoop, SimulatedAnnotator
from ..loop.settings import LoopSettings
from ..sampling import Budget

SIZE = 192  # pixels: what a CPU can learn from in minutes
POOL, TEST = 200, 80  # scenes
BUDGET = 30  # images per round
ITERATIONS = 300  # of each training
CONFIG = "rotated_rtmdet_tiny-3x-dota"


def run(folder: str | Path, rounds: int = 3, strategy: str = LoopSettings.strategy, seed: int = 0) -> ActiveLoop:
    """Render scenes, run the loop on them with a simulated annotator, and write the report.

    Args:
        folder: the workspace; scenes go to ``folder/scenes``. The same call after a kill resumes.
        rounds: total number of rounds.
        strategy: which selects the images of each round.
        seed: of the scenes and of the loop.

    Returns:
        The loop, still open.
    """
    import torch

    from ..detection import Detector

    folder = Path(folder)
    scenes = folder / "scenes"
    pool = synthetic.write_dataset(scenes / "pool", POOL, SIZE, seed)
    test = synthetic.write_dataset(scenes / "test", TEST, SIZE, seed + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the weights are drawn from PyTorch's generator
        detector = Detector(CONFIG, cfg_options=small_rtmdet(SIZE, ITERATIONS), classes=synthetic.CLASSES)
    loop = ActiveLoop(
        folder,
        images=scenes / "pool" / "images",
        classes=synthetic.CLASSES,
        detector=detector,
        strategy=strategy,
        budget=Budget(images=BUDGET),
        annotator=SimulatedAnnotator(pool),
        test=(images.find(scenes / "test" / "images"), test),
        seed=seed,
    )
    loop.run(rounds)
    loop.report()
    return loop
