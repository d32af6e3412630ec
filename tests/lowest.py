"""The lowest versions that setup.cfg allows of what lightvec runs on, as constraints for pip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from configparser import ConfigParser

#: Extras that hold tools; those may be of any version.
TOOLS = {"bench", "dev", "docs", "examples", "fuzz", "pytest", "test"}


def lowest(config: ConfigParser) -> Iterator[str]:
    """``name==version`` for each requirement of the package and of its extras for users."""
    extras = config["options.extras_require"]
    texts = [config["options"]["install_requires"], *(extras[name] for name in extras if name not in TOOLS)]
    requirement = re.compile(r"^\s*([\w-]+) >= ([\d.]+)", re.MULTILINE)
    yield from (f"{name}=={version}" for name, version in requirement.findall("\n".join(texts)))


if __name__ == "__main__":
    parsed = ConfigParser()
    parsed.read("setup.cfg", encoding="utf-8")
    print(*lowest(parsed), sep="\n")
