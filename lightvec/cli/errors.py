"""Errors as one line on stderr, and the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from lightvec.errors import InvalidOption, LightvecError

__all__ = ["exit_status", "reporting_interrupt"]

FAILED, WRONG_CALL = 1, 2


class Interrupted(Exception):
    """Ctrl-C, with what it left."""


@contextmanager
def reporting_interrupt(left: str) -> Iterator[None]:
    """Have an interrupt of this block say what it leaves."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {str(error) or left}") from error


def exit_status(run: Callable[[], object]) -> int:
    """Run a command; its exit status, or 1 or 2 after its error was printed."""
    if sys.stdout is None:
        # The descriptor was closed (>&-); the next file that is opened would get its number.
        return _report("standard output is closed: send it to a file or to /dev/null", FAILED)
    try:
        status = run()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _report("interrupted", FAILED)
    except Interrupted as error:
        return _report(error, FAILED)
    except BrokenPipeError:
        # The reader has closed the pipe; Python would report the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except InvalidOption as error:
        return _report(error, WRONG_CALL)
    except (LightvecError, OSError) as error:
        return _report(error, FAILED)
    except Exception as error:
        return _report(_database_error(error), FAILED)
    return status if isinstance(status, int) else 0


def _report(error: object, status: int) -> int:
    # Arguments that are not Unicode hold surrogates, which cannot be encoded.
    line = " ".join(str(error).split()).encode(errors="backslashreplace").decode()
    click.echo(f"lightvec: {line}", err=True)
    return status


def _database_error(error: Exception) -> object:
    """Peewee's error as it is; an unexpected one with its class, or its traceback with LIGHTVEC_DEBUG."""
    from peewee import PeeweeException

    if isinstance(error, PeeweeException):
        return error
    if os.environ.get("LIGHTVEC_DEBUG"):
        raise error
    return (
        f"unexpected {type(error).__name__}: {error}; this is a defect in lightvec, or in code of yours that it ran: "
        f"LIGHTVEC_DEBUG=1 shows where"
    )
