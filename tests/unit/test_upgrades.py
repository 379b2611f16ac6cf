"""Old code beside new tables: what an upgrade without a pause rests on."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from tests.conftest import ROOT, migrate


class Column(NamedTuple):
    """What an INSERT or an UPDATE of the code of before may meet."""

    must_be_told: bool
    nullable: bool


def script() -> ScriptDirectory:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return ScriptDirectory.from_config(config)


def revisions() -> list[str]:
    return [one.revision for one in reversed(list(script().walk_revisions()))]


def columns(path: Path) -> dict[str, Column]:
    """Each column as `table.column`."""
    engine = create_engine(f"sqlite:///{path}")
    inspector = inspect(engine)
    found: dict[str, Column] = {}
    for table in inspector.get_table_names():
        keys = inspector.get_pk_constraint(table)["constrained_columns"]
        for one in inspector.get_columns(table):
            told = not one["nullable"] and one["default"] is None and one["name"] not in keys
            found[f"{table}.{one['name']}"] = Column(told, one["nullable"])
    engine.dispose()
    return found


def breaks(before: dict[str, Column], after: dict[str, Column]) -> list[str]:
    """What of a revision the code of before it can't live with."""
    tables = {name.partition(".")[0] for name in before}
    gone = [f"{name} is gone" for name in before if name not in after]
    wants = [
        f"{name} has no default"
        for name in after.keys() - before.keys()
        if after[name].must_be_told and name.partition(".")[0] in tables
    ]
    tighter = [
        f"{name} may not be null"
        for name in before
        if name in after and before[name].nullable and not after[name].nullable
    ]
    return sorted(gone + wants + tighter)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """For each revision what of it breaks the code of the one before."""
    path = tmp_path_factory.mktemp("upgrades") / "parley.db"
    found: dict[str, list[str]] = {}
    before: dict[str, Column] = {}
    for revision in revisions():
        migrate(f"sqlite+aiosqlite:///{path}", revision)
        after = columns(path)
        found[revision] = breaks(before, after)
        before = after
    return found


def test_the_code_of_before_lives_with_every_revision(history: dict[str, list[str]]) -> None:
    """A revision that ends an expand and contract says so: `contracts = "0007"`, the revision that expanded."""
    for revision, broken in history.items():
        contracts: Any = getattr(script().get_revision(revision).module, "contracts", None)
        if broken:
            assert contracts in history, (revision, broken)
            assert contracts < revision


def test_what_breaks_old_code_is_found() -> None:
    kept = {
        "user.id": Column(must_be_told=False, nullable=False),
        "user.name": Column(must_be_told=False, nullable=True),
    }
    added = {
        "user.age": Column(must_be_told=False, nullable=True),
        "key.name": Column(must_be_told=True, nullable=False),
    }
    assert breaks(kept, kept | added) == []
    needed = {"user.age": Column(must_be_told=True, nullable=False)}
    assert breaks(kept, kept | needed) == ["user.age has no default"]
    assert breaks(kept | needed, kept) == ["user.age is gone"]
    tighter = {"user.name": Column(must_be_told=True, nullable=False)}
    assert breaks(kept, kept | tighter) == ["user.name may not be null"]
