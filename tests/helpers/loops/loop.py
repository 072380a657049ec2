"""A loop on drawn labels with a noisy learner: no image is opened and nothing is slow."""

from al_rotate.data import RotatedInstances
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from helpers.loops.kills import play_killed
from helpers.noisy import CLASSES, NoisyLearner, labels_of

# Nobody measured these images: labels that know an image's size are compared with its file.
POOL, TEST = (labels.replace(image_sizes=None) for labels in (labels_of(24), labels_of(8, "test")))
TRUTH = RotatedInstances.concat([POOL, TEST])
FILES = {image_id: f"/images/{image_id}.png" for image_id in POOL.image_ids}  # this learner opens no image
TEST_FILES = {image_id: f"/images/{image_id}.png" for image_id in TEST.image_ids}
BY_THE_MEAN = {"strategy": "entropy", "strategy_options": {"how": "mean"}}  # asks for images with few boxes, too


def make(folder, **changes):
    arguments = {
        "images": FILES,
        "classes": CLASSES,
        "budget": 5,
        "annotator": SimulatedAnnotator(POOL),
        "test": (TEST_FILES, TEST),
        "learner": NoisyLearner(TRUTH),
    }
    return ActiveLoop(folder, **{**arguments, **changes})


def queried(workspace):
    return [workspace.query(r.number)["image_id"].tolist() for r in workspace.rounds()]


def play(folder):
    with make(folder) as loop:
        loop.run(2)


def turning_points(changes):
    """Before and after a file takes its name or a transaction ends, by turns, and while weights are written."""
    turning = [k for k, change in enumerate(changes, 1) if change.startswith(("os.rename", "COMMIT"))]
    chosen = [k + turn % 2 for turn, k in enumerate(turning)]
    chosen += [k for k, change in enumerate(changes, 1) if change.startswith("open") and "/training/" in change][1:3]
    return sorted({*chosen} - {len(changes) + 1})


def play_all(root):
    play_killed(play, root, turning_points)


def play_changes(folder):
    """Labels that exist already, a round, images, a class and a test set more, and a round that is undone."""
    first = {image_id: FILES[image_id] for image_id in POOL.image_ids[:16].tolist()}
    with make(folder, images=first, labels=POOL.subset([*first][:4])) as loop:
        if not any(past.stage == "trained" for past in loop.workspace.rounds()):
            loop.train()
        done = loop.workspace.changes()["what"].tolist()
        if "merge_classes" not in done:
            loop.merge_classes(["court"], into="ship")
        if "add_images" not in done:
            loop.add_images(FILES)
        if "set_test" not in done:
            loop.set_test(TEST_FILES, TEST.replace(labels=TEST.labels % 2, classes=CLASSES[:2]))
        loop.remove_images(POOL.image_ids[-2:].tolist())
        if "undo_last_round" not in done:
            loop.query()
            loop.undo_last_round()
        loop.run(2)


def play_all_changes(root):
    play_killed(play_changes, root, lambda changes: turning_points(changes)[::3])
