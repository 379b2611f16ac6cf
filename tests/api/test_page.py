"""What a browser gets at `/`: whole, small, of the right types, and under a policy that lets nothing else in."""

import gzip
import re
from posixpath import dirname, join, normpath

import httpx
import pytest

from api.http.pages import OUR_FILES, WAVE_STYLE
from tests.live import Live

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

LIMIT = 200_000
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
NAMED = {
    ".html": re.compile(r"""(?:src|href)=["'](/static/[^"'#?]+|\.{1,2}/[^"'#?]+)"""),
    ".css": re.compile(r"""url\(["']?((?:/static/|\.)[^"')#?]+)"""),
    ".js": re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["']((?:/static/|\.)[^"']+)["']"""),
}
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' '{WAVE_STYLE}'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


async def get(http: httpx.AsyncClient, path: str) -> tuple[httpx.Response, int]:
    """The answer, and the bytes of its body as they came over the wire."""
    async with http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        packed = answer.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(raw) if packed else raw
        return httpx.Response(answer.status_code, headers=_unpacked(answer.headers), content=body), len(raw)


def _unpacked(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in {"content-encoding", "content-length"}}


async def test_all_that_it_names_is_there_and_comes_over_the_wire_in_little(parley_without_worker: Live) -> None:
    sizes: dict[str, int] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        answer, sizes[path] = await get(parley_without_worker.http, path)
        assert answer.status_code == 200, path
        suffix = path[path.rindex(".") :] if path != "/" else ".html"
        assert answer.headers["content-type"] == TYPES[suffix], path
        named = NAMED[suffix].findall(answer.text) if suffix in NAMED and "/vendor/" not in path else []
        found = {normpath(join(dirname(path), name)) for name in named}
        waiting += sorted(found - set(sizes) - set(waiting))
    assert sum(sizes.values()) < LIMIT, sizes


async def test_every_file_of_ours_has_its_type_and_is_asked_for_again_without_being_sent_again(
    parley_without_worker: Live,
) -> None:
    http = parley_without_worker.http
    for path in [f"/static/{file.relative_to(OUR_FILES)}" for file in OUR_FILES.rglob("*") if file.is_file()] + ["/"]:
        answer, size = await get(http, path)
        suffix = path[path.rindex(".") :] if "." in path else ".html"
        assert answer.headers["content-type"] == TYPES.get(suffix, "text/plain; charset=utf-8"), path
        assert answer.headers["cache-control"] == "no-cache", path
        assert size <= 500 or size < len(answer.content) or path == "/", path
        again = await http.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["cache-control"] == "no-cache", path


async def test_it_may_load_what_is_ours_and_nothing_else(parley_without_worker: Live) -> None:
    answer = await parley_without_worker.http.get("/")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["permissions-policy"] == "microphone=(self), camera=(), geolocation=()"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_nothing_is_written_into_it_that_its_policy_would_refuse(parley_without_worker: Live) -> None:
    text = (await parley_without_worker.http.get("/")).text
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>", text) == []
    assert re.findall(r"<style\b|\sstyle\s*=|\son\w+\s*=|javascript:", text) == []
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == []
