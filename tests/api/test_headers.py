"""What browsers are told, on every answer, and which pages may read them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.headers import METHODS, SHOWN, TAKEN
from api.limits import MAX_BODY
from api.main import create_app
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.live import API, Live, live_parley

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

PAGE = "https://app.example.com"
STRICT = "default-src 'none'; frame-ancestors 'none'"
HSTS = "strict-transport-security"


@pytest.fixture
async def with_a_page(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[httpx.AsyncClient]:
    changes = {"auth": "on", "cors_origins": [PAGE]}
    async with live_parley(settings.model_copy(update=changes), audio_pool, work=False) as live:
        yield live.http


async def broken(settings: Settings, url: str = "http://parley/broken") -> httpx.Response:
    """The answer of a route that has a bug."""

    async def bug() -> None:
        raise KeyError(url)

    app = create_app(settings)
    app.add_api_route("/broken", bug)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport) as http:
        return await http.get(url, headers={"Origin": PAGE})


def assert_guarded(answer: httpx.Response) -> None:
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_every_answer_carries_them(parley_without_worker: Live) -> None:
    for method, path, status in (
        ("GET", f"{API}/agent", 200),
        ("GET", f"{API}/openapi.json", 200),
        ("GET", "/health", 200),
        ("GET", "/static/favicon.svg", 200),
        ("GET", "/static/docs/swagger-ui.css", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/static/nowhere", 404),
        ("PATCH", f"{API}/job", 405),
        ("OPTIONS", f"{API}/agent", 405),
        ("POST", f"{API}/agent", 422),
    ):
        answer = await parley_without_worker.http.request(method, path)
        assert answer.status_code == status, path
        assert_guarded(answer)
        assert answer.headers["content-security-policy"] == STRICT
        assert HSTS not in answer.headers  # it came by http
    for page in ("/", f"{API}/docs", f"{API}/redoc"):
        assert_guarded(await parley_without_worker.http.get(page))


async def test_the_answer_to_a_bug_of_ours_carries_them(settings: Settings) -> None:
    answer = await broken(settings.model_copy(update={"cors_origins": [PAGE]}))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert_guarded(answer)
    assert answer.headers["access-control-allow-origin"] == PAGE


async def test_https_is_kept_to_by_whoever_came_by_it(settings: Settings) -> None:
    assert HSTS in (await broken(settings, "https://parley/broken")).headers
    assert HSTS not in (await broken(settings)).headers


async def test_no_page_is_let_in_unless_it_is_named(parley_without_worker: Live) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answers = [
        await parley_without_worker.http.options(f"{API}/agent", headers=asked),
        await parley_without_worker.http.get(f"{API}/agent", headers={"Origin": PAGE}),
    ]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_named_page_may_ask_with_every_header_of_ours(with_a_page: httpx.AsyncClient) -> None:
    for method in METHODS:
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ", ".join(TAKEN).lower()}
        answer = await with_a_page.options(f"{API}/agent", headers={"Origin": PAGE, **asked})
        assert answer.status_code == 200, answer.text  # without a token: browsers send none
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in answer.headers
        assert_guarded(answer)


async def test_another_page_may_not(with_a_page: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example.com", "http://app.example.com", f"{PAGE}.evil.com", f"{PAGE}:8443", "null"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        assert (await with_a_page.options(f"{API}/agent", headers=asked)).status_code == 400
        for answer in (
            await with_a_page.options(f"{API}/agent", headers=asked),
            await with_a_page.get(f"{API}/agent", headers={"Origin": origin}),
        ):
            assert "access-control-allow-origin" not in answer.headers


async def test_a_page_can_read_errors_and_what_their_headers_say(with_a_page: httpx.AsyncClient) -> None:
    async def refused(status: int, method: str, path: str, content: bytes = b"", **headers: str) -> None:
        answer = await with_a_page.request(method, path, content=content, headers={"Origin": PAGE, **headers})
        assert answer.status_code == status, path
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert set(SHOWN) <= set(answer.headers["access-control-expose-headers"].split(", "))
        assert "Origin" in answer.headers["vary"]

    await refused(401, "GET", f"{API}/agent")
    await refused(404, "GET", "/nowhere")
    await refused(413, "POST", "/nowhere", b"x" * (MAX_BODY + 1))
    await refused(431, "GET", "/health", Cookie="x" * 40_000)


async def test_docs_can_be_turned_off(settings: Settings, audio_pool: AudioPool) -> None:
    without = settings.model_copy(update={"docs": "off"})
    async with live_parley(without, audio_pool, work=False) as live:
        for path in (f"{API}/docs", f"{API}/redoc", f"{API}/openapi.json", "/static/docs/swagger-ui.css",
                     "/static/docs/redoc.standalone.js"):  # fmt: skip
            answer = await live.http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        for path in ("/", "/static/favicon.svg", f"{API}/agent"):
            assert (await live.http.get(path)).status_code == 200, path


async def test_no_answer_says_what_serves_it(with_a_page: httpx.AsyncClient) -> None:
    for path in ("/", "/health", f"{API}/job", "/nothing"):
        answer = await with_a_page.get(path)
        assert "server" not in answer.headers  # a proxy has a name of its own, and two are none
