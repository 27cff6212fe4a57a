"""The notebooks run from top to bottom and are stored without outputs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = {  # how many cells end with something to be seen
    "01_patterns": 4,
    "02_regularize_your_model": 1,
    "03_search_your_model": 2,
    "04_reading_a_search": 2,
    "05_transformers": 2,
    "06_tpu": 0,
}


def code_of(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(PICTURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_opens_in_colab_and_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = code_of(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert "colab.research.google.com" in notebook.cells[0].source
    assert [cell.source for cell in code[:2]] == [
        cell.source for cell in code_of(nbformat.read(NOTEBOOKS[0], as_version=4))[:2]
    ]  # one way to install, and to say where it runs
    assert sum("%pip install" in cell.source for cell in code) == 1
    assert not any("/work" in cell.source or "/home" in cell.source for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    seen = ("image/png", "text/html", "application/vnd.jupyter.widget-view+json")
    assert sum(any(kind in output.get("data", {}) for kind in seen) for output in outputs) == PICTURES[path.stem]
    said = "".join(output.get("text", "") for output in outputs)
    assert "CPU runtime" in said or "GPU runtime" in said or "TPU runtime" in said
