"""A spec as TOML text: `dumps` writes what `tomllib.loads` reads back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dumps(table: Mapping[str, object]) -> str:
    """A dict as TOML. Tables and keys stay in their order, except that a table's values come before the tables in it.

    Numbers and arrays of NumPy, ranges, tuples and paths are written as what they stand for. TOML has nothing like `None`.

    >>> print(dumps({"train": {"iterations": 100}, "policies": {"fixed": {"base_lr": [0.1, 0.01]}}}), end="")
    [train]
    iterations = 100
    <BLANKLINE>
    [policies.fixed]
    base_lr = [0.1, 0.01]
    """
    return "\n".join("\n".join(lines) + "\n" for lines in _sections(table, ()))


def value(value: object, *path: str) -> str:
    """A value as TOML, on one line. `path` are the keys that lead to it, for messages.

    >>> value({"kind": "fixed", "base_lr": [0.1, 0.01]})
    '{ kind = "fixed", base_lr = [0.1, 0.01] }'
    """
    return _value(value, path)


def _sections(table: Mapping[str, object], path: tuple[str, ...]) -> Iterable[list[str]]:
    values = [f"{_key(key, path)} = {_value(it, (*path, key))}" for key, it in table.items() if not isinstance(it, Mapping)]
    tables = [(key, it) for key, it in table.items() if isinstance(it, Mapping)]
    header = [f"[{'.'.join(_key(key, path) for key in path)}]"] if path else []
    # A table of tables alone needs no line of its own.
    if values or (path and not tables):
        yield header + values
    for key, it in tables:
        _key(key, path)
        yield from _sections(it, (*path, key))


def _key(key: object, path: tuple[str, ...]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{_shown(path)}: a key is text, and {key!r} is of type {type(key).__name__}")
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: object, path: tuple[str, ...]) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif not isinstance(value, (str, int, float)) and hasattr(value, "tolist"):
        # A number or an array of NumPy, of PyTorch, of pandas.
        value = value.tolist()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key, path)} = {_value(it, (*path, str(key)))}" for key, it in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, (list, tuple, range)):
        return f"[{', '.join(_value(it, path) for it in value)}]"
    hint = "leave the key out" if value is None else "expected text, a number, true or false, a list or a dict"
    raise TypeError(f"{_shown(path)}: TOML has no {type(value).__name__}; {hint}")


def _text(text: str) -> str:
    # JSON's escapes are TOML's too. It leaves one control character as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shown(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the spec"
