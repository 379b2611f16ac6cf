"""`DATABASE_URL` as people and hosts write it: checked, and turned into what SQLAlchemy and its drivers take.

PostgreSQL's parameters are libpq's. Errors name a parameter, never a value that may be secret.
"""

import getpass
import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from uuid import uuid4

from sqlalchemy import URL

from shared.store_urls import boolean, check_certificates, split_host, split_url

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
CHOICES = {
    "sslmode": SSL_MODES,
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "target_session_attrs": ("any", "read-write", "primary"),  # Parley has to write
    "load_balance_hosts": ("disable",),
    "client_encoding": ("utf8", "utf-8", "UTF8", "UTF-8", "auto"),
    "schema": ("public",),  # another one: options=-c search_path=…
}
SSL_ALIASES = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
DRIVERS_OWN = {  # asyncpg reads these from a DSN, and from nothing else
    "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation", "passfile",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs",
}  # fmt: skip
SERVERS_OWN = {"application_name", "options"}
NUMBERS = {"statement_cache_size", "prepared_statement_cache_size"}
WITHOUT_EFFECT = {  # what other drivers and their pools understand, and what the system does by itself
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "sslcompression",
    "sslsni", "gssdelegation", "fallback_application_name", "connection_limit", "pool_timeout", "supa",
    "channel_binding", "gssencmode", "load_balance_hosts", "client_encoding", "schema",
}  # fmt: skip
UNBOUND = "channel_binding=require is not done by the driver: sslmode=verify-full protects against a false server"


class DatabaseUrl(NamedTuple):
    """What to connect to: `args` are the driver's, `where` is without user and password.

    `is_pooled`: a pooler such as PgBouncer gives each transaction another connection. `warning` is for the log.
    """

    url: URL
    args: dict[str, Any]
    where: str
    is_pooled: bool = False
    warning: str | None = None


def database_url(url: str) -> DatabaseUrl:
    """Read a URL. Raises ValueError."""
    scheme, separator, rest = url.strip().partition("://")
    match scheme.lower().split("+")[0], separator and rest:
        case "sqlite", str(rest) if rest:
            return _sqlite(rest)
        case "postgres" | "postgresql", str(rest) if rest:
            return _postgresql(url)
    raise ValueError("must be sqlite+aiosqlite:///… or postgresql+asyncpg://…")


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters its path holds."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()


def _sqlite(rest: str) -> DatabaseUrl:
    before, question, query = rest.partition("?")
    if question:
        msg = f"has a parameter that is not supported: {query.partition('=')[0]}; a ? in a path is written %3F"
        raise ValueError(msg)
    parts = split_url(f"sqlite://{before}")
    if parts.hosts or parts.user:
        raise ValueError("must have three slashes, and four before an absolute path: sqlite:///path/to/file.db")
    name = parts.path[1:]
    if name in {"", ":memory:"} or name.startswith("file:"):
        raise ValueError("must name a file: sqlite:///path/to/file.db")
    try:
        path = Path(name).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names the home of a user who is not there") from None
    return DatabaseUrl(URL.create("sqlite+aiosqlite", database=str(path)), {}, str(path))


def _postgresql(url: str) -> DatabaseUrl:
    parts = split_url(url)
    given = dict(parts.parameters)
    if ssl_ := given.pop("ssl", None):
        given.setdefault("sslmode", SSL_ALIASES.get(ssl_.lower(), ssl_))
    hosts, ports = _hosts(given.pop("host", None), given.pop("port", None), parts.hosts)
    args: dict[str, Any] = {
        "user": given.pop("user", None) or parts.user,
        "password": given.pop("password", None) or parts.password,
        "database": given.pop("dbname", None) or given.pop("database", None) or parts.path.strip("/"),
        "host": hosts or None,
        "port": ports,
    }
    if not args["database"]:
        raise ValueError("names no database: end it with /name")
    if not args["user"] and not _is_user_known():
        raise ValueError("names no user: postgresql://user:password@host/name")
    for name, choices in CHOICES.items():
        if given.get(name, choices[0]) not in choices:
            msg = f"{name} must be {' or '.join(choices)}"
            raise ValueError(msg)
    is_pooled = boolean("pgbouncer", given.pop("pgbouncer", "false"))
    args |= _numbers(given)
    if is_pooled:
        args |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        args["prepared_statement_name_func"] = lambda: f"parley_{uuid4()}"
    args["server_settings"] = {name: given.pop(name) for name in SERVERS_OWN & given.keys()}
    if unknown := sorted(given.keys() - DRIVERS_OWN - WITHOUT_EFFECT):
        msg = f"has a parameter that is not supported: {unknown[0]}"
        raise ValueError(msg)
    args |= _tls(given)
    where = ",".join(f"{host}:{port}" for host, port in zip(hosts, ports or (), strict=False)) or "localhost"
    warning = UNBOUND if given.get("channel_binding") == "require" and given.get("sslmode") != "verify-full" else None
    where = f"{where}/{args['database']}"
    return DatabaseUrl(URL.create("postgresql+asyncpg"), _only_set(args), where, is_pooled, warning)


def _only_set(args: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if value is not None}


def _hosts(named: str | None, named_port: str | None, in_url: str) -> tuple[list[str], list[int] | None]:
    """Hosts and ports. A host among the parameters, where sockets are named, counts more than the one before the /."""
    texts = (named or in_url).split(",") if named or in_url else []
    if not all(texts):
        raise ValueError("names an empty host")
    found: list[tuple[str, int | None]] = []
    for text in texts:
        if named and (text.startswith("/") or text.count(":") > 1) and not text.startswith("["):
            found.append((text, None))  # a socket, or an IPv6 address
        else:
            found.append(split_host(text))
    ports = [port for _, port in found]
    if named_port:
        given = [split_host(f"x:{port}")[1] if port else None for port in named_port.split(",")]
        if len(given) not in {1, max(len(found), 1)}:
            raise ValueError("port must name one port, or one for each host")
        ports = given if len(given) == max(len(found), 1) else given * len(found)
    if not any(ports):
        return [host for host, _ in found], [int(os.environ.get("PGPORT", "5432"))] * len(found) or None
    return [host for host, _ in found], [port or 5432 for port in ports]


def _is_user_known() -> bool:
    try:
        return bool(os.environ.get("PGUSER") or getpass.getuser())
    except (KeyError, OSError):  # a container's user has no name
        return False


def _numbers(given: dict[str, str]) -> dict[str, Any]:
    """`connect_timeout` as the driver's, and the sizes of its caches."""
    args: dict[str, Any] = {}
    for name in {"connect_timeout", *NUMBERS} & given.keys():
        text = given.pop(name)
        if not (text.isascii() and text.isdigit()):
            msg = f"{name} must be a whole number"
            raise ValueError(msg)
        if name in NUMBERS:
            args[name] = int(text)
        elif int(text):
            args["timeout"] = float(text)
    return args


def _tls(given: dict[str, str]) -> dict[str, Any]:
    """The driver's DSN, which has everything about TLS, or a context where the system's certificates count."""
    roots = given.get("sslrootcert", os.environ.get("PGSSLROOTCERT"))
    certificate, key = given.get("sslcert"), given.get("sslkey")
    mode, password = given.get("sslmode"), given.get("sslpassword")
    if mode in {"verify-ca", "verify-full"} and not roots and not _has_roots_at_home():
        if mode == "verify-ca":
            raise ValueError("sslmode=verify-ca needs sslrootcert")
        roots = "system"
    is_system = roots == "system"
    checked = None if is_system else roots
    check_certificates(("sslrootcert", checked), ("sslcert", certificate), ("sslkey", key), password)
    check_certificates(("sslcrl", given.get("sslcrl")), ("sslcert", None), ("sslkey", None))
    args: dict[str, Any] = {}
    if is_system:
        if mode not in {None, "verify-full"}:
            raise ValueError("sslrootcert=system needs sslmode=verify-full")
        context = ssl.create_default_context()
        if certificate:
            context.load_cert_chain(certificate, key, lambda: password or "")
        args["ssl"] = context
    own = {name: given[name] for name in DRIVERS_OWN & given.keys() if not (is_system and name == "sslrootcert")}
    return args | {"dsn": f"postgresql://?{urlencode(own, quote_via=quote)}" if own else None}


def _has_roots_at_home() -> bool:
    try:
        return (Path.home() / ".postgresql" / "root.crt").exists()
    except (RuntimeError, OSError):
        return False
