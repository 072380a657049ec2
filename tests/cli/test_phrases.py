import pytest

from al_rotate.cli.phrases import as_commands


@pytest.mark.parametrize(
    ("python", "commands"),
    [
        ("query() and collect() first", "`al-rotate query` and `al-rotate collect` first"),
        ("round 1 is not trained yet: train() first", "round 1 is not trained yet: `al-rotate train` first"),
        ("such as bands=(4, 3, 2)", "such as --bands 4 3 2"),
        ("say how: stretch=(2, 98)", "say how: --stretch 2 98"),
        ("give e.g. class_map={'plane': 'pier'}", "give e.g. --map plane=pier"),
        ("class_map={'a': 'b', 'c d': 'e'}", "--map a=b 'c d=e'"),
        ("cfg_options={'model.test_cfg.score_thr': 0.1}", "--cfg-options model.test_cfg.score_thr=0.1"),
        (
            "to take them over now, call add_labels(labels)",
            "to take them over now, call `al-rotate add WORK --labels ...`",
        ),
        ("f(x) of my_query() and {'a': 'b'} stay", "f(x) of my_query() and {'a': 'b'} stay"),
    ],
)
def test_python_becomes_commands(python, commands):
    assert as_commands(python) == commands
