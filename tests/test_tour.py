"""The notebook: it runs as it is written, and is committed as it ran, with its pictures."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

from tests.pipeline import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
LARGEST = 500_000  # bytes
OFFLINE = Config({"KernelManager": {"transport": "ipc"}})  # talks to its kernel without a port


@pytest.fixture(scope="module")
def written() -> nbformat.NotebookNode:
    return nbformat.read(TOUR, as_version=4)


def pictures(notebook: nbformat.NotebookNode) -> list[int]:
    """How many pictures each cell shows."""
    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    return [sum("image/png" in each.get("data", {}) for each in cell) for cell in outputs]


def test_the_notebook_runs(written, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), *filter(None, [os.getenv("PYTHONPATH")])]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    client = NotebookClient(nbformat.from_dict(written), config=OFFLINE, resources={"metadata": {"path": str(ROOT)}})
    ran = client.execute()
    assert pictures(ran) == pictures(written) and sum(pictures(ran)) >= 6


def test_the_notebook_is_committed_as_it_ran_and_names_no_place_of_a_machine(written):
    counts = [cell.execution_count for cell in written.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not any(output.output_type == "error" for cell in written.cells for output in cell.get("outputs", []))
    text = TOUR.read_text(encoding="utf-8")
    assert len(text) < LARGEST and str(ROOT) not in text and str(Path.home()) not in text and "/tmp/" not in text
