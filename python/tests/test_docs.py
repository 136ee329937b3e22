"""The examples in the documentation of the package."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import clr_run


def test_the_examples_in_docstrings_hold() -> None:
    modules = [clr_run, *(importlib.import_module(f"clr_run.{it.name}") for it in pkgutil.iter_modules(clr_run.__path__))]
    results = [
        doctest.testmod(module, extraglobs={"clr_run": clr_run}) for module in modules if module.__name__ != "clr_run.__main__"
    ]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 5
