"""A project's labels after classes were changed, on a server that may refuse."""

import pytest
from helpers.bridge.proxy import Fault, proxy_to

from al_rotate.bridge.client import LabelStudio, LabelStudioError
from al_rotate.bridge.client.labels import follow_classes
from al_rotate.bridge.conversion.label_config import read_xml

BEFORE = ("ship", "plane")


def labels_of(studio, project):
    return read_xml(studio.call("GET", f"projects/{project}/")["label_config"]).classes


def test_a_server_that_takes_no_other_labels(studio):
    project = studio.project(BEFORE)
    with proxy_to(studio.server.url) as proxy:
        api = LabelStudio.connect(proxy.url, studio.server.token).api
        proxy.faults.append(Fault("refuse", "PATCH", "/api/projects", 400, times=2))
        with pytest.raises(LabelStudioError, match=r"does not take the new labels \(.*400.*\): add truck in Settings"):
            follow_classes(api, project, ("vessel", "plane", "truck"), BEFORE, (0, 1), {})
        with pytest.warns(UserWarning, match=f"project {project} goes on showing the classes' former names"):
            assert follow_classes(api, project, ("vessel", "plane"), BEFORE, (0, 1), {}) == {"ship": "vessel"}
        assert labels_of(studio, project) == BEFORE
        # Somebody adds the label by hand, or the server takes it now, and asked again it has it.
        for _ in range(2):
            rename = follow_classes(api, project, ("vessel", "plane", "truck"), BEFORE, (0, 1), {})
            assert rename == {"ship": "vessel"}
            assert labels_of(studio, project) == (*BEFORE, "truck")


def test_labels_that_people_named_otherwise(studio):
    project = studio.project(("boat", "plane", "cloud"))
    classes = ("vessel", "plane")
    rename = follow_classes(studio.client.api, project, classes, ("ship", "plane"), (0, 1), {"boat": "ship"})
    assert rename == {"ship": "vessel", "boat": "vessel"}  # the last is the one that the project has
    assert labels_of(studio, project) == ("boat", "plane", "cloud")
    # A label of a merged class that the project does not have is no label to send boxes under.
    merged = follow_classes(studio.client.api, project, ["plane"], ["plane", "jet"], [0, 0], {})
    assert list(merged.items()) == [("jet", "plane"), ("plane", "plane")]
