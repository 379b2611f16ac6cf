"""What browsers are told, on every answer, and which pages may read them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.http.body_limit import MAX_BODY
from api.http.security_headers import METHODS, SHOWN
from api.main import create_app
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.live import API, Live, live_parley

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

PAGE = "https://app.example.com"
SENT = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "Idempotency-Key",
    "Prefer",
    "If-None-Match",
    "If-Range",
    "If-Modified-Since",
    "Last-Event-ID",
    "Range",
    "X-Request-ID",
    "X-Correlation-ID",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-datadog-trace-id",
    "X-Requested-With",
    "Cache-Control",
    "Pragma",
    "x-stainless-os",
)
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


async def test_a_named_page_may_ask_with_every_header_that_tools_send(with_a_page: httpx.AsyncClient) -> None:
    for method in METHODS:
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(SENT).lower()}
        answer = await with_a_page.options(f"{API}/agent", headers={"Origin": PAGE, **asked})
        assert answer.status_code == 200, answer.text  # without a token: browsers send none
        assert answer.headers["access-control-allow-origin"] == PAGE
        allowed = answer.headers["access-control-allow-headers"].replace(" ", "").lower().split(",")
        assert {name.lower() for name in SENT} <= set(allowed)
        assert method in answer.headers["access-control-allow-methods"].split(", ")
        assert int(answer.headers["access-control-max-age"]) >= 600
        assert "Origin" in answer.headers["vary"]
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
    await refused(404, "GET", "/static/nowhere")
    await refused(413, "POST", "/login", b"x" * (MAX_BODY + 1))
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


async def test_no_answer_is_kept_by_a_cache_unless_it_says_so_itself(parley: Live) -> None:
    session = await parley.session()
    job = await parley.done(await parley.text(session["id"], reply_audio=True))
    message = job["message_id"]
    for method, path, told in (
        ("GET", f"{API}/agent", "no-store"),
        ("GET", f"{API}/agent/{session['agent_id']}", "no-store"),
        ("GET", f"{API}/session/{session['id']}", "no-store"),
        ("GET", f"{API}/message/conversation/{session['id']}", "no-store"),
        ("GET", f"{API}/message/{message}", "no-store"),
        ("GET", f"{API}/message/{message}/audio", "no-store"),  # a 404: it was a text
        ("GET", f"{API}/job", "no-store"),
        ("GET", job["links"]["self"], "private, no-cache"),
        ("GET", job["links"]["events"], "no-cache, no-store"),
        ("GET", job["links"]["audio"], "private, max-age=31536000, immutable"),
        ("GET", f"{job['links']['audio']}?stream=1", "private, no-store"),
        ("GET", f"{API}/auth/me", "no-store"),
        ("GET", f"{API}/auth/key", "no-store"),
        ("GET", f"{API}/usage", "no-store"),
        ("GET", f"{API}/model", "no-store"),
        ("GET", f"{API}/admin/user", "no-store"),
        ("GET", f"{API}/admin/job", "no-store"),
        ("GET", "/health", "no-store"),
        ("GET", "/health/ready", "no-store"),
        ("GET", "/nowhere", "no-store"),
        ("POST", f"{API}/agent", "no-store"),
        ("PUT", f"{API}/agent", "no-store"),
        ("POST", "/login", "no-store"),
        ("GET", "/", "no-cache"),
        ("GET", "/static/app.js", "no-cache"),
        ("GET", "/static/docs/swagger-ui.css", "no-cache"),
    ):
        answer = await parley.http.request(method, path)
        assert answer.headers["cache-control"] == told, (path, answer.status_code)
    unchanged = await parley.http.get(job["links"]["self"], headers={"If-None-Match": "*"})
    assert (unchanged.status_code, unchanged.headers["cache-control"]) == (304, "private, no-cache")
    beyond = await parley.http.get(job["links"]["audio"], headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.headers["cache-control"]) == (416, "no-store")


async def test_sound_may_be_played_by_pages_of_other_origins_only_where_some_are_named(
    settings: Settings, audio_pool: AudioPool
) -> None:
    for origins, policy in (([], "same-origin"), ([PAGE], "cross-origin")):
        changed = settings.model_copy(update={"cors_origins": origins})
        async with live_parley(changed, audio_pool) as live:
            session = await live.session()
            job = await live.done(await live.text(session["id"], reply_audio=True))
            for url in (job["links"]["audio"], f"{job['links']['audio']}?stream=1", job["result"]["audio"]["url"]):
                answer = await live.http.get(url, headers={"Range": "bytes=0-9"})
                assert answer.status_code in {200, 206}
                assert answer.headers["cross-origin-resource-policy"] == policy
            for url in (job["links"]["self"], f"{API}/agent", f"{API}/agent/x/audio", "/static/app.js"):
                answer = await live.http.get(url)
                assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_page_that_was_not_asked_about_can_still_be_told_apart_by_a_cache(
    with_a_page: httpx.AsyncClient,
) -> None:
    for path in ("/health", f"{API}/agent", "/static/app.js"):
        assert "Origin" in (await with_a_page.get(path)).headers["vary"], path


async def test_no_answer_names_its_server(parley_without_worker: Live) -> None:
    for path in ("/", "/health", "/nowhere", f"{API}/docs"):
        assert "server" not in (await parley_without_worker.http.get(path)).headers
