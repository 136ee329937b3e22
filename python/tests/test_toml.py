"""Specs as TOML: what is written is read back as it was."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from clr_run import toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="SKIPPED: this Python reads no TOML")


def check(table: dict[str, Any], expected: dict[str, Any] | None = None) -> None:
    assert tomllib.loads(toml.dumps(table)) == (table if expected is None else expected)


def test_what_is_written_is_read_back() -> None:
    check({})
    check({"a": {}})
    check({"a": {"b": {}, "c": {"d": 1}}, "e": 2})
    check({"a": {"later": {"x": 1}, "b": 1}})
    check(
        {
            "whole": 1,
            "float": 1.0,
            "small": 1e-05,
            "large": 1e16,
            "negative": -0.5,
            "yes": True,
            "no": False,
            "infinite": float("inf"),
        }
    )
    check({"list": [1, 2.5, "three", [4, [5]], {"six": 7, "eight": {"nine": []}}, {}]})
    check({"text": 'quotes " and \\ and \n\t\r\b\f\x00\x1b\x7f and ünïcødé 🙂'})
    check({"a b": {"c.d": {"": 1}, "é": 2, '"': 3}})


def test_a_not_a_number_is_written() -> None:
    read = tomllib.loads(toml.dumps({"x": float("nan")}))["x"]
    assert read != read


def test_tables_and_keys_stay_in_their_order() -> None:
    table = {"z": {"y": 1, "x": 2}, "a": {"c": {"k": 1}, "b": {"k": 1}}}
    read = tomllib.loads(toml.dumps(table))
    assert [list(read), list(read["z"]), list(read["a"])] == [["z", "a"], ["y", "x"], ["c", "b"]]


def test_numbers_and_arrays_of_numpy_ranges_tuples_and_paths_are_written_as_what_they_stand_for() -> None:
    numpy = pytest.importorskip("numpy", reason="SKIPPED: numpy is not installed")
    given = {
        "a": numpy.float64(0.1),
        "b": numpy.int32(3),
        "c": numpy.linspace(0.0, 1.0, 3),
        "d": range(3),
        "e": (1, 2),
        "f": Path("x/y"),
        "g": numpy.bool_(True),
    }
    check(given, {"a": 0.1, "b": 3, "c": [0.0, 0.5, 1.0], "d": [0, 1, 2], "e": [1, 2], "f": "x/y", "g": True})


def test_what_toml_has_not_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"^train\.max_loss: TOML has no NoneType; leave the key out$"):
        toml.dumps({"train": {"max_loss": None}})
    with pytest.raises(TypeError, match=r"^policies\.a: TOML has no set; expected text"):
        toml.dumps({"policies": {"a": [{1, 2}]}})
    with pytest.raises(TypeError, match=r"^policies: a key is text, and 1 is of type int$"):
        toml.dumps({"policies": {1: 2}})  # type: ignore[dict-item]


def test_any_table_is_read_back() -> None:
    generator = random.Random(1)
    letters = 'ab1_-. "\\\n\té🙂'

    def text() -> str:
        return "".join(generator.choice(letters) for _ in range(generator.randrange(5)))

    def value(depth: int) -> Any:
        kinds: list[Any] = [
            text,
            lambda: generator.randrange(-(2**63), 2**63),
            lambda: generator.uniform(-1, 1) * 10.0 ** generator.randrange(-300, 300),
            lambda: generator.random() < 0.5,
            lambda: [value(depth + 1) for _ in range(generator.randrange(3))],
            lambda: {text(): value(depth + 1) for _ in range(generator.randrange(4))},
        ]
        return generator.choice(kinds if depth < 4 else kinds[:4])()

    for _ in range(1000):
        check({text(): value(0) for _ in range(generator.randrange(6))})
