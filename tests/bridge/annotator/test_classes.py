"""Projects whose labels have other names or another order than the workspace's classes, and other workspaces'."""

import json

import numpy as np
import pytest
from helpers.bridge.label_studio import draw_labels, drawn, names_in, predicted
from helpers.noisy import CLASSES, NoisyLearner

from al_rotate import ActiveLoop
from al_rotate.bridge import Connection, connect
from al_rotate.bridge.conversion.label_config import to_xml


def test_a_renamed_label_loses_nothing(studio, loop, project, truth, tmp_path):
    tasks = studio.by_image(project)
    first = next(image_id for image_id in tasks if {0, 1} & {*truth[image_id].labels})
    xml = studio.call("GET", f"projects/{project}/")["label_config"]
    new_names = {"ship": "boat", "plane": "jet", "court": "court"}
    for old, new in new_names.items():
        xml = xml.replace(f'value="{old}"', f'value="{new}"')
    studio.call("PATCH", f"projects/{project}/", {"label_config": xml})
    studio.submit(tasks[first], draw_labels(truth[first], [new_names[name] for name in CLASSES]))
    with loop() as opened:
        with pytest.raises(ValueError, match=r"it lacks ship, plane and has boat, jet, court: .* --rename"):
            opened.collect()
        assert opened.workspace.counts()["queried"] == 4
    settings = tmp_path / "work" / "label_studio.json"
    rename = {"boat": "ship", "jet": "plane"}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"rename": rename}))
    with loop() as opened:
        opened.collect()
        assert opened.workspace.labels().image_ids.tolist() == [first]
        np.testing.assert_array_equal(opened.workspace.labels().labels, truth[first].labels)
        for image_id, task in tasks.items():
            if image_id != first:
                studio.submit(task, [])
        opened.collect()
        opened.train()
        queried = opened.query()["image_id"]  # predictions go out under the labels' new names
    tasks = studio.by_image(project)
    labels = {name for image_id in queried for name in names_in(predicted(tasks[image_id])[0])}
    assert labels <= {*new_names.values()}
    assert labels & {"boat", "jet"}


def test_labels_in_another_order(studio, loop, project, truth, tmp_path):
    """All are skipped, then somebody answers after all: nothing is pushed, and the classes are still ours."""
    studio.call("PATCH", f"projects/{project}/", {"label_config": to_xml(CLASSES[::-1])})
    tasks = studio.by_image(project)
    for task in tasks.values():
        studio.skip(task)
    with loop() as opened:
        assert (opened.collect()["status"] == "skipped").all()
    for image_id, task in tasks.items():
        studio.submit_labels(task, truth[image_id])
    with loop() as opened:
        assert (opened.collect()["status"] == "labelled").all()
        np.testing.assert_array_equal(opened.workspace.labels().labels, truth.subset(sorted(tasks)).labels)


def test_labels_with_other_names(studio, truth, photographs, tmp_path):
    """Renamed on connecting: a new project has the labels' names, and boxes come back as our classes."""
    folder = tmp_path / "work"
    ActiveLoop(folder, photographs, CLASSES, budget=2, learner=NoisyLearner(truth)).close()
    project = studio.join(folder, CLASSES, rename={"boat": "ship"}).project
    assert 'value="boat"' in studio.call("GET", f"projects/{project}/")["label_config"]
    with ActiveLoop(folder, learner=NoisyLearner(truth)) as opened:
        queried = opened.query()["image_id"].tolist()
        for task in studio.by_image(project).values():
            studio.submit(task, [drawn([50, 50, 30, 12, 0.3], "boat", (128, 128))])
        opened.collect()
        assert sorted(opened.workspace.labels().image_ids) == sorted(queried)
        assert opened.workspace.labels().labels.tolist() == [CLASSES.index("ship")] * 2


def test_another_workspace_of_the_same_name(studio, loop, project, truth, photographs, tmp_path):
    title = studio.call("GET", f"projects/{project}/")["title"]
    other = tmp_path / "elsewhere" / title
    ActiveLoop(other, photographs, CLASSES, budget=2, learner=NoisyLearner(truth)).close()
    with pytest.raises(ValueError, match="and holds another workspace's tasks: say --project"):
        connect(other, studio.server.url, studio.server.token, CLASSES, images="upload")
    assert Connection.load(other) is None
    assert connect(other, studio.server.url, studio.server.token, CLASSES, title, images="upload").project == project
