"""PostgreSQL's settings: lightvec's defaults, and the user's."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lightvec.errors import InvalidOption, ServerError

DEFAULT_PORT = "5432"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_FIXED = ("data_directory", "unix_socket_directories", "config_file")
_SHARED_MEMORY_BYTES = 1 << 30


def checked(settings: Mapping[str, str] | None) -> dict[str, str]:
    """The user's settings with names in lower case; raises ``InvalidOption``."""
    for name, value in (settings or {}).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidOption(f"{name!r} is not the name of a PostgreSQL setting")
        if name.lower() in _FIXED:
            raise InvalidOption(f"the setting {name} follows from the server's path: leave it out")
        if "\0" in str(value):
            raise InvalidOption(f"the setting {name} is {value!r}, and cannot hold a zero byte")
    checked = {name.lower(): str(value) for name, value in (settings or {}).items()}
    port = checked.get("port", DEFAULT_PORT)
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise InvalidOption(f"the setting port is {port!r}, expected a number from 1 to 65535")
    return checked


def arguments(settings: Mapping[str, str], socket_folder: Path) -> list[str]:
    """The server's command-line arguments."""
    merged = {
        "listen_addresses": "",
        "port": DEFAULT_PORT,
        "unix_socket_permissions": "0700",
        **({"dynamic_shared_memory_type": "sysv"} if _shared_memory_is_small() else {}),
        **settings,
        "unix_socket_directories": f'"{socket_folder}"',
    }
    return [part for name, value in merged.items() for part in ("-c", f"{name}={value}")]


def check_running(settings: Mapping[str, str], data: Path) -> None:
    """Refuse a server that runs without these settings."""
    if not settings:
        return
    # The command that started it.
    command = (data / "postmaster.opts").read_text(errors="surrogateescape")
    wanted = [f"{name}={value}" for name, value in settings.items()]
    missing = [setting for setting in wanted if f'"{setting}"' not in command]
    if missing:
        raise ServerError(
            f"the server in {data.parent} already runs without {', '.join(missing)}: stop it first "
            "(lightvec server stop), or leave the setting out"
        )


def _shared_memory_is_small() -> bool:
    """Whether parallel index builds need System V memory: /dev/shm of a container has 64 MB."""
    if sys.platform != "linux":
        return False
    folder = Path("/dev/shm")
    return not folder.is_dir() or shutil.disk_usage(folder).total < _SHARED_MEMORY_BYTES
