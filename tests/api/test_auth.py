"""Who may ask, with `AUTH=on`. That nobody else may is tried for every route in `test_isolation.py`."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx

from api.auth.jwt import ACCESS
from tests.api.world import forged
from tests.live import API, Live


async def test_a_good_token_is_good_whatever_the_clocks_say_of_its_beginning(door: Live) -> None:
    good = await door.sign_in("ann")
    key, later = door.resources.settings.signing_key, datetime.now(UTC) + timedelta(hours=9)
    for headers in (good, forged(good, key, {}), forged(good, key, {"iat": later, "aud": [ACCESS, "other"]})):
        assert (await door.http.get(f"{API}/auth/me", headers=headers)).status_code == 200


async def test_what_is_for_everybody_needs_no_token(door: Live) -> None:
    for path in ("/", "/health", "/static/favicon.svg", f"{API}/openapi.json", f"{API}/docs", f"{API}/redoc"):
        assert (await door.http.get(path)).status_code == 200, path


async def test_who_asks_is_checked_before_the_body_is_read(door: Live) -> None:
    url: httpx.URL = door.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST {API}/message/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)  # not one byte of the body was sent
    writer.close()
    assert b" 401 " in answer
