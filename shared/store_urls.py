"""`REDIS_URL` and `BLOB_URL` as people and hosts write them, checked. Errors name a parameter, never a value."""

import ssl
from typing import NamedTuple
from urllib.parse import quote, unquote, urlencode

ENCODE = "its user name and password must be percent-encoded: write @ as %40, / as %2F, ? as %3F, # as %23"
MAX_PORT = 65_535

REDIS_SCHEMES = ("redis", "rediss", "unix")
REDIS_PARAMETERS = {"db", "username", "password", "client_name"}
REDIS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
CERT_REQS = {"none", "optional", "required"}
BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class UrlParts(NamedTuple):
    """A URL of a store, decoded; `hosts` is still text, and may be a list with commas."""

    scheme: str
    user: str | None
    password: str | None
    hosts: str
    path: str
    parameters: dict[str, str]


def split_url(url: str) -> UrlParts:
    """Take a URL apart, also one whose password holds @, / or #. Raises ValueError."""
    scheme, _, rest = url.strip().partition("://")
    before, _, query = rest.partition("?")
    if "@" in query and "@" not in before:
        raise ValueError(ENCODE)
    login, _, place = ("", "", before) if before.startswith("/") else before.rpartition("@")
    hosts, slash, path = place.partition("/")
    user, _, password = login.partition(":")
    parts = UrlParts(
        scheme.lower(), unquote(user) or None, unquote(password) or None, hosts, unquote(slash + path), _query(query)
    )
    if "\0" in "".join((parts.user or "", parts.password or "", parts.path, *parts.parameters.values())):
        raise ValueError("must not hold %00")
    return parts


def _query(query: str) -> dict[str, str]:
    """The parameters of a query, as libpq reads them: a + is a +. Empty ones count as not given."""
    parameters = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if not (equals and name.replace("_", "").isalnum() and name.isascii()):
            raise ValueError("has a part behind ? that is not name=value; " + ENCODE)
        if value:
            parameters[name] = unquote(value)
    return parameters


def split_host(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[IPv6]:port`. Raises ValueError, without the text: it may be part of a password."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        is_whole = bool(bracket and host) and (not port or port.startswith(":"))
        port = port[1:]
    else:
        host, _, port = text.partition(":")
        is_whole = ":" not in port
    if not is_whole or (port and not (port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT)):
        raise ValueError("must name its host as host:port, an IPv6 address as [address]:port; " + ENCODE)
    try:
        host.encode("idna")  # as the system's resolver will
    except UnicodeError:
        raise ValueError("names a host that can't be one; " + ENCODE) from None
    return unquote(host), int(port) if port else None


def boolean(name: str, value: str) -> bool:
    """A parameter that is true or false."""
    if value.lower() not in BOOLEANS:
        msg = f"{name} must be true or false"
        raise ValueError(msg)
    return BOOLEANS[value.lower()]


def check_certificates(
    roots: tuple[str, str | None],
    certificate: tuple[str, str | None],
    key: tuple[str, str | None],
    password: str | None = None,
) -> None:
    """See that the files named by these (parameter, path) can be used. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name = roots[0]
    try:
        if roots[1]:
            context.load_verify_locations(cafile=roots[1])
        name = certificate[0]
        if certificate[1]:
            with open(certificate[1], "rb"):  # noqa: PTH123 - a missing key must not be told as this one
                name = key[0] if key[1] else name
            context.load_cert_chain(certificate[1], key[1], lambda: password or "")
        elif key[1]:
            msg = f"{key[0]} needs {certificate[0]}"
            raise ValueError(msg)
    except ssl.SSLError as error:
        msg = f"{name} names a file that can't be used: {error.reason or 'no certificate'}"
        raise ValueError(msg) from None
    except OSError as error:
        msg = f"{name} names a file that can't be read: {error.strerror}"
        raise ValueError(msg) from None


def redis_url(url: str) -> str:
    """The URL as redis-py takes it. Raises ValueError for what it would misread."""
    if "sentinel" in url.partition("://")[0].lower():
        raise ValueError("must name one Redis: Sentinel is not supported")
    parts = split_url(url)
    if parts.scheme not in REDIS_SCHEMES:
        raise ValueError("must start with redis://, rediss:// or unix://")
    if "," in parts.hosts:
        raise ValueError("must name one Redis: Sentinel and Cluster are not supported")
    given = dict(parts.parameters)
    user, password = given.pop("username", parts.user), given.pop("password", parts.password)
    if parts.scheme == "unix":
        if parts.hosts or len(parts.path) < len("/x"):
            raise ValueError("must name a socket: unix:///path/to/redis.sock")
        path = quote(parts.path)
    else:
        host, port = split_host(parts.hosts)
        place = (f"[{host}]" if ":" in host else quote(host)) + (f":{port}" if port else "")
        path = f"{place}/{_database(given.pop('db', parts.path[1:] or '0'))}"
    if "db" in given:
        _database(given["db"])
    given |= _checked_tls(parts.scheme, given)
    if unknown := sorted(given.keys() - REDIS_PARAMETERS - REDIS_FILES - {"ssl_cert_reqs", "ssl_check_hostname"}):
        msg = f"has a parameter that is not supported: {unknown[0]}"
        raise ValueError(msg)
    login = quote(user or "", safe="") + (f":{quote(password, safe='')}" if password else "")
    login += "@" if login else ""
    return f"{parts.scheme}://{login}{path}" + (f"?{urlencode(given, quote_via=quote)}" if given else "")


def _database(number: str) -> str:
    if not (number.isascii() and number.isdigit()):
        raise ValueError("db, the database behind the host, must be a number")
    return number


def _checked_tls(scheme: str, given: dict[str, str]) -> dict[str, str]:
    tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    if tls and scheme != "rediss":
        msg = f"{min(tls)} needs rediss://"
        raise ValueError(msg)
    roots, certificate, key = [(name, tls.get(name)) for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")]
    check_certificates(roots, certificate, key)
    if "ssl_cert_reqs" in tls:
        tls["ssl_cert_reqs"] = tls["ssl_cert_reqs"].lower().removeprefix("cert_")  # Celery writes CERT_NONE
        if tls["ssl_cert_reqs"] not in CERT_REQS:
            raise ValueError("ssl_cert_reqs must be none, optional or required")
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = str(boolean("ssl_check_hostname", tls["ssl_check_hostname"])).lower()
    return tls


def blob_url(url: str) -> str:
    """The URL as it is. Raises ValueError for what would be misread."""
    url = url.strip()
    scheme, _, rest = url.partition("://")
    if scheme not in {"file", "s3", "memory"} or (scheme == "file" and not rest.startswith("/")):
        raise ValueError("must start with file:/// or s3:// or memory://")
    if "?" in rest or "#" in rest:
        raise ValueError(
            "must not hold ? or #: in the path of a folder write %3F and %23; "
            "a bucket's settings are variables of their own, AWS_…"
        )
    if "%00" in rest:
        raise ValueError("must not hold %00")
    if scheme == "s3" and ("@" in rest or ":" in rest.partition("/")[0] or not rest.partition("/")[0]):
        raise ValueError("must be s3://bucket or s3://bucket/prefix; keys and endpoint have variables, AWS_…")
    return url


def address(url: str | None) -> str:
    """Where a store is, for the log: without user name, password and parameters."""
    if url is None:
        return "in this process"
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
