"""Whole detectors: their configs have one size throughout; in comparisons all trainings start from the same weights."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from mmengine.config import Config

import al_rotate as al
from al_rotate.detection.small_models import small_rtmdet
from experiments.comparison import cells
from experiments.comparison.cells import run_cell
from experiments.comparison.config import cell_folder, list_cells, load_config
from experiments.learners import whole_detector
from experiments.learners.pools.tile_pool import Recipe
from experiments.paths import DETECTORS

SIZE = 64


@pytest.fixture(params=[320, 640])
def config(request):
    path = DETECTORS / f"rtmdet_lite0_{request.param}.py"
    # Without its backbone, which needs requirements/experiments.txt.
    return Config.fromfile(path, import_custom_modules=False), request.param


def test_one_size_throughout(config):
    parsed, size = config
    for loader in (parsed.train_dataloader, parsed.test_dataloader):
        steps = {step["type"]: step for step in loader.dataset.pipeline}
        assert tuple(steps["mmdet.Resize"]["scale"]) == (size, size)
        assert tuple(steps["mmdet.Pad"]["size"]) == (size, size)


def test_the_backbone_is_found_from_the_repositorys_root(config):
    parsed, _ = config
    assert [*parsed.custom_imports.imports] == ["experiments.learners.lite0"]
    assert find_spec("experiments.learners.lite0")


@pytest.fixture(scope="module")
def compared(tmp_path_factory, photographs, write_config):
    """A comparison with a small detector that trains all its layers: its folder, its workspace and its rows."""
    work = tmp_path_factory.mktemp("work")
    al.Detector("rotated_rtmdet_tiny-3x-dota", None, "cpu", small_rtmdet(SIZE), ["ship"]).config.dump(work / "small.py")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(cells.POOLS, "photos", Recipe("photos", 160, SIZE))
        patched.setattr(whole_detector, "DETECTORS", work)
        written = write_config(
            work,
            pool="photos",
            detector="small",
            known=4,
            first_iterations=3,
            lr=1e-3,
            training={"least": 2, "most": 2},
            budget={"seconds": [60]},
            cost={"image": 4},
            arms={"random": None},
            seeds=[0],
        )
        config = load_config(written)
        rows = [run_cell(work, photographs, config, cell) for cell in list_cells(config)]
    return work, cell_folder(work, config, list_cells(config)[-1]), rows


@pytest.mark.mm
def test_a_comparison_trains_all_layers_from_the_weights_of_its_start(compared):
    work, workspace, rows = compared
    assert [row["iterations"] for row in rows] == [2, 2]
    assert not [*(work / "pools" / "photos").glob("features*")]
    (start,) = (work / "known").iterdir()
    assert Config.fromfile(start / "config.py").train_cfg.max_iters == 3
    before = torch.load(start / whole_detector.WEIGHTS, weights_only=False)["state_dict"]
    folder = workspace / "rounds" / "001" / "training"
    after = torch.load(folder / whole_detector.WEIGHTS, weights_only=False)["state_dict"]
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved >= {"backbone", "neck", "bbox_head"}
    trained = Config.fromfile(folder / "config.py")
    assert (trained.train_cfg.max_iters, trained.optim_wrapper.optimizer.lr) == (2, 1e-3)
    assert rows[1]["asked"]
    assert np.isfinite(rows[1]["mAP"])
