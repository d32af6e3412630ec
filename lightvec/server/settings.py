"""PostgreSQL's settings: what lightvec sets, and what it leaves to the user."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lightvec.errors import InvalidOption, ServerError

DEFAULT_PORT = 5432
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_LIGHTVECS_OWN = ("data_directory", "unix_socket_directories", "config_file")
_SHARED_MEMORY = Path("/dev/shm")
_SHARED_MEMORY_BYTES = 1 << 30


def checked(settings: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of the user's settings with names in lower case; what cannot be a setting is refused."""
    checked = {_name(name): _value(name, value) for name, value in (settings or {}).items()}
    port = checked.get("port", str(DEFAULT_PORT))
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidOption(f"the setting port is {port!r}, and must be a number from 1 to 65535")
    return checked


def arguments(settings: Mapping[str, str], socket_folder: Path) -> list[str]:
    """The server's command-line arguments: lightvec's defaults, then the user's settings over them."""
    own = {"unix_socket_directories": f'"{socket_folder}"'}
    merged = {**_defaults(), **settings, **own}
    return [part for name, value in merged.items() for part in ("-c", f"{name}={value}")]


def check_running(settings: Mapping[str, str], data: Path) -> None:
    """Refuse to join a server that runs without these settings; ``postmaster.opts`` is the command that started it."""
    if not settings:
        return
    command = (data / "postmaster.opts").read_text(errors="surrogateescape")
    missing = [f"{name}={value}" for name, value in settings.items() if f'"{name}={value}"' not in command]
    if missing:
        raise ServerError(
            f"the server in {data.parent} already runs without {', '.join(missing)}: stop it first "
            "(lightvec server stop), or leave the setting out"
        )


def _name(name: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidOption(f"{name!r} is not the name of a PostgreSQL setting")
    if name.lower() in _LIGHTVECS_OWN:
        raise InvalidOption(f"the setting {name} follows from the server's path and cannot be given")
    return name.lower()


def _value(name: str, value: object) -> str:
    text = str(value)
    if "\0" in text:
        raise InvalidOption(f"the setting {name} is {text!r}, and a value cannot hold a zero byte")
    return text


def _defaults() -> dict[str, str]:
    """No network; fsync stays on, as in PostgreSQL: data that was committed survives a crash."""
    defaults = {
        "listen_addresses": "",
        "port": str(DEFAULT_PORT),
        "unix_socket_permissions": "0700",
    }
    if _shared_memory_is_small():
        defaults["dynamic_shared_memory_type"] = "sysv"
    return defaults


def _shared_memory_is_small() -> bool:
    """Whether /dev/shm cannot hold what a parallel index build takes there, maintenance_work_mem: containers
    give it 64 MB, some functions none at all. System V memory does not count against it."""
    if sys.platform != "linux":
        return False
    return not _SHARED_MEMORY.is_dir() or shutil.disk_usage(_SHARED_MEMORY).total < _SHARED_MEMORY_BYTES
