"""An export of Label Studio."""

from pathlib import Path

import pytest
from helpers.bridge.exports import TASKS, write_export


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The file with all six tasks."""
    return write_export(tmp_path, TASKS)
