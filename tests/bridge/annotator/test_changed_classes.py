"""Classes renamed, merged and added between two rounds: the project's labels, what goes out and what comes back."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
from helpers.bridge.label_studio import draw_labels, drawn, names_in, predicted
from helpers.noisy import CLASSES, NoisyLearner

from al_rotate import ActiveLoop
from al_rotate.bridge import Connection, connect
from al_rotate.bridge.conversion.label_config import read_xml

SIZE = (128, 128)
NOW = ("vessel", "plane", "truck")
NUMBERS = np.array([0, 1, 1])  # of ship, plane and court among these


def labels_of_project(studio, project):
    xml = studio.call("GET", f"projects/{project}/")["label_config"]
    return xml, {label.get("alias") or label.get("value"): label for label in ElementTree.fromstring(xml).iter("Label")}


def test_the_next_query_follows_changed_classes(studio, loop, project, truth, tmp_path):
    _, old = labels_of_project(studio, project)
    tasks = studio.by_image(project)
    left = next(i for i in tasks if truth[i].n_boxes)  # nobody answers it in its round
    for image_id, task in tasks.items():
        if image_id != left:
            studio.submit(task, draw_labels(truth[image_id]))
    with loop() as opened:
        opened.collect()
        opened.train()
        opened.rename_class("ship", "vessel")
        opened.merge_classes(["court"], "plane")
        opened.add_class("truck")
        queried = opened.query()["image_id"].tolist()

    xml, labels = labels_of_project(studio, project)
    assert read_xml(xml).classes == (*CLASSES, "truck")  # as annotations store them: what was drawn stays valid
    assert [label.get("value") for label in labels.values()] == ["vessel", "plane", "plane (was court)", "truck"]
    assert [labels[name].get("background") for name in CLASSES] == [old[name].get("background") for name in CLASSES]
    assert len({label.get("background") for label in labels.values()}) == 4
    assert [label.get("visible") for label in labels.values()] == [None, None, "false", None]
    connection = Connection.load(tmp_path / "work")
    assert tuple(connection.classes) == NOW
    assert connection.rename == {"court": "plane", "ship": "vessel", "plane": "plane"}

    # Connected again, as to have another policy, it still knows the labels.
    title = studio.call("GET", f"projects/{project}/")["title"]
    place = {name: getattr(connection, name) for name in ("document_root", "token_file")}
    again = connect(tmp_path / "work", studio.server.url, studio.server.token, NOW, title, policy="agreement", **place)
    assert again == replace(connection, policy="agreement")

    tasks = studio.by_image(project)
    sent = {name for image_id in queried for name in names_in(predicted(tasks[image_id])[0])}
    assert sent <= {"ship", "plane"}
    assert sent
    # One is answered under the labels of now, and the one that was left under those that it was shown with.
    studio.submit(
        tasks[queried[0]], [drawn([40, 40, 30, 12, 0.3], "ship", SIZE, "a"), drawn([80, 80, 30, 12, 1], "truck", SIZE)]
    )
    studio.submit(tasks[left], draw_labels(truth[left]))
    for image_id in queried[1:]:
        if image_id != left:
            studio.skip(tasks[image_id])
    with loop() as opened:
        opened.collect()
        collected = opened.workspace.labels()
    assert collected.classes == NOW
    assert collected[queried[0]].labels.tolist() == [0, 2]
    np.testing.assert_array_equal(collected[left].labels, NUMBERS[truth[left].labels])
    for image_id in collected.image_ids:
        if image_id not in queried:
            np.testing.assert_array_equal(collected[image_id].labels, NUMBERS[truth[image_id].labels])


def test_labels_that_people_renamed_follow_too(studio, truth, photographs, tmp_path):
    folder = tmp_path / "work"
    ActiveLoop(folder, photographs, CLASSES, budget=2, learner=NoisyLearner(truth)).close()
    project = studio.join(folder, CLASSES, rename={"boat": "ship"}).project
    with ActiveLoop(folder, learner=NoisyLearner(truth)) as opened:
        opened.rename_class("ship", "vessel")
        first = opened.query()["image_id"].tolist()
    xml, labels = labels_of_project(studio, project)
    assert read_xml(xml).classes == ("boat", "plane", "court")
    assert labels["boat"].get("value") == "vessel"
    tasks = studio.by_image(project)
    for image_id in first:
        studio.submit(tasks[image_id], [drawn([50, 50, 30, 12, 0.3], "boat", SIZE)])
    with ActiveLoop(folder, learner=NoisyLearner(truth)) as opened:
        opened.collect()
        assert opened.workspace.labels().labels.tolist() == [0, 0]
        assert opened.workspace.labels().classes == ("vessel", "plane", "court")
