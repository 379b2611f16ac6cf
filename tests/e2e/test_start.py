"""A start that can't succeed ends with a line or two that name the cause, and no traceback."""

import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.processes import Process, running, wait_until_healthy
from tests.services import PostgresServer, RedisServer, free_port, private

MIGRATE = ("-m", "alembic", "upgrade", "head")
SECRET = "s3cret"


def refused(tmp_path: Path, *command: str, **env: str) -> str:
    """What it says, and nothing else, as it ends by itself."""
    log = tmp_path / f"{len(list(tmp_path.glob('*.log')))}.log"
    process = Process(*command, log=log, env={"DATA_DIR": str(tmp_path / "data"), "PORT": "0", "ENV": "TEST", **env})
    code = process.ended()
    said = log.read_text()
    assert code != 0, said
    assert "Traceback" not in said
    assert SECRET not in said
    assert len(said.splitlines()) <= 2, said
    return said


@pytest.mark.parametrize("command", [("-m", "standalone"), ("-m", "api"), ("-m", "worker"), MIGRATE], ids=str)
def test_a_folder_or_a_database_that_cannot_be_used(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "junk.db").write_bytes(b"no database" * 1_000)
    env = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    assert "it is a file" in refused(tmp_path, *command, **env, DATA_DIR=str(tmp_path / "file"))
    assert "DATA_DIR" in refused(tmp_path, *command, **env, DATA_DIR="/sys/parley")
    junk = refused(tmp_path, *command, **env, DATABASE_URL=f"sqlite:///{tmp_path}/junk.db")
    assert "file is not a database. Look at DATABASE_URL" in junk
    nowhere = refused(tmp_path, *command, **env, DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/x.db")
    assert "is not there" in nowhere


def test_a_password_that_is_wrong_and_a_database_that_is_not_there(tmp_path: Path) -> None:
    with private(PostgresServer) as server:
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text("host all postgres all trust\nhost all all all scram-sha-256\n")
        place = server.url.partition("@")[2]
        for command in (("-m", "api"), ("-m", "worker"), MIGRATE, ("-m", "api", "token", "ann")):
            env = {"REDIS_URL": "redis://127.0.0.1:1/0"}
            away = refused(tmp_path, *command, **env, DATABASE_URL=f"postgres://postgres@{place}/none")
            assert 'database "none" does not exist' in away
        server.stop()
        server.start()
        wrong = refused(tmp_path, *MIGRATE, DATABASE_URL=f"postgres://someone:{SECRET}@{place}/postgres")
        assert "password authentication failed" in wrong


def test_a_redis_that_refuses_the_password(tmp_path: Path) -> None:
    data = {"DATA_DIR": str(tmp_path / "data")}
    migrated = Process(*MIGRATE, log=tmp_path / "migrate.log", env=data)
    assert migrated.ended() == 0
    with private(RedisServer) as server:
        wrong = server.url.replace("redis://", f"redis://nobody:{SECRET}@")
        for module in ("api", "worker"):
            said = refused(tmp_path, "-m", module, REDIS_URL=wrong)
            assert "Look at REDIS_URL" in said


def test_a_database_that_was_not_migrated_and_one_of_a_newer_parley(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/parley.db"
    env = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": url}
    for module in ("api", "worker"):
        assert "alembic upgrade head" in refused(tmp_path, "-m", module, **env)
    assert Process(*MIGRATE, log=tmp_path / "made", env=env).ended() == 0
    with sqlite3.connect(tmp_path / "parley.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for command in (MIGRATE, ("-m", "standalone")):
        assert "9999 by a newer Parley" in refused(tmp_path, *command, DATABASE_URL=url)


def test_an_address_that_is_none_and_settings_that_are_wrong(tmp_path: Path) -> None:
    env = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    assert "HOST" in refused(tmp_path, "-m", "api", **env, HOST="no-such-host.invalid")
    assert "HOST" in refused(tmp_path, "-m", "api", **env, HOST=f"{'a' * 70}.example")
    said = refused(tmp_path, "-m", "api", DATABASE_URL=f"postgres://u:{SECRET}@h/db?sslmode=maybe")
    assert "  DATABASE_URL: sslmode must be" in said
    assert "Value error" not in said


@pytest.mark.parametrize("name", ["a b%41?c#d'é", "100%", 'say "hi"\n日本'])
def test_everything_lands_in_the_folder_whatever_its_name(name: str, tmp_path: Path) -> None:
    place, port = tmp_path / "place", free_port()
    place.mkdir()
    env = {"DATA_DIR": str(place / name), "PORT": str(port), "HOST": "::1", "ENV": "TEST"}
    with running("-m", "standalone", log=tmp_path / "log", env=env) as parley:
        wait_until_healthy(f"http://[::1]:{port}", parley)
        assert httpx.get(f"http://[::1]:{port}/health/ready").json()["checks"] == dict.fromkeys(
            ("sql", "blobs", "redis"), True
        )
        assert parley.stop() == 0
    assert f"http://[::1]:{port}/" in parley.log.read_text()
    assert [path.name for path in place.iterdir()] == [name]
    assert (place / name / "parley.db").is_file()
