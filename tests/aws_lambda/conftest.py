"""The function as it is deployed, and a server that it reaches over TCP with a password."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from examples.aws_lambda.build import ROOT
from lightvec.pg8000 import Connection, connect
from lightvec.server import start, stop
from tests.aws_lambda.function import Function, event
from tests.packaging import unpack
from tests.places import free_port, open_folder

WORDNET = ROOT / "examples" / "data" / "wordnet"
APPLICATION = "documents-search"


class Shop:
    """A server of its own for the function, so that it can be restarted under it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "fsync": "off"}
        self.start()

    def start(self) -> None:
        """Start it, for the first time or again."""
        self.url = start(self._folder, settings=self._settings).url

    def stop(self) -> None:
        """Stop it under its users."""
        stop(self._folder)

    def set_password(self, password: str) -> None:
        """The function's account has this password from now on."""
        with connect(self.url) as admin:
            admin.run(f"ALTER ROLE app PASSWORD '{password}'")

    def backends(self) -> list[int]:
        """The processes that serve the function."""
        with connect(self.url) as admin:
            rows = admin.run("SELECT pid FROM pg_stat_activity WHERE application_name = :name", name=APPLICATION)
        return [pid for (pid,) in rows or []]

    def terminate(self) -> None:
        """End the function's connection, and wait until it has ended."""
        (pid,) = self.backends()
        with connect(self.url) as admin:
            assert admin.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid) == [[True]]

    def database(self) -> Connection:
        """A connection to the function's database."""
        return connect(self.url, dbname="shop")


@pytest.fixture(scope="package")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the zip file, in a folder that was empty."""
    folder = tmp_path_factory.mktemp("task")
    unpack(folder)
    return folder


@pytest.fixture(scope="package")
def shop(unpacked: Path) -> Iterator[Shop]:
    """The server, with the tables as the guide has them made and 300 documents that the function wrote."""
    folder = open_folder("lambda")
    shop = Shop(folder / "db")
    try:
        with connect(shop.url) as admin:
            admin.run("CREATE ROLE app LOGIN PASSWORD 'first'")
            admin.run("CREATE DATABASE shop OWNER app")
        init = [sys.executable, "-m", "lightvec", "init-db", "function.models"]
        done = subprocess.run(
            [*init, "--url", f"{shop.url.replace('/postgres?', '/shop?')}"],
            cwd=unpacked,
            env={"PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with shop.database() as admin:
            admin.run("ALTER TABLE document OWNER TO app")
        with Function(environment(shop), unpacked) as function:
            written = function.invoke(event("api_upsert", {"documents": list(glosses(300))}))
            assert (written.status, written.body) == (200, {"written": 300})
        yield shop
    finally:
        shop.stop()
        shutil.rmtree(folder)


@pytest.fixture
def function(shop: Shop, unpacked: Path) -> Iterator[Function]:
    """The function with a password in its environment, in a new process."""
    with Function(environment(shop), unpacked) as function:
        yield function
    assert "Traceback" not in function.log


def environment(shop: Shop, **more: str) -> dict[str, str]:
    """What template.yaml puts into the function's environment, and the password that a secret gives."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": APPLICATION,
        "AWS_REGION": "eu-central-1",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(shop.port),
        "PGDATABASE": "shop",
        "PGUSER": "app",
        "PGPASSWORD": "first",
        **more,
    }


def glosses(count: int) -> Iterator[dict[str, object]]:
    """The first definitions of WordNet as documents."""
    vectors = np.load(WORDNET / "base.f16.npy").astype(np.float32).round(4)
    with gzip.open(WORDNET / "glosses.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line, embedding in islice(zip(lines, vectors, strict=True), count):
            row = json.loads(line)
            yield {"id": row["synset"], "title": row["lemma"], "embedding": embedding.tolist()}
