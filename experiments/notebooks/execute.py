"""Execute the notebooks in place: ``python -m experiments.notebooks.execute``. They train on a CPU for some minutes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(file: Path) -> nbformat.NotebookNode:
    """Run a notebook where it lies, and return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: with the cell and its traceback.
    """
    notebook = nbformat.read(file, as_version=4)
    where = {"metadata": {"path": str(file.parent)}}
    quiet = ["--log-level=ERROR"]  # the kernel warns of a connection that stays on this machine
    NotebookClient(notebook, timeout=None, resources=where, extra_arguments=quiet).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of day
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    return notebook


def _is_progress(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a progress bar or what is left of one, or tqdm's advice on bars: for people who wait."""
    text = output.get("text", "")
    return output.get("name") == "stderr" and ("%|" in text or "TqdmWarning" in text or not text.strip())


def main() -> None:
    """Execute all notebooks, or those that are named, and save their outputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    for file in parser.parse_args().notebooks:
        start = time.perf_counter()
        nbformat.write(execute(file), file)
        print(f"{file.name}: {time.perf_counter() - start:.0f} s, {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
