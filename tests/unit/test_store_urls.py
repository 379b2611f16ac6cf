"""`REDIS_URL`, `BLOB_URL` and the URLs of model servers as people type them."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import parse_url

from shared.config import Settings
from shared.provider_presets import checked_url
from shared.storage import Storage
from shared.store_urls import blob_url, redis_url

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://h", {"host": "h", "db": 0}),
        (" redis://h:6380/5\n", {"host": "h", "port": 6380, "db": 5}),
        ("redis://h?db=3", {"db": 3}),
        ("redis://:p%40%2F@h/1", {"password": "p@/", "db": 1}),
        ("redis://:a@b/c#d@h:6379/1", {"password": "a@b/c#d", "host": "h", "db": 1}),
        ("redis://default:p@h", {"username": "default", "password": "p"}),
        ("redis://h/0?username=u&password=p%26", {"username": "u", "password": "p&"}),
        ("redis://[::1]:6379/0", {"host": "::1", "port": 6379}),
        ("rediss://:p@h:6380/0?ssl_cert_reqs=CERT_NONE", {"ssl_cert_reqs": "none"}),
        ("rediss://h?ssl_cert_reqs=required&ssl_check_hostname=True", {"ssl_check_hostname": True}),
        ("unix:///run/a%20b@c.sock?db=2", {"path": "/run/a b@c.sock", "db": 2}),
        ("unix://u:p@/run/redis.sock", {"path": "/run/redis.sock", "username": "u", "password": "p"}),
    ],
)
def test_a_redis_url_reaches_the_driver(url: str, meant: dict[str, Any]) -> None:
    settings = Settings(_env_file=None, redis_url=url)
    assert settings.redis_url
    given = parse_url(settings.redis_url.get_secret_value())
    assert {name: given.get(name) for name in meant} == meant


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"redis+sentinel://:{SECRET}@h:26379/mymaster/0", "Sentinel is not supported"),
        (f"redis://:{SECRET}@a:1,b:2/0", "Sentinel and Cluster are not supported"),
        (f"redis://:{SECRET}@h/first", "db, the database behind the host, must be a number"),
        (f"redis://:{SECRET}@h/0/1", "must be a number"),
        (f"redis://:{SECRET}@h/0?decode_responses=true", "not supported: decode_responses"),
        (f"redis://:{SECRET}@h/0?max_connections=5", "not supported: max_connections"),
        (f"redis://:{SECRET}@h/0?ssl_cert_reqs=none", "ssl_cert_reqs needs rediss://"),
        (f"rediss://:{SECRET}@h/0?ssl_cert_reqs=maybe", "ssl_cert_reqs must be none, optional or required"),
        (f"rediss://:{SECRET}@h/0?ssl_ca_certs=/nowhere", "ssl_ca_certs names a file that can't be read"),
        (f"redis://:{SECRET}?x@h/0", "percent-encoded"),
        (f"redis://:{SECRET}@h:70000/0", "host:port"),
        (f"redis://h:{SECRET}", "host:port"),
        (f"unix://:{SECRET}@run/redis.sock", "must name a socket"),
        (f"h:6379/{SECRET}", "must start with redis://"),
    ],
)
def test_a_redis_url_that_cannot_work_is_refused_without_the_secret(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        redis_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("file:///data/what?.d", "%3F"),
        ("file:///data/#1", "%23"),
        ("file://host/data", "must start with file:///"),
        ("/data", "must start with file:///"),
        ("s3://", "s3://bucket"),
        ("s3:///prefix", "s3://bucket"),
        (f"s3://key:{SECRET}@bucket", "s3://bucket"),
        ("s3://bucket?region=x", "AWS_"),
    ],
)
def test_a_blob_url_that_would_be_misread_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        blob_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "100%", "%41", "a?b", "a#b", "it's", "line\nbreak", "日本 é"])
async def test_blobs_land_in_the_folder_that_was_named(name: str, tmp_path: Path) -> None:
    for settings in (
        Settings(_env_file=None, blob_url=(tmp_path / name).as_uri()),
        Settings(_env_file=None, data_dir=tmp_path / name),
    ):
        await Storage(settings.embedded_blob_url).put("upload/1", b"x")
    assert (tmp_path / name / "upload" / "1").read_bytes() == b"x"
    assert (tmp_path / name / "blobs" / "upload" / "1").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == [name]  # noqa: ASYNC240


@pytest.mark.parametrize(
    "url",
    [
        "localhost:1234/v1", "http://", "http:///v1", "http://h:port/v1", "http://h:99999/v1", "http://[::1/v1",
        f"http://u:{SECRET}@h/v1", f"http://h/v1?key={SECRET}", "http://h/v1#x", "http://h/a b", "ftp://h",
    ],
)  # fmt: skip
def test_a_model_servers_url_that_cannot_work_is_refused_without_the_secret(url: str) -> None:
    with pytest.raises(ValueError, match="base URL of 'mine'") as caught:
        checked_url("mine", url)
    assert SECRET not in str(caught.value)
    with pytest.raises(ValueError, match="base URL"):
        Settings(_env_file=None, openai_base_url=url)


def test_a_model_servers_url_is_taken_without_the_space_around_it() -> None:
    assert checked_url("mine", " http://[::1]:8080/v1\n") == "http://[::1]:8080/v1"
