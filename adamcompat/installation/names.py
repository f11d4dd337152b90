"""Hand every name under which modules hold a class to another class.

A name is an attribute of a module, or an entry of a dictionary that is an attribute of a module:
Keras looks up optimizers in such dictionaries, and so do many programs.
"""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

_OURS = "adamcompat"


def replace(old_to_new: Mapping[type, type]) -> dict[type, int]:
    """Let every name of some classes mean other classes instead.

    Where a class is the key of a dictionary, the new class becomes a key of it too.

    Args:
        old_to_new: for each class the one that takes its names.

    Returns:
        How many names and entries of dictionaries were changed, by the old class.
    """
    by_id = {id(old): (old, new) for old, new in old_to_new.items()}
    counts = dict.fromkeys(old_to_new, 0)
    for module in _modules():
        for name, value in list(vars(module).items()):
            if id(value) in by_id:
                old, new = by_id[id(value)]
                if not _needed(module, name, old):
                    # Modules of TensorFlow keep caches, which their own way of setting keeps right.
                    setattr(module, name, new)
                    counts[old] += 1
            elif type(value) is dict:
                for old, found in _entries(value, by_id):
                    value.update(found)
                    counts[old] += len(found)
    return counts


def withdraw(new_to_old: Mapping[type, type]) -> None:
    """Undo `replace`, also for names that the new classes have got meanwhile.

    Args:
        new_to_old: for each new class the one that gets its names back.
    """
    by_id = {id(new): (new, old) for new, old in new_to_old.items()}
    for module in _modules():
        for name, value in list(vars(module).items()):
            if id(value) in by_id:
                setattr(module, name, by_id[id(value)][1])
            elif type(value) is dict:
                for new, old in by_id.values():
                    if new in value:
                        value.setdefault(old, value.pop(new))
                    for key in [key for key, held in list(value.items()) if held is new]:
                        value[key] = old


def _entries(entries: dict[Any, Any], by_id: Mapping[int, tuple[type, type]]) -> Iterator[tuple[type, dict[Any, Any]]]:
    """Yield the changes to a dictionary, class by class."""
    for old, new in by_id.values():
        found = {key: new for key, value in list(entries.items()) if value is old}
        if old in entries:
            found[new] = new if entries[old] is old else entries[old]
        if found:
            yield old, found


def _modules() -> Iterator[ModuleType]:
    """Yield all modules but ours, and those that are only attributes of modules, as TensorFlow's lazy ones are."""
    seen: set[int] = set()
    pending = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] != _OURS]
    while pending:
        module = pending.pop()
        if not isinstance(module, ModuleType) or id(module) in seen:
            continue
        seen.add(id(module))
        if str(vars(module).get("__name__")).partition(".")[0] != _OURS:
            yield module
            # Not isinstance, which asks the value too: PyTorch has one that warns of its deprecation when asked.
            pending += [value for value in list(vars(module).values()) if issubclass(type(value), ModuleType)]


def _needed(module: ModuleType, name: str, cls: type) -> bool:
    """Return whether methods of the class itself, or of classes made from it, look it up by this name of their module.

    As in ``super(Adam, self).__init__()``: there another class would be a mistake.
    """
    return any(
        isinstance(value, type)
        and value.__module__ == module.__name__
        and issubclass(value, cls)
        and name in _names_in(value)
        for value in list(vars(module).values())
    )


def _names_in(cls: type) -> set[str]:
    """Return the global names that the methods of a class use."""
    found: set[str] = set()
    seen: set[int] = set()
    pending: list[Any] = [getattr(member, "__func__", member) for member in vars(cls).values()]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, CodeType):
            loads = (step for step in dis.get_instructions(item) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
            found.update(step.argval for step in loads)
            pending += [constant for constant in item.co_consts if isinstance(constant, CodeType)]
        elif callable(item) and (inner := inspect.unwrap(item)) is not item:
            pending.append(inner)
        elif isinstance(item, FunctionType):
            pending.append(item.__code__)
            # A decorator that does not say what it wraps holds it in its closure.
            for cell in item.__closure__ or ():
                with suppress(ValueError):  # still empty
                    pending += [cell.cell_contents] if isinstance(cell.cell_contents, FunctionType) else []
    return found
