"""What the operator is told: one line each, on the console and the page; tracebacks in the log file."""

import logging

import pytest

from al_rotate.bridge.backend.app import instructions
from al_rotate.bridge.backend.journal import NOTES, Journal, in_one_line
from al_rotate.bridge.backend.options import ServeOptions
from al_rotate.bridge.backend.redaction import HIDDEN, Redactor, shorten

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def journal(tmp_path):
    journal = Journal(Redactor(TOKEN), tmp_path / "backend")
    logger = logging.getLogger("al_rotate.bridge.backend")
    logger.addFilter(journal.redactor)
    yield journal
    logger.removeFilter(journal.redactor)


def raised(error):
    """An exception with its traceback."""
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_foreign_exception_is_one_line_and_its_traceback_is_in_the_log(journal, capsys):
    error = raised(RuntimeError(f"CUDA error:\n  out of memory for {TOKEN}\n"))
    with journal.logged():
        journal.fail("a prediction", error)
        journal.note("task 3", error)
        journal.note("task 4", "no such file")
    log = journal.log_file.read_text()
    line = f"RuntimeError: CUDA error: out of memory for {HIDDEN}"
    where = f"; the traceback is in {journal.log_file}"
    assert journal.last_error[1] == f"a prediction: {line}{where}"
    assert [(note.where, note.why) for note in journal.notes] == [("task 3", line), ("task 4", "no such file")]
    assert capsys.readouterr().err.splitlines() == [
        f"al_rotate: a prediction: {line}{where}",
        f"al_rotate: task 3: {line}",
        "al_rotate: task 4: no such file",
    ]
    assert log.count("Traceback") == 2
    assert "raise error" in log
    assert TOKEN not in log


def test_repeated_notes_are_counted(journal):
    for _ in range(3):
        journal.note("task 1", "gone")
        journal.note("task 2", "gone")
    assert [(note.where, note.times) for note in journal.notes] == [("task 1", 3), ("task 2", 3)]
    for number in range(NOTES + 5):
        journal.note(f"task {number}", "late")
    assert len(journal.notes) == NOTES
    assert journal.notes[-1].where == f"task {NOTES + 4}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n b\t c ", "a b c"),
        ("\ud800 \x1b[31mred", r"\ud800 \x1b[31mred"),
        ("Kühlturm \u202e", r"Kühlturm \u202e"),
        ("a" * 2000, "a" * 1000 + "..."),
        ("", ""),
    ],
)
def test_lines_are_printable_and_short(journal, text, line):
    assert shorten(text) == line
    journal.note("here", text)
    (note,) = journal.notes
    assert note.why == line


def test_exceptions_of_ours_speak_for_themselves():
    from al_rotate.bridge.conversion.label_config import read_xml

    with pytest.raises(ValueError, match="expected") as caught:
        read_xml("<View/>")
    assert in_one_line(caught.value).startswith("expected one RectangleLabels")
    assert in_one_line(raised(KeyError("bbox_head"))) == "KeyError: bbox_head"
    assert in_one_line(raised(MemoryError())) == "MemoryError:"


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        (
            {},
            ["Backend URL: http://127.0.0.1:8003\n", "method: No Authentication", "ML_BLOCK_LOCAL_IP=false"],
            ["Basic"],
        ),
        ({"host": "::1", "port": 9}, ["Backend URL: http://[::1]:9\n"], []),
        (
            {"host": "10.0.0.5", "user": "me", "password": "a secret word", "label_studio": "http://studio:8080/"},
            [
                "In http://studio:8080, project",
                "http://10.0.0.5:8003\n",
                "method: Basic Authentication\n",
                "user: me\n",
            ],
            ["secret", "ML_BLOCK_LOCAL_IP", "Webhooks"],
        ),
        (
            {"host": "10.0.0.5", "user": "it's me", "password": "pw", "train_every": 3},
            ["Webhooks", """echo "Basic $(printf %s 'it'"'"'s me':"$AL_ROTATE_PASSWORD" | base64 | tr -d "\\n")\""""],
            [],
        ),
    ],
)
def test_what_to_paste_where(options, said, unsaid):
    text = instructions(ServeOptions(config="x", checkpoint="y", **options), "weights-12345678")
    assert text.startswith("al_rotate serves weights-12345678 at http://")
    assert all(words in text for words in said), text
    assert not [words for words in unsaid if words in text]
