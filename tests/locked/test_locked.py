"""Everything that people do, in a place where nearly everything is forbidden."""

from __future__ import annotations

import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from lightvec.server import Server
from tests.locked.jail import Jail
from tests.packaging import unpack
from tests.relay import socket_of

COMMAND = "from lightvec.cli import main; main()"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lightvec and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("program")
    unpack(folder, bytecode=True)  # where nothing can be written, it is not written at the first start
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture
def jail(server: Server, program: Path, tmp_path: Path) -> Jail:
    return Jail(tmp_path, program, Path(socket_of(server.url)))


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was printed, by something that ended well and complained of nothing."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_place_is_as_it_is_described(jail: Jail) -> None:
    code = """
        import errno, os, pathlib, pwd, shutil, socket

        def refusal(action):
            try:
                action()
            except OSError as error:
                return errno.errorcode[error.errno]

        new = "/lightvec-locked-test"
        folders = ("/", "/var/task", "/usr/lib", "/var", os.path.dirname(os.__file__))
        for folder in folders:
            assert refusal(lambda: open(folder + new, "w")) in ("EROFS", "EACCES"), folder
        print(refusal(lambda: open(new, "w")), refusal(lambda: open("/tmp" + new, "w").close()))
        print(os.geteuid() != 0, os.getgroups(), sorted(os.environ.keys() - {"PWD", "LC_CTYPE"}))
        try:
            pathlib.Path.home()
        except RuntimeError:
            print("no home")
        print(sorted({"etc", "proc", "bin", "sbin"} & {*os.listdir("/")}))
        print([name for name in ("sh", "cc", "gcc", "clang", "ld", "make") if shutil.which(name, path="/bin:/usr/bin")])
        print(refusal(lambda: socket.create_connection(("192.0.2.1", 5432), 5)))
        print(refusal(lambda: socket.create_connection(("127.0.0.1", 5432), 5)))
    """
    assert said(jail.run(dedent(code))) == [
        "EROFS None",
        "True [] []",
        "no home",
        "[]",
        "[]",
        "ENETUNREACH",
        "ENETUNREACH",
    ]


def test_models(jail: Jail, empty_url: str) -> None:
    code = """
        from peewee import Model, TextField
        from lightvec.peewee import Pg8000Database, VectorField

        database = Pg8000Database(sys.argv[1])

        class Note(Model):
            text = TextField()
            embedding = VectorField(3, metric="cosine", index="hnsw")

            class Meta:
                database = database

        database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
        database.create_tables([Note])
        with database.atomic():
            Note.create(text="up", embedding=[0, 0, 1])
        print(database.copy_rows(Note, [{"text": str(n), "embedding": [n, 1, 0]} for n in range(1500)]))
        print([(note.text, round(note.score, 3)) for note in Note.embedding.nearest([0, 0.1, 1], k=1, exact=True)])
        print(sum(1 for _ in Note.select().iterator()))
        database.close()
    """
    assert said(jail.run(dedent(code), empty_url)) == ["1500", "[('up', 0.995)]", "1501"]


def test_a_script(jail: Jail, url: str) -> None:
    code = """
        import lightvec
        with lightvec.connect(sys.argv[1]) as conn:
            print(conn.run("SELECT :v::vector", v=lightvec.Vector([1, 2])))
            print(sum(1 for _ in conn.stream("SELECT generate_series(1, 10000)", batch=100)))
            print(conn.fetch_columns("SELECT g, '[1,2]'::vector AS v FROM generate_series(1, 2) g"))
    """
    vectors = "[Vector([1.0, 2.0]), Vector([1.0, 2.0])]"
    assert said(jail.run(dedent(code), url)) == [
        "[[Vector([1.0, 2.0])]]",
        "10000",
        f"{{'g': [1, 2], 'v': {vectors}}}",
    ]


def test_a_home_that_is_closed(jail: Jail, url: str) -> None:
    """As where root's environment was kept for another account."""
    code = """
        import os, lightvec
        os.mkdir("/tmp/closed", 0o000)
        os.environ["HOME"] = "/tmp/closed"
        with lightvec.connect(sys.argv[1]) as conn:
            print(conn.run("SELECT 1"))
    """
    assert said(jail.run(dedent(code), url)) == ["[[1]]"]


def test_the_command_line(jail: Jail, empty_url: str) -> None:
    def lightvec(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = jail.run(COMMAND, *words, "--url", empty_url, stdin=stdin)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done

    lightvec("init-db", "--table", "note", "--dimensions", "2", "--column", "text:text")
    rows = "".join(f'{{"text": "{n}", "embedding": [{n}, 1]}}\n' for n in range(100))
    lightvec("load", "note", "-", "--map", "text:text", stdin=rows)
    assert lightvec("search", "note", "--vector", "[0, 1]", "-k", "1").stdout.split()[-1] == "0"
    lightvec("create-index", "note")
    lightvec("recall", "note", "--sample", "5")
    assert lightvec("doctor", "note").stderr == "0 problems\n"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("postgresql://app@192.0.2.1/shop", "192.0.2.1"),
        ("postgresql://app@database.example/shop", "database.example"),
        ("postgresql:///shop?host=/tmp", "runs as a user without a name: give user= or set PGUSER"),
        ("embedded:/tmp/db", "lightvec[embedded]"),
    ],
)
def test_what_cannot_be_is_one_sentence(jail: Jail, where: str, words: str) -> None:
    done = jail.run(COMMAND, "doctor", "--url", where)
    assert done.returncode in (1, 2)
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
