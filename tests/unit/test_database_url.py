"""`DATABASE_URL` as hosts hand it out, and as people type it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from shared.config import Settings, get_settings
from shared.sql.url import database_url, sqlite_url

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("postgres://u:p@h/db", {"user": "u", "password": "p", "host": ["h"], "port": [5432], "database": "db"}),
        ("postgresql+psycopg2://u:p@h:6543/db", {"port": [6543]}),
        ("POSTGRESQL://u:p@h/db\n", {"database": "db"}),
        ("postgresql://u:a%40b%2Fc%3Ad%25@h/db", {"password": "a@b/c:d%"}),
        ("postgresql://u:a@b/c#d:e@h/db", {"user": "u", "password": "a@b/c#d:e", "host": ["h"]}),
        ("postgresql://u:100%@h/db", {"password": "100%"}),
        ("postgresql://u:p+q@h/db", {"password": "p+q"}),
        ("postgresql://u%40corp:p@h/my%20db", {"user": "u@corp", "database": "my db"}),
        ("postgresql://u:p@[::1]:5433/db", {"host": ["::1"], "port": [5433]}),
        ("postgresql://u:p@[2001:db8::1]/db", {"host": ["2001:db8::1"], "port": [5432]}),
        ("postgresql://u:p@a:1,b:2/db?target_session_attrs=read-write", {"host": ["a", "b"], "port": [1, 2]}),
        ("postgresql://u:p@a,b:2/db", {"host": ["a", "b"], "port": [5432, 2]}),
        ("postgresql://u:p@/db?host=a,b&port=1,2", {"host": ["a", "b"], "port": [1, 2]}),
        ("postgresql://u@/db?host=/var/run/postgresql", {"host": ["/var/run/postgresql"]}),
        ("postgresql://u@/db?host=/run/a%20b&port=6000", {"host": ["/run/a b"], "port": [6000]}),
        ("postgresql://u@%2Fvar%2Frun%2Fpostgresql/db", {"host": ["/var/run/postgresql"]}),
        ("postgresql://u:p@localhost/db?host=/cloudsql/p:r:i", {"host": ["/cloudsql/p:r:i"]}),
        ("postgresql://u@/db?host=::1", {"host": ["::1"]}),
        ("postgresql://h?user=u&password=p%26q&dbname=db", {"user": "u", "password": "p&q", "database": "db"}),
        ("postgresql://u:p@h/db?connect_timeout=10", {"timeout": 10.0}),
        ("postgresql://u:p@h/db?application_name=a%20b", {"server_settings": {"application_name": "a b"}}),
        ("postgresql://u:p@h/db?options=-c%20search_path%3Dx", {"server_settings": {"options": "-c search_path=x"}}),
        ("postgresql://u:p@h/db?options=project%3Dep-x", {"server_settings": {"options": "project=ep-x"}}),
        ("postgresql://u:p@h/db?ssl=true", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u:p@h/db?ssl=require", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u:p@h/db?sslmode=&sslcert=", {"server_settings": {}}),
        ("postgresql://u:p@h/db?pgbouncer=true&connection_limit=1", {"statement_cache_size": 0}),
        ("postgresql://u:p@h/db?prepared_statement_cache_size=0", {"prepared_statement_cache_size": 0}),
        ("postgresql://u:p@h/db?keepalives=1&keepalives_idle=30&gssencmode=disable&channel_binding=prefer", {}),
        ("postgresql://u.ref:p@pooler.supabase.com:6543/postgres?pgbouncer=true&supa=base-pooler.x", {"user": "u.ref"}),
    ],
)
def test_what_hosts_hand_out_reaches_the_driver(url: str, meant: dict[str, Any]) -> None:
    given = database_url(url).args
    assert {name: given[name] for name in meant} == meant
    assert Settings(_env_file=None, database_url=url).database_url  # it is no mistake in the settings either


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_each_sslmode_without_a_certificate_is_taken(mode: str) -> None:
    assert database_url(f"postgresql://u@h/db?sslmode={mode}").args["dsn"] == f"postgresql://?sslmode={mode}"


def test_verify_full_without_a_file_trusts_whom_the_system_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for parameters in ("sslmode=verify-full", "sslmode=verify-full&sslrootcert=system", "sslrootcert=system"):
        context = database_url(f"postgresql://u@h/db?{parameters}").args["ssl"]
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"


def test_channel_binding_that_the_driver_does_not_do_is_told() -> None:
    required = "postgresql://u@h/db?sslmode={}&channel_binding=require"
    assert "channel_binding" in str(database_url(required.format("require")).warning)
    assert database_url(required.format("verify-full")).warning is None


@pytest.mark.parametrize(
    ("end", "complaint"),
    [
        ("?sslmode=maybe", "sslmode must be disable or"),
        ("?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        ("?sslmode=require&sslrootcert=system", "sslrootcert=system needs sslmode=verify-full"),
        ("?sslrootcert=/nowhere/ca.pem", "sslrootcert names a file that can't be read"),
        ("?sslcert=/nowhere/c.pem&sslkey=/nowhere/k.pem", "sslcert names a file that can't be read"),
        ("?sslkey=/nowhere/k.pem", "sslkey needs sslcert"),
        ("?sslcrl=/nowhere/crl.pem", "sslcrl names a file that can't be read"),
        (f"?sslrootcert={Path(__file__).as_posix()}", "sslrootcert names a file that can't be used"),
        ("?channel_binding=always", "channel_binding must be"),
        ("?gssencmode=require", "gssencmode must be disable or prefer"),
        ("?target_session_attrs=standby", "target_session_attrs must be any or read-write or primary"),
        ("?connect_timeout=soon", "connect_timeout must be a whole number"),
        ("?port=http", "must name its host as"),
        ("?port=1,2", "port must name one port, or one for each host"),
        ("?pgbouncer=perhaps", "pgbouncer must be true or false"),
        ("?schema=mine", "schema must be public"),
        ("?require_auth=scram-sha-256", "not supported: require_auth"),
        ("?hostaddr=10.0.0.1", "not supported: hostaddr"),
        ("?sslmode", "name=value"),
        ("?sslmode=require&sslmoed=x", "not supported: sslmoed"),
    ],
)
def test_what_cannot_be_done_is_told_by_the_parameters_name_and_without_the_secret(end: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        database_url(f"postgresql://u:{SECRET}@h/db{end}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@h",
        f"postgresql://u:{SECRET}@h/",
        f"postgresql://u:{SECRET}?x@h/db",
        f"postgresql://u:a?{SECRET}=x@h/db",
        f"postgresql://u:{SECRET}@h:port/db",
        f"postgresql://u:{SECRET}@h:99999/db",
        f"postgresql://u:{SECRET}@::1/db",
        f"postgresql://u:{SECRET}@[::1/db",
        f"postgresql://u:{SECRET}@a,,b/db",
        f"postgresql://u:{SECRET}@{'a' * 70}.example/db",
        f"postgresql://u:{SECRET}%00@h/db",
        f"jdbc:postgresql://h/db?user=u&password={SECRET}",
        f"mysql://u:{SECRET}@h/db",
        f"host=h password={SECRET} dbname=db",
        f"postgresql:u:{SECRET}@h/db",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_the_secret(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        database_url(url)
    assert SECRET not in str(caught.value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url)
    get_settings.cache_clear()
    with pytest.raises(SystemExit) as ended:
        get_settings()
    get_settings.cache_clear()
    assert "DATABASE_URL: " in str(ended.value)
    assert "Value error" not in str(ended.value)
    assert SECRET not in str(ended.value)


def test_where_it_is_names_no_user_and_no_password() -> None:
    assert database_url(f"postgresql://someone:{SECRET}@a:1,b/db").where == "a:1,b:5432/db"
    assert database_url("postgresql:///db?user=someone").where == "localhost/db"


ODD = [
    "a b",
    "100%",
    "%41",
    "a?b",
    "a#b",
    "a&b=c",
    "it's",
    'say "hi"',
    "line\nbreak",
    "日本 é",
    "a:b@c",
    "[x]",
    "a+b;c",
]


@pytest.mark.parametrize("name", ODD)
def test_the_path_of_a_sqlite_file_survives_its_url(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "parley.db"
    target = database_url(sqlite_url(path))
    assert (target.url.database, target.where) == (str(path), str(path))
    assert make_url(target.url.render_as_string()).database == str(path)
    folder = Settings(_env_file=None, data_dir=tmp_path / name)
    assert database_url(folder.embedded_database_url).where == str(path)


def test_a_sqlite_url_of_ones_own_is_decoded_and_finds_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for url, path in (
        ("sqlite:///some/file.db", "some/file.db"),
        ("sqlite:///my%20data/100%25%3F.db", "my data/100%?.db"),
        ("sqlite:///100%/x#y.db", "100%/x#y.db"),
        ("sqlite:///~/parley.db", "parley.db"),
        (f"sqlite+aiosqlite:///{tmp_path}/it's.db", "it's.db"),
    ):
        assert database_url(url).where == str(tmp_path / path)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite://", "must be sqlite"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///file:x?uri=true", "not supported: uri"),
        ("sqlite:///file:x", "must name a file"),
        ("sqlite://data/parley.db", "three slashes"),
        ("sqlite:///what?.db", "%3F"),
        ("sqlite:///x.db?mode=ro", "not supported: mode"),
        ("sqlite:///~nobody-of-that-name/x.db", "not there"),
        ("sqlite:///a%00b", "%00"),
    ],
)
def test_a_sqlite_url_that_would_land_elsewhere_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        database_url(url)


def test_the_data_folder_is_a_path_of_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(_env_file=None, data_dir="~/parley/").data_dir == tmp_path / "parley"
    for wrong in ("~nobody-of-that-name/x", "a\udcffb"):
        with pytest.raises(ValidationError, match="data_dir"):
            Settings(_env_file=None, data_dir=wrong)
