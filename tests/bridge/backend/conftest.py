"""Image hosts, a document root, and the service of a small detector."""

import pytest
from fastapi.testclient import TestClient
from helpers.bridge.image_host import PNG, image_host

from al_rotate.bridge.backend.app import create_app
from al_rotate.bridge.backend.models import CheckpointModels
from al_rotate.bridge.backend.options import ServeOptions
from al_rotate.bridge.backend.service import Service


@pytest.fixture
def host():
    with image_host() as made:
        yield made


@pytest.fixture
def other():
    with image_host() as made:
        yield made


@pytest.fixture
def root(tmp_path):
    """A document root with an image in it, and others outside of it."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a b.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "root-sibling").mkdir()
    (tmp_path / "root-sibling" / "x.png").write_bytes(PNG)
    return folder


@pytest.fixture
def score_thr():
    """The least score of a box that the service shows."""
    return 0.05


@pytest.fixture(scope="session")
def served_detector(finetuned, many_boxes):
    """The small detector as a service loads it, in the precision that this machine computes fastest."""
    from al_rotate.detection.detector import Detector

    return Detector(finetuned.config, finetuned.checkpoint, "cpu", many_boxes)


@pytest.fixture
def open_service(scenes, finetuned, many_boxes, score_thr, tmp_path):
    """Starts a service of the small detector, or of another source; options as of ServeOptions."""
    opened = []

    def open_service(source=None, **options):
        arguments = (finetuned.config, finetuned.checkpoint, "cpu", many_boxes, tmp_path / "backend")
        source = source or CheckpointModels(*arguments)
        options = {"score_thr": score_thr, "document_root": scenes.images.parent} | options
        opened.append(Service(source, ServeOptions(**options)).start())
        return opened[-1]

    yield open_service
    for service in opened:
        service.stop()


@pytest.fixture
def service(open_service):
    return open_service()


@pytest.fixture
def http():
    """Makes a client of a service's application; options as of ServeOptions."""

    def http(service, **options):
        app = create_app(service, ServeOptions(**options) if options else None)
        return TestClient(app, base_url="http://127.0.0.1:8003", raise_server_exceptions=False)

    return http
