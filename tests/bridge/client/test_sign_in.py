"""Signing in to a real server, tokens, and finding a project."""

import base64
import json

import pytest
from helpers.bridge.label_studio import CLASSES
from helpers.bridge.proxy import Fault, proxy_to

from al_rotate.bridge.client import LabelStudio, LabelStudioError, NotAllowed


def test_signing_in(studio):
    with pytest.raises(LabelStudioError, match=r"no Label Studio answers at http://127\.0\.0\.1:9"):
        LabelStudio.connect("http://127.0.0.1:9", "x" * 40)
    with pytest.raises(NotAllowed, match=r"does not take this token .*set LABEL_STUDIO_API_KEY"):
        LabelStudio.connect(studio.server.url, "0" * 40)
    with pytest.raises(NotAllowed, match=r"expected a token .*, got none"):
        LabelStudio.connect(studio.server.url, "")
    with pytest.raises(ValueError, match="expected an address like http://localhost:8080, got 'localhost'"):
        LabelStudio.connect("localhost", "x")


def test_a_personal_access_token(studio, pool):
    """The SDK exchanges it for short-lived ones."""
    token = studio.call("POST", "token/")["token"]
    client = LabelStudio.connect(studio.server.url, token)
    project = studio.project()
    studio.push(project, pool, client=client)
    assert len(client.pull(project).reading.unanswered) == len(pool.files)
    parts = token.split(".")
    with pytest.raises(NotAllowed):
        LabelStudio.connect(studio.server.url, ".".join([*parts[:2], parts[2][::-1]]))


def test_a_revoked_token(studio, pool):
    """Neither push nor pull retries for minutes, or takes it for an empty project."""
    project = studio.project()
    studio.push(project, pool)
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        proxy.faults = [Fault("refuse", method, "/api/", status=401, times=99) for method in ("GET", "POST")]
        with pytest.raises(NotAllowed, match="set LABEL_STUDIO_API_KEY"):
            client.pull(project)
        with pytest.raises(NotAllowed, match="set LABEL_STUDIO_API_KEY"):
            studio.push(project, pool, client=client)


def test_an_expired_token():
    """A personal access token contains its own expiry; no server is asked."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"exp": 1_600_000_000, "token_type": "refresh"}, {})
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    with pytest.raises(NotAllowed, match="does not take this token"):
        LabelStudio.connect("http://127.0.0.1:9", token)
    with pytest.raises(NotAllowed, match="odd characters"):
        LabelStudio.connect("http://127.0.0.1:9", "tökenx")


def test_a_project_is_found_again(studio):
    project = studio.client.open_project("one of its kind", CLASSES)
    assert studio.client.open_project("one of its kind", CLASSES) == project
    assert studio.call("GET", f"projects/{project}/")["sampling"] == "Sequential sampling"
    with pytest.raises(ValueError, match="it lacks plane and has ship, storage tank, Kühlturm & Co"):
        studio.client.open_project("one of its kind", ("ship", "plane"))
    with pytest.raises(ValueError, match="title of 3 to 50 characters"):
        studio.client.open_project("no", CLASSES)
