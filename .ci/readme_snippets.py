#!/usr/bin/env python3
"""Runs the README's Python snippets on an output folder: python3 .ci/readme_snippets.py outputs/quickstart

A snippet is a block fenced as ```python in README.md. Each is run from the folder above the output, under the name that the
README gives it (outputs/quickstart), and has to print something.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

output = pathlib.Path(sys.argv[1]).resolve()
readme = (pathlib.Path(__file__).resolve().parent.parent / "README.md").read_text()
snippets = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
assert len(snippets) >= 3, f"expected snippets for polars, pandas and DuckDB in README.md, found {len(snippets)}"
with tempfile.TemporaryDirectory() as folder:
    (pathlib.Path(folder) / "outputs").mkdir()
    os.symlink(output, pathlib.Path(folder) / "outputs" / "quickstart")
    for snippet in snippets:
        result = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True)
        assert result.returncode == 0 and result.stdout.strip(), f"{snippet}\n{result.stdout}{result.stderr}"
        print(f"$ python  # {snippet.splitlines()[0]}\n{result.stdout}")
