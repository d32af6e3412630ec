"""From ``package.module[:Model]`` to Peewee models."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard

from lightvec.errors import InvalidOption

if TYPE_CHECKING:
    from peewee import Model

__all__ = ["models_of"]


def models_of(paths: Iterable[str]) -> list[type[Model]]:
    """The models that the paths name, each once; :class:`~lightvec.errors.InvalidOption` for a path that names none."""
    found: list[type[Model]] = []
    for path in paths:
        found += [model for model in _models_at(path) if model not in found]
    return found


def _models_at(path: str) -> list[type[Model]]:
    module_name, _, model_name = path.partition(":")
    module = _module(module_name, path)
    named = getattr(module, model_name, None) if model_name else None
    if _is_model(named):
        return [named]
    known = _models_in(module)
    if not known:
        raise InvalidOption(f"{path}: the module {module_name} holds no Peewee model")
    if not model_name:
        return list(known.values())
    near = get_close_matches(model_name, known, n=1) or sorted(known)[:5]
    raise InvalidOption(
        f"{path}: the module {module_name} has no model {model_name}: did you mean {' or '.join(near)}?"
    )


def _is_model(value: object) -> TypeGuard[type[Model]]:
    from peewee import Model

    return isinstance(value, type) and issubclass(value, Model) and value is not Model


def _module(name: str, path: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")) or Path(name).is_file():
        hint = f": write {_dotted(name)}" if name.endswith(".py") else ""
        raise InvalidOption(f"expected package.module or package.module:Model, got {path!r}{hint}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidOption(
                f"there is no module {error.name} in {here} or among the installed packages: run the command where "
                f"`python -c 'import {name}'` works"
            ) from error
        raise InvalidOption(f"the module {name} cannot be imported: {error}") from error
    except SystemExit as error:
        raise InvalidOption(f"the module {name} cannot be imported: it ends the program (sys.exit)") from error
    except Exception as error:
        raise InvalidOption(f"the module {name} cannot be imported: {type(error).__name__}: {error}") from error


def _models_in(module: ModuleType) -> dict[str, type[Model]]:
    """The models that the module or a module below it defines, without the base classes that only carry ``Meta``."""
    models = {name: value for name, value in vars(module).items() if _is_model(value)}
    own = f"{module.__name__}."
    return {
        name: model
        for name, model in models.items()
        if f"{model.__module__}.".startswith(own) and not _only_a_base(model, models.values())
    }


def _only_a_base(model: type[Model], models: Iterable[type[Model]]) -> bool:
    is_base = any(other is not model and issubclass(other, model) for other in models)
    return is_base and all(field.auto_increment for field in model._meta.sorted_fields)


def _dotted(path: str) -> str:
    return ".".join(Path(path).with_suffix("").parts)
