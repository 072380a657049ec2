"""Which weights are current."""

from helpers.loops.workspace import BOX, CLASSES, IMAGES, finish, labels_of

from al_rotate.workspace import Weights, Workspace, current_weights
from al_rotate.workspace.versions import all_weights


def play_round(workspace, image_id):
    number = workspace.begin_round().number
    workspace.record_query(number, [image_id])
    workspace.record_answers(number, labels_of({image_id: [BOX]}))
    return finish(workspace, number).checkpoint


def test_weights_of_a_workspace_with_a_detector(tmp_path):
    with Workspace.create(tmp_path, IMAGES, CLASSES, {"checkpoint": "initial.pth", "cold": False}) as workspace:
        initial = Weights(tmp_path / "initial.pth", "initial")
        assert current_weights(workspace) == initial
        first = Weights(play_round(workspace, "a"), "round-000")
        workspace.begin_round()
        assert current_weights(workspace) == first  # the open round has none yet
        second = Weights(play_round(workspace, "b"), "round-001")
        assert all_weights(workspace) == [initial, first, second]
        assert [current_weights(workspace, before_round=number) for number in (0, 1, 2)] == [initial, first, second]


def test_random_weights_are_told_from_trained_ones(tmp_path):
    with Workspace.create(tmp_path, IMAGES, CLASSES, {"checkpoint": "initial.pth", "cold": True}) as workspace:
        assert not current_weights(workspace).is_trained
        play_round(workspace, "a")
        assert [weights.is_trained for weights in all_weights(workspace)] == [False, True]


def test_weights_of_a_workspace_without_a_detector(tmp_path):
    with Workspace.create(tmp_path, IMAGES, CLASSES, {"checkpoint": None}) as workspace:
        assert current_weights(workspace) is None
        assert all_weights(workspace) == []
        checkpoint = play_round(workspace, "a")
        assert current_weights(workspace) == Weights(checkpoint, "round-000")
        assert current_weights(workspace, before_round=0) is None
