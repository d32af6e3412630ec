"""What failed, in one line, and the exit status that goes with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from lightvec.errors import InvalidOption, LightvecError

__all__ = ["exit_status", "told_if_interrupted"]

FAILED, WRONG_CALL = 1, 2


class Interrupted(Exception):
    """Ctrl-C, and what it left behind."""


@contextmanager
def told_if_interrupted(left: str) -> Iterator[None]:
    """Says what an interruption of this piece of a command leaves behind, unless the interruption itself does."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {str(error) or left}") from error


def exit_status(run: Callable[[], object]) -> int:
    """Run a command; the status that it leaves with, or 1 or 2 after its error was told on stderr."""
    if sys.stdout is None:
        # Python's word for a descriptor that was closed (>&-); the next file that is opened would get its number.
        return _told("standard output is closed: send it to a file or to /dev/null", FAILED)
    try:
        status = run()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _told("interrupted", FAILED)
    except Interrupted as error:
        return _told(error, FAILED)
    except BrokenPipeError:
        # Who reads the output has seen enough. Python would complain about the rest of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except InvalidOption as error:
        return _told(error, WRONG_CALL)
    except (LightvecError, OSError) as error:
        return _told(error, FAILED)
    except Exception as error:
        return _told(_database_error(error), FAILED)
    return status if isinstance(status, int) else 0


def _told(what: object, status: int) -> int:
    # An argument that is not Unicode has bytes in it that cannot be written as they are.
    line = " ".join(str(what).split()).encode(errors="backslashreplace").decode()
    click.echo(f"lightvec: {line}", err=True)
    return status


def _database_error(error: Exception) -> object:
    """Peewee's error says it by itself; what nobody expected names its class, and the traceback can be asked for."""
    from peewee import PeeweeException

    if isinstance(error, PeeweeException):
        return error
    if os.environ.get("LIGHTVEC_DEBUG"):
        raise error
    return (
        f"unexpected {type(error).__name__}: {error}; this is a defect in lightvec, or in code of yours that it ran: "
        f"LIGHTVEC_DEBUG=1 shows where"
    )
