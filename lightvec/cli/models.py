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


def models_of(paths: Iterable[str]) -> list[type[Model]]:
    """The models that the paths name, each once."""
    return list(dict.fromkeys(model for path in paths for model in _models_at(path)))


def _models_at(path: str) -> list[type[Model]]:
    module_name, _, model_name = path.partition(":")
    module = _import(module_name, path)
    named = getattr(module, model_name, None) if model_name else None
    if _is_model(named):
        return [named]
    known = _models_in(module)
    if not known:
        raise InvalidOption(f"{path}: the module {module_name} holds no Peewee model")
    if not model_name:
        return list(known.values())
    near = get_close_matches(model_name, known, n=1) or sorted(known)[:5]
    meant = " or ".join(near)
    what = f"the module {module_name} has no model {model_name}"
    raise InvalidOption(f"{path}: {what}: did you mean {meant}?")


def _is_model(value: object) -> TypeGuard[type[Model]]:
    from peewee import Model

    return isinstance(value, type) and issubclass(value, Model) and value is not Model


def _import(name: str, path: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")) or Path(name).is_file():
        dotted = ".".join(Path(name).parts).removesuffix(".py")
        hint = f": write {dotted}" if name.endswith(".py") else ""
        raise InvalidOption(f"expected package.module or package.module:Model, got {path!r}{hint}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise InvalidOption(
                f"there is no module {missing} in {here} or among the installed packages: run the "
                f"command where `python -c 'import {name}'` works"
            ) from error
        why = f"{type(error).__name__}: {error}"
        raise InvalidOption(f"the module {name} cannot be imported: {why}") from error


def _models_in(module: ModuleType) -> dict[str, type[Model]]:
    """The models of the module or below it, without bases that only carry ``Meta``."""
    models = {name: value for name, value in vars(module).items() if _is_model(value)}
    own = f"{module.__name__}."
    return {
        name: model
        for name, model in models.items()
        if f"{model.__module__}.".startswith(own) and not _is_base(model, models.values())
    }


def _is_base(model: type[Model], models: Iterable[type[Model]]) -> bool:
    has_fields = not all(field.auto_increment for field in model._meta.sorted_fields)
    subclasses = (other for other in models if issubclass(other, model) and other is not model)
    return not has_fields and any(subclasses)
