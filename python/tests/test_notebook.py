"""In a notebook. Skipped where no kernel is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_a_notebook_shows_progress_in_one_line_and_then_the_output(bowl: Any, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="SKIPPED: nbclient is not installed")
    pytest.importorskip("ipykernel", reason="SKIPPED: ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat")
    cells = [
        f"import clr_run\nout = clr_run.run({bowl!r}, outputs={str(tmp_path)!r})\nout",
        "bad = {'experiment': {'name': 'bad'}}\nclr_run.run(bad)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"BadInput\S*: error\[spec::missing\]"):
        nbclient.NotebookClient(notebook, timeout=120).execute()
    assert [it.output_type for it in notebook.cells[1].outputs] == ["error"], "it is said once"
    outputs = notebook.cells[0].outputs
    shown = [it.data["text/plain"] for it in outputs if it.output_type == "display_data"]
    assert len(shown) == 1 and "6/6 trials, best 87.50%" in shown[0]
    (result,) = (it.data for it in outputs if it.output_type == "execute_result")
    assert "4 finished, 2 diverged" in result["text/plain"] and "<table>" in result["text/html"]
    assert not [it for it in outputs if it.output_type == "stream" and "started" in it.text]
