"""Advice on whether to stop, by the rounds of a workspace: what `al-rotate status` says."""

import pandas as pd
from helpers.built import upright

from al_rotate import RotatedInstances, Workspace
from al_rotate.sampling.stopping import advise
from al_rotate.workspace import COST_COLUMNS
from al_rotate.workspace.progress import advise_on


def test_a_history_says_what_the_last_round_gained(tmp_path):
    """Four rounds of one image, with two boxes and half an hour each, and a fifth that is open."""
    ids = {f"i{k}": f"i{k}.png" for k in range(5)}
    (tmp_path / "model.pth").touch()
    with Workspace.create(tmp_path / "work", ids, ("ship", "plane"), {"root": "images"}) as workspace:
        for k, mean_ap in enumerate([0.2, 0.4, 0.5, 0.55, None]):
            number = workspace.begin_round().number
            workspace.record_query(number, [f"i{k}"], [0.5], "entropy")
            if mean_ap is None:
                break
            labels = upright(*[[]] * k, [(10, 0.9, 0), (40, 0.9, 1)]).subset([f"i{k}"]).replace(scores=None)
            costs = pd.DataFrame({"image_id": [f"i{k}"], "seconds": [1800.0]})
            workspace.record_answers(number, labels, costs=costs.reindex(columns=["image_id", *COST_COLUMNS]))
            workspace.close_collection(number)
            workspace.record_training(number, tmp_path / "model.pth", {"mAP": mean_ap})
        rows = workspace.history()
    assert "The last round (1 image, 0.5 h) gained 5.0 mAP points" in advise(rows).reason


def trained(folder, maps, files):
    """A round of one image each, whose detections of each round on the same images stand in `files`."""
    (folder / "model.pth").touch()
    with Workspace.create(folder / "work", {f"i{k}": "i.png" for k in range(9)}, ("ship", "plane"), {}) as workspace:
        for k, mean_ap in enumerate(maps):
            current = workspace.begin_round()
            for name, rounds in files.items():
                rounds[k].save(current.folder / name / "0.parquet")
            workspace.record_query(k, [f"i{k}"])
            workspace.record_answers(k, RotatedInstances.empty([f"i{k}"], ("ship", "plane")))
            workspace.close_collection(k)
            workspace.record_training(k, folder / "model.pth", {} if mean_ap is None else {"mAP": mean_ap})
    return Workspace.open(folder / "work", read_only=True)


def detections(*places):
    return [upright([(x, 0.9, 0)]).replace(classes=("ship", "plane")) for x in places]


def test_test_images_decide_whether_detections_have_settled(tmp_path):
    maps = [0.5, 0.5, 0.5, 0.5]
    still, moving = detections(10, 10, 10, 10), detections(10, 10, 10, 90)
    for name, test_detections, expected in (("still", still, (True, 1.0)), ("moving", moving, (False, 0.0))):
        (tmp_path / name).mkdir()
        workspace = trained(tmp_path / name, maps, {"test_detections": test_detections, "detections": still})
        advice = advise_on(workspace)
        assert (advice.stop, advice.agreement) == expected


def test_without_a_test_set_the_pool_does(tmp_path):
    workspace = trained(tmp_path, [None] * 4, {"detections": detections(10, 12, 12, 12)})
    advice = advise_on(workspace)
    assert advice.agreement == 1.0
    assert advice.reason.startswith("Stop" if advice.stop else "Go on")
    assert "The last round" not in advice.reason  # nothing is measured


def test_an_empty_workspace(tmp_path):
    with Workspace.create(tmp_path, {"a": "a.png"}, ("ship",), {}) as workspace:
        assert advise_on(workspace).stop is None
