"""The error of a command as one line on stderr, and its exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from lightvec.cli.streams import discard, messages, tell
from lightvec.errors import InvalidOption, LightvecError

_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def reporting_interrupt(left: str) -> Iterator[None]:
    """Have an interrupt of this block say what it leaves."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise LightvecError(f"interrupted: {str(error) or left}") from error


@contextmanager
def reporting_build(is_concurrent: bool, left: str) -> Iterator[None]:
    """Have an interrupt or an error of a build say what it leaves."""
    from peewee import PeeweeException

    from lightvec.peewee.invalid_indexes import LEFT_INVALID

    with reporting_interrupt(LEFT_INVALID if is_concurrent else left):
        try:
            yield
        except PeeweeException:
            if is_concurrent:
                tell(LEFT_INVALID)
            raise


def exit_status(run: Callable[[], object]) -> int:
    """Run a command and print its error; the exit status."""
    if sys.stdout is None:
        # The descriptor is closed (>&-), and the next file that is opened would get its number.
        return _report("standard output is closed: send it to a file or to /dev/null")
    try:
        status = run()
        sys.stdout.flush()
    except click.ClickException as error:
        with messages():
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _report("interrupted")
    except BrokenPipeError:
        discard(sys.stdout)
        return 1
    except InvalidOption as error:
        return _report(error, 2)
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITTEN:
            return _report(error)
        discard(sys.stdout)
        return _report(f"the output cannot be written: {error.strerror}")
    except LightvecError as error:
        return _report(error)
    except Exception as error:
        return _report(_database_error(error))
    return status if isinstance(status, int) else 0


def _report(error: object, status: int = 1) -> int:
    tell(f"lightvec: {' '.join(str(error).split())}")
    return status


def _database_error(error: Exception) -> object:
    from peewee import PeeweeException

    if isinstance(error, PeeweeException):
        return error
    if os.environ.get("LIGHTVEC_DEBUG"):
        raise error
    return (
        f"unexpected {type(error).__name__}: {error}; this is a defect in lightvec, "
        f"or in code of yours that it ran: LIGHTVEC_DEBUG=1 shows where"
    )
