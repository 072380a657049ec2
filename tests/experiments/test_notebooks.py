"""The notebooks run, as they stand: with trainings too short to learn, their outputs are those of long ones."""

from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbclient")
pytest.importorskip("mmrotate")

from experiments.notebooks.execute import FOLDER, execute

STUDIO = Path(__file__).parents[2] / ".venv-studio"
BOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTEBOOKS_QUICK", "1")
        patch.setenv("NOTEBOOKS_FOLDER", str(tmp_path_factory.mktemp("notebooks")))
        yield


@pytest.mark.mm
@pytest.mark.parametrize("file", BOOKS, ids=lambda file: file.stem)
def test_it_runs(file, quick):
    if "label_studio" in file.stem and not STUDIO.exists():
        pytest.skip("needs make setup-studio")
    execute(file)


def test_there_are_six_with_outputs_and_small():
    assert [file.name[0] for file in BOOKS] == list("123456")
    for file in BOOKS:
        code = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)], file.name
        assert not any(output.output_type == "error" for cell in code for output in cell.outputs), file.name
        assert file.stat().st_size < 1_500_000, file.name
