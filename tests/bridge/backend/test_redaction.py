"""Tokens and passwords stay out of logs and texts."""

import io
import logging

import pytest

from al_rotate.bridge.backend.redaction import HIDDEN, Redactor

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"the token is {TOKEN}.", f"the token is {HIDDEN}."),
        (f"{TOKEN}{TOKEN}", f"{HIDDEN}{HIDDEN}"),
        ("Authorization: Token ffffffffffffffffffff", f"Authorization: Token {HIDDEN}"),
        ("authorization: bearer eyJhbGciOiJIUzI1NiJ9.e30.x-y_z=", f"authorization: bearer {HIDDEN}"),
        ("Basic dXNlcjpwYXNzd29yZA==", f"Basic {HIDDEN}"),
        ("https://s3/x.png?X-Amz-Signature=abc&w=3", f"https://s3/x.png?X-Amz-Signature={HIDDEN}&w=3"),
        ('{"access_token": "abc", "title": "t"}', f'{{"access_token": "{HIDDEN}", "title": "t"}}'),
        ("password=hunter2 user=a", f"password={HIDDEN} user=a"),
        ("3 tokens, one basic training, and a key", "3 tokens, one basic training, and a key"),
    ],
)
def test_what_is_redacted(text, redacted):
    assert Redactor(TOKEN).redact(text) == redacted


def test_short_secrets_stay():
    """They would blot out words."""
    assert Redactor("a", "", None).redact("a cat") == "a cat"


def test_a_secret_within_another():
    assert Redactor("secret", "secretary").redact("secretary") == HIDDEN


@pytest.fixture
def logged():
    """A logger that redacts, and its output."""
    log, text = logging.Logger("test"), io.StringIO()
    log.addHandler(logging.StreamHandler(text))
    log.addFilter(Redactor(TOKEN))
    return log, text


def test_log_records(logged):
    log, text = logged
    log.info("%s has %d tasks, %.1f s, %s", TOKEN, 3, 0.5, None)
    log.info("%(who)s", {"who": f"Token {TOKEN}"})
    log.info(ValueError(TOKEN))
    log.info("%s", {"deep": [TOKEN]})
    assert TOKEN not in text.getvalue()
    lines = text.getvalue().splitlines()
    assert lines[:2] == [f"{HIDDEN} has 3 tasks, 0.5 s, None", f"Token {HIDDEN}"]
    assert len(lines) == 4


def test_tracebacks(logged):
    log, text = logged
    try:
        raise ValueError(f"no project for {TOKEN}")
    except ValueError:
        log.exception("failed")
    assert TOKEN not in text.getvalue()
    assert f"ValueError: no project for {HIDDEN}" in text.getvalue()
