#!/usr/bin/env python3
"""Runs the documentation's Python snippets on an output folder: python3 .ci/readme_snippets.py outputs/quickstart

A snippet is a block fenced as ```python in README.md or in a page of runner/docs. Each is run from the folder above the
output, under the name that the page gives it (outputs/quickstart), and has to print something.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

output = pathlib.Path(sys.argv[1]).resolve()
root = pathlib.Path(__file__).resolve().parent.parent
pages = [root / "README.md", *sorted((root / "runner" / "docs").glob("*.md"))]
snippets = [snippet for page in pages for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)]
assert len(snippets) >= 3, f"expected snippets for polars, pandas and DuckDB, found {len(snippets)}"
with tempfile.TemporaryDirectory() as folder:
    (pathlib.Path(folder) / "outputs").mkdir()
    os.symlink(output, pathlib.Path(folder) / "outputs" / "quickstart")
    for snippet in snippets:
        result = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True)
        assert result.returncode == 0 and result.stdout.strip(), f"{snippet}\n{result.stdout}{result.stderr}"
        print(f"$ python  # {snippet.splitlines()[0]}\n{result.stdout}")
