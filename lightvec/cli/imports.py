"""What an argument names in the user's code: ``package.module:Model``, ``package.module:function``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import iscoroutine
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from lightvec.cli.options import not_empty
from lightvec.errors import InvalidOption, InvalidVector, LightvecError, SchemaMismatch

with_option = click.option(
    "--with",
    "function",
    metavar="MODULE:FUNCTION",
    callback=not_empty,
    help="Your function from a list of texts to their vectors, in the same order.",
)


def models_at(path: str) -> list[Any]:
    """The models in a module or below it, but bases that only carry ``Meta``, or one by name."""
    module_name, _, model_name = path.partition(":")
    module = _import(module_name, path, "package.module or package.module:Model")
    named = getattr(module, model_name, None) if model_name else None
    if _is_model(named):
        return [named]
    models = {name: value for name, value in vars(module).items() if _is_model(value)}
    own = f"{module.__name__}."
    known = {
        name: model
        for name, model in models.items()
        if f"{model.__module__}.".startswith(own) and not _is_base(model, models.values())
    }
    if not known:
        raise InvalidOption(f"{path}: the module {module_name} holds no Peewee model")
    if not model_name:
        return list(known.values())
    near = " or ".join(get_close_matches(model_name, known, n=1) or sorted(known)[:5])
    what = f"the module {module_name} has no model {model_name}"
    raise InvalidOption(f"{path}: {what}: did you mean {near}?")


def embedder(path: str) -> Callable[[list[str]], list[Any]]:
    """The user's function from texts to vectors; its failures are errors that name it.

    A method will do, too: ``app:model.encode``.
    """
    module_name, _, name = path.partition(":")
    wanted = "package.module:function"
    if not all(part.isidentifier() for part in name.split(".")):
        raise InvalidOption(f"--with: expected {wanted}, got {path!r}")
    module = _import(module_name, path, wanted)
    try:
        function = attrgetter(name)(module)
    except AttributeError as error:
        known = [each for each, value in vars(module).items() if callable(value)]
        near = get_close_matches(name, known, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        what = f"the module {module_name} has no function {name}"
        raise InvalidOption(f"--with {path}: {what}{hint}") from error
    if not callable(function):
        what = "a function from a list of texts to their vectors"
        raise InvalidOption(f"--with {path}: expected {what}, got a {type(function).__name__}")

    def embed(texts: list[str]) -> list[Any]:
        try:
            given = function(texts)
            vectors = _vectors(given)
        except (Exception, SystemExit) as error:
            why = f"{type(error).__name__}: {error}"
            raise LightvecError(f"--with {path}: the function raised {why}") from error
        if vectors is not None and len(vectors) == len(texts):
            return vectors
        got = f"a {type(given).__name__}" if vectors is None else f"{len(vectors):,}"
        what = f"a list with a vector for each of {len(texts):,} texts"
        raise InvalidVector(f"--with {path}: expected {what}, got {got}")

    return embed


def own_database(models: Sequence[Any]) -> Any:
    """The database of the models; None if they have none or it is deferred."""
    from lightvec.peewee import Pg8000Database
    from lightvec.peewee._seam import database_of

    own, *others = {database_of(model) for model in models} - {None} or {None}
    if others:
        raise SchemaMismatch("the models belong to different databases: name one with --url")
    if own is None or isinstance(own, Pg8000Database):
        return None if own is None or own.deferred else own
    raise SchemaMismatch(
        f"the models belong to a {type(own).__name__}, which lightvec cannot use: name the "
        "PostgreSQL database with --url, or declare them on a Pg8000Database"
    )


def _vectors(given: Any) -> list[Any] | None:
    """What a function returned as a list without its None; None if it cannot be one."""
    if iscoroutine(given):
        given.close()  # Otherwise Python warns that nothing awaited it.
        return None
    return [each for each in given if each is not None] if isinstance(given, Iterable) else None


def _is_model(value: Any) -> bool:
    from peewee import Model

    return isinstance(value, type) and issubclass(value, Model) and value is not Model


def _is_base(model: Any, models: Iterable[Any]) -> bool:
    has_fields = not all(field.auto_increment for field in model._meta.sorted_fields)
    subclasses = (other for other in models if issubclass(other, model) and other is not model)
    return not has_fields and any(subclasses)


def _import(name: str, path: str, wanted: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")) or Path(name).is_file():
        dotted = ".".join(Path(name).parts).removesuffix(".py")
        hint = f": write {dotted}" if name.endswith(".py") else ""
        raise InvalidOption(f"expected {wanted}, got {path!r}{hint}")
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
