import argparse
from pathlib import Path

import pytest

from al_rotate.cli.phrases import as_commands


@pytest.mark.parametrize(
    ("python", "commands"),
    [
        ("query() and collect() first", "`al-rotate query WORK` and `al-rotate collect WORK` first"),
        ("round 1 is not trained yet: train() first", "round 1 is not trained yet: `al-rotate train WORK` first"),
        ("such as bands=(4, 3, 2)", "such as --bands 4 3 2"),
        ("say how: stretch=(2, 98)", "say how: --stretch 2 98"),
        ("give e.g. class_map={'plane': 'pier'}", "give e.g. --map plane=pier"),
        ("expected a checkpoint with a class_map, got none", "expected a checkpoint with --map, got none"),
        ("nobody has looked at: read with empty='unlabelled'", "nobody has looked at: read with --empty unlabelled"),
        ("class_map={'a': 'b', 'c d': 'e'}", "--map a=b 'c d=e'"),
        ("cfg_options={'model.test_cfg.score_thr': 0.1}", "--cfg-options model.test_cfg.score_thr=0.1"),
        (
            "to take them over now, use add_labels(labels)",
            "to take them over now, use `al-rotate add WORK --labels FOLDER`",
        ),
        ("use add_images or unskip()", "use `al-rotate add WORK --images FOLDER` or `al-rotate unskip WORK`"),
        ("train or review, then report(x)", "train or review, then report(x)"),
        ("f(x) of my_query() and {'a': 'b'} stay", "f(x) of my_query() and {'a': 'b'} stay"),
    ],
)
def test_python_becomes_commands(python, commands):
    assert as_commands(python) == commands


def test_the_workspace_is_called_as_it_was_typed():
    arguments = argparse.Namespace(workspace=Path("my work"))
    assert as_commands("collect() first", arguments) == "`al-rotate collect 'my work'` first"
    assert as_commands("collect() first", argparse.Namespace(workspace=None)) == "`al-rotate collect WORK` first"
