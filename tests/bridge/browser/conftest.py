"""A browser at the real server, and a project with one picture."""

import os
from pathlib import Path

import pytest
from helpers.bridge import harbour
from helpers.bridge.browser import CHROMIUM, DRIVER, browser_at


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The folder of screenshots: $AL_ROTATE_SCREENSHOTS if that is set."""
    return Path(os.environ.get("AL_ROTATE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(scope="session")
def opened(studio, tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    with browser_at(studio, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(opened):
    """A browser in which nobody has changed the page's settings."""
    opened.forget_settings()
    return opened


@pytest.fixture
def picture(studio, tmp_path):
    """A picture with three objects, which the server can show."""
    return harbour.draw(studio.root / tmp_path.name / "harbour.png")


@pytest.fixture
def task(studio, picture):
    """A new project with one task: three objects, and predicted boxes that lie on them."""
    project = studio.project(harbour.CLASSES)
    return project, harbour.push(studio, project, picture, harbour.detect())


@pytest.fixture
def joined_labels(studio):
    """A project as earlier releases made it, with RectangleLabels."""
    labels = "".join(f'<Label value="{name}" hotkey="{k}"/>' for k, name in enumerate(harbour.CLASSES, start=1))
    xml = f"""<View><Image name="image" value="$image"/>
    <RectangleLabels name="label" toName="image" canRotate="true" strokeWidth="2" opacity="0.15">{labels}
    </RectangleLabels></View>"""
    for name in harbour.CLASSES:
        colour = "".join(f"{part:02x}" for part in harbour.colour_of(name))
        xml = xml.replace(f'value="{name}"', f'value="{name}" background="#{colour}"')
    body = {"title": "of an earlier release", "label_config": xml, "show_collab_predictions": True}
    return studio.call("POST", "projects/", body)["id"]
