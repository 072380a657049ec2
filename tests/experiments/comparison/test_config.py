"""Configs are complete, and workspaces keep the names that they had before."""

import pytest

from experiments.comparison.config import Cell, cell_folder, digest, load_config
from experiments.paths import COMPARISONS


def test_a_config_with_an_unknown_key_is_refused(tmp_path, write_config):
    with pytest.raises(ValueError, match="iteration"):
        load_config(write_config(tmp_path, iteration=3))


def test_workspaces_are_found_where_earlier_versions_left_them(tmp_path):
    config = load_config(COMPARISONS / "scenes_images.yaml")
    first = cell_folder(tmp_path, config, Cell((0, 0, 0), 3, 0, ""))
    later = cell_folder(tmp_path, config, Cell((0, 2, 5), 3, 2, "entropy-max"))
    assert first == tmp_path / "first" / "99893f490975-3"
    assert later == tmp_path / "cells" / "1f87cfc8035c-3"


def test_the_order_of_keys_makes_no_difference():
    assert digest({"a": 1, "b": 2}, 3) == digest({"b": 2, "a": 1}, 3) != digest({"a": 1, "b": 2}, 4)
