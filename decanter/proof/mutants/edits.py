"""Changes of the text of a module that is imported already, in place: whoever has imported its
functions runs the changed code."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType
from typing import Any, NamedTuple

_CONSTANTS = (str, bytes, int, float, tuple, dict, MappingProxyType)


class Edit(NamedTuple):
    """A text of a module, and what is in its place, wherever the module has it."""

    module: str
    old: str
    new: str


class NoSuchText(Exception):
    """A module does not have the text that a mutant changes: the mutant has to be adapted."""


def apply(edits: tuple[Edit, ...]) -> None:
    """Change the modules of this process."""
    for name, code in compiled(edits).items():
        _replace(name, code)


@cache
def compiled(edits: tuple[Edit, ...]) -> dict[str, CodeType]:
    """Compile the changed modules. Raises NoSuchText."""
    texts: dict[str, str] = {}
    for module, old, new in edits:
        text = texts.get(module) or _source(module)
        if old not in text:
            raise NoSuchText(f"{module} does not have the text {old!r}: adapt the mutant to it")
        texts[module] = text.replace(old, new)
    return {
        module: compile(text, f"{module}, changed", "exec", dont_inherit=True)
        for module, text in texts.items()
    }


def _source(module: str) -> str:
    path = importlib.import_module(module).__file__
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


def _replace(name: str, code: CodeType) -> None:
    """Give a module's functions and constants the code and the values that they have now."""
    module = sys.modules[name]
    changed: dict[str, Any] = {"__name__": name, "__file__": module.__file__}
    exec(code, changed)  # noqa: S102
    for member, new in changed.items():
        old = vars(module).get(member)
        if isinstance(new, _CONSTANTS):
            if new != old:
                setattr(module, member, new)
        elif getattr(new, "__module__", None) == name:
            for kept, made in zip(_functions(old), _functions(new), strict=True):
                if kept.__module__ == name:  # not what the simulation has in its place
                    kept.__code__, kept.__defaults__ = made.__code__, made.__defaults__


def _functions(value: Any) -> Iterator[FunctionType]:
    """The functions of a function, a property or a class."""
    if isinstance(value, type):
        for each in vars(value).values():
            yield from _functions(each)
        return
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, FunctionType):
        yield value
