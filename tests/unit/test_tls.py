"""PostgreSQL over TLS, with passwords, and by its socket: what the parameters of `DATABASE_URL` promise is so."""

import asyncio
import datetime as dt
import ipaddress
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text

from shared.errors import Unavailable
from shared.sql.database import Database
from tests.conftest import migrate, on_postgres
from tests.services import PostgresServer, private

PASSWORD = "p@ss/w?rd#1:%"
ENCODED = "p%40ss%2Fw%3Frd%231%3A%25"
RULES = """
local all all trust
host all postgres 127.0.0.1/32 trust
hostssl tls all 127.0.0.1/32 scram-sha-256
hostnossl plain all 127.0.0.1/32 scram-sha-256
"""


class Tls(NamedTuple):
    """A server with a certificate for 127.0.0.1; `other` signs certificates that are not this server's."""

    server: PostgresServer
    ca: Path
    other: Path

    def url(self, database: str, parameters: str = "", password: str = ENCODED) -> str:
        return f"postgres://someone:{password}@127.0.0.1:{self.server.port}/{database}?{parameters}"


def certificate(folder: Path, name: str, host: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    paths[1].chmod(0o600)
    return paths


@pytest.fixture(scope="module")
async def tls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    ours, key = certificate(folder, "ours", "127.0.0.1")
    other, _ = certificate(folder, "other", "127.0.0.1")
    with private(PostgresServer) as server:
        for path, name in ((ours, "server.crt"), (key, "server.key")):
            place = server.folder / "data" / name
            shutil.copy(path, place)
            place.chmod(0o600)
            shutil.chown(place, (server.folder / "data").owner(), (server.folder / "data").group())
        (server.folder / "data" / "pg_hba.conf").write_text(RULES)
        for statement in (
            "ALTER SYSTEM SET ssl = on",
            f"CREATE USER someone SUPERUSER PASSWORD '{PASSWORD}'",
            "CREATE DATABASE tls",
            "CREATE DATABASE plain",
        ):
            await on_postgres(server.url, statement)
        server.stop()
        server.start()
        yield Tls(server, ours, other)


async def ask(url: str) -> tuple[bool, str]:
    """Whether the connection is by TLS, and its application's name."""
    database = Database(url)
    try:
        async with database.read() as db:
            question = "SELECT ssl, current_setting('application_name') FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            found = (await (await db.connection()).execute(text(question))).one()
            return bool(found[0]), str(found[1])
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("parameters", "is_tls"),
    [
        ("sslmode=require", True),
        ("sslmode=require&channel_binding=require", True),
        ("sslmode=prefer", True),
        ("sslmode=verify-ca&sslrootcert={ca}", True),
        ("sslmode=verify-full&sslrootcert={ca}&ssl_min_protocol_version=TLSv1.2", True),
        ("ssl=true", True),
        ("", True),
        ("sslmode=disable", False),
        ("sslmode=allow", False),
    ],
)
async def test_each_mode_connects_as_it_says(tls: Tls, parameters: str, is_tls: bool) -> None:  # noqa: FBT001
    database = "tls" if is_tls else "plain"
    url = tls.url(database, parameters.format(ca=tls.ca) + "&application_name=mine&connect_timeout=10")
    assert await ask(url) == (is_tls, "mine")
    migrate(url)


@pytest.mark.parametrize(
    ("database", "parameters", "why"),
    [
        ("tls", "sslmode=disable", "no pg_hba.conf entry"),
        ("tls", "sslmode=verify-full&sslrootcert={other}", "CERTIFICATE_VERIFY_FAILED"),
        ("tls", "sslmode=verify-ca&sslrootcert={other}", "CERTIFICATE_VERIFY_FAILED"),
        ("tls", "sslmode=verify-full", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_what_a_mode_forbids_is_refused_with_the_reason(
    tls: Tls, database: str, parameters: str, why: str
) -> None:
    with pytest.raises(Unavailable) as caught:
        await ask(tls.url(database, parameters.format(other=tls.other) + "&connect_timeout=10"))
    assert why in caught.value.why
    assert caught.value.is_lasting


async def test_a_password_may_be_written_as_it_is_but_for_a_question_mark(tls: Tls) -> None:
    raw = PASSWORD.replace("?", "%3F").replace("%", "%25", 1).replace("%253F", "%3F")
    assert (await ask(tls.url("tls", "sslmode=require&connect_timeout=10", raw)))[0]
    with pytest.raises(Unavailable) as caught:
        await ask(tls.url("tls", "sslmode=require&connect_timeout=10", "another"))
    assert (caught.value.state, caught.value.is_lasting) == ("refusing the password", True)


async def test_sockets_options_and_several_hosts(tls: Tls) -> None:
    server = tls.server
    by_socket = f"postgresql://postgres@/postgres?host={server.folder}&port={server.port}&options=-c%20work_mem%3D99MB"
    database = Database(by_socket)
    async with database.read() as db:
        assert (await (await db.connection()).execute(text("SHOW work_mem"))).scalar_one() == "99MB"
    await database.close()
    several = f"postgresql://postgres@127.0.0.1:1,127.0.0.1:{server.port}/postgres?target_session_attrs=read-write"
    assert await ask(several + "&connect_timeout=10") == (True, "parley")


async def test_behind_a_pooler_reads_are_transactions_and_nothing_is_prepared_twice(tls: Tls) -> None:
    database = Database(f"{tls.server.url}/postgres?pgbouncer=true&connect_timeout=10")

    async def read() -> None:
        async with database.read() as db:
            await (await db.connection()).execute(text("SELECT pg_backend_pid()"))

    await asyncio.gather(*(read() for _ in range(5)))
    await database.check()
    async with database.read() as db:
        prepared = (await (await db.connection()).execute(text("SELECT count(*) FROM pg_prepared_statements"))).scalar()
    assert prepared is not None
    assert prepared <= 1
    await database.close()
