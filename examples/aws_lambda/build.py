"""``make lambda-zip``: the function, lightvec and what it needs in one file that is the same, byte by byte, each time.

The wheels that ``requirements.txt`` names by version and hash are unpacked as they are, so that neither pip's version
nor this machine leaves a trace; names are sorted, times and modes are fixed, and bytecode, which fits one Python only,
is left out unless it is asked for. What remains is the compression: another zlib may write other bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib.util import cache_from_source, find_spec
from pathlib import Path, PurePosixPath
from py_compile import PycInvalidationMode
from py_compile import compile as write_bytecode

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
DEFAULT = ROOT / "dist" / "lambda.zip"
REQUIREMENTS = FOLDER / "requirements.txt"

#: The function's Python, as template.yaml has it: wheels are chosen for it, whatever runs the build.
PYTHON = "3.13"
#: What is taken from a folder of ours; a certificate authority's file may lie beside the function.
TAKEN = {".py", ".pem", ".typed"}
#: What no wheel may bring: it fits one kind of machine only.
COMPILED = {".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".c", ".pyx"}
LIMIT = 1_500_000
#: What the function loads, and what ``--bytecode`` therefore compiles.
LOADED = ("function/", "lightvec/", "pg8000/", "playhouse/", "peewee.py")


def main(argv: Sequence[str] | None = None) -> None:
    """Build, and say what was built."""
    parser = argparse.ArgumentParser(description="Build the function's zip file.")
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--bytecode", action="store_true", help="start sooner, on the Python that runs this build only")
    options = parser.parse_args(argv)
    file: Path = options.file
    build(file, bytecode=options.bytecode)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    print(f"{file}: {file.stat().st_size:,} bytes, sha256 {digest}")


def build(file: Path, *, bytecode: bool = False) -> None:
    """Write the zip file; ``SystemExit`` says what may not be in it. The limit is for one without bytecode."""
    contents = collect()
    if wrong := unfit(contents):
        sys.exit(f"expected nothing compiled and no NumPy, got {', '.join(wrong)}: look at {REQUIREMENTS}")
    if bytecode:
        contents |= compiled(contents)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_zip(contents, file)
    if (size := file.stat().st_size) >= LIMIT and not bytecode:
        sys.exit(f"expected less than {LIMIT:,} bytes, got {size:,}: look at {REQUIREMENTS}")


def collect() -> dict[str, bytes]:
    """The files of the function by their names in the zip."""
    contents = dict(_sources("function", FOLDER)) | dict(_sources("lightvec", _lightvec()))
    contents["lightvec/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for wheel in _download(Path(folder)):
            for name, data in _unpacked(wheel):
                if name in contents:
                    sys.exit(f"expected each file once, got {name} again from {wheel.name}")
                contents[name] = data
    return contents


def unfit(contents: dict[str, bytes]) -> list[str]:
    """What may not be in the zip."""
    paths = map(PurePosixPath, contents)
    return [str(path) for path in paths if path.suffix in COMPILED or path.parts[0] == "numpy"]


def compiled(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The bytecode of what the function loads, which is not held against the sources' times: Lambda has its own."""
    names = [name for name in contents if name.startswith(LOADED) and name.endswith(".py")]
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "source.py"), Path(folder, "source.pyc")
        bytecode = {}
        for name in names:
            source.write_bytes(contents[name])
            write_bytecode(
                str(source),
                str(result),
                f"/var/task/{name}",
                True,
                invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
            )
            bytecode[cache_from_source(name)] = result.read_bytes()
    return bytecode


def write_zip(contents: dict[str, bytes], file: Path) -> None:
    """The same contents give the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, whose modes follow; Lambda needs files that everybody may read
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, contents[name], zipfile.ZIP_DEFLATED, compresslevel=9)


def _lightvec() -> Path:
    """The folder that this interpreter has lightvec in: the checkout, where the build is started in it."""
    found = find_spec("lightvec")
    return ROOT if found is None or found.origin is None else Path(found.origin).parents[1]


def _sources(package: str, base: Path) -> Iterator[tuple[str, bytes]]:
    for path in (base / package).rglob("*"):
        if path.suffix in TAKEN:
            yield path.relative_to(base).as_posix(), path.read_bytes()


def _download(folder: Path) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pure = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none", f"--python-version={PYTHON}"]
    wanted = ["--require-hashes", "--requirement", str(REQUIREMENTS), "--dest", str(folder)]
    subprocess.run([*command, *pure, *wanted], check=True)
    return sorted(folder.glob("*.whl"))


def _unpacked(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            # What a wheel wants to have elsewhere (scripts, headers) is nothing for a function.
            if ".data/" not in entry.filename:
                yield entry.filename, archive.read(entry)


if __name__ == "__main__":
    main()
