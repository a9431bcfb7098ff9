"""States as files without pickle: tensors as safetensors, everything else as JSON that points to them.

A state is made of dicts with text keys, lists, tuples, texts, numbers, booleans, None and tensors. What JSON cannot say
is written as a dict of one key: ``{"$tensor": PATH}``, ``{"$tuple": [...]}``, ``{"$float": "nan"}``. Reading it makes
nothing but these types, whatever the files hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nasforge.errors import CorruptRunError

TENSORS, SKELETON = "tensors.safetensors", "state.json"
"""The names of the two files."""


def to_files(state: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a state.

    Raises:
        TypeError: something in it is of another type; the message names its path.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _plain(state, "", tensors)
    return {TENSORS: save(tensors), SKELETON: json.dumps(skeleton, allow_nan=False).encode()}


def from_files(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The state that `to_files` was given.

    Raises:
        CorruptRunError: the files do not hold one.
    """
    try:
        tensors = load(files[TENSORS])
        state = _made(json.loads(files[SKELETON]), tensors)
    except (KeyError, ValueError, TypeError, SafetensorError, RecursionError) as error:
        raise CorruptRunError(f"not a state: {type(error).__name__} ({error})") from None
    if not isinstance(state, dict):
        raise CorruptRunError("not a state: its outermost part is no mapping")
    return state


def _plain(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # Two equal parts of a state may be one tensor, which a file must not hold twice.
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"$tensor": path}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and not key.startswith("$") for key in value):
            raise TypeError(f"{path or 'the state'}: the keys of a state are texts that do not begin with $")
        return {key: _plain(part, f"{path}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_plain(part, f"{path}/{index}", tensors) for index, part in enumerate(value)]
        return {"$tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise TypeError(f"{path or 'the state'}: a {type(value).__name__} has no place in a state")


def _made(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    match plain:
        case {"$tensor": path}:
            return tensors[path]
        case {"$tuple": parts}:
            return tuple(_made(part, tensors) for part in parts)
        case {"$float": text}:
            return float(text)
        case dict():
            return {key: _made(part, tensors) for key, part in plain.items()}
        case list():
            return [_made(part, tensors) for part in plain]
    return plain
