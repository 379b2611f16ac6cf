"""Fetching sound: ranges, ETags and what browsers are told."""

import pytest

from tests.conftest import SAMPLES
from tests.live import API, Live

NOTE = SAMPLES / "en_03_opus.ogg"


@pytest.fixture
async def url(parley_without_worker: Live) -> str:
    session = await parley_without_worker.session()
    await parley_without_worker.voice(session["id"], NOTE)
    (message,) = await parley_without_worker.conversation(session["id"])
    return str(message["audio"]["url"])


async def test_ranges(parley_without_worker: Live, url: str) -> None:
    whole, http = NOTE.read_bytes(), parley_without_worker.http
    size = len(whole)
    for header, expected, content_range in (
        ("bytes=0-99", whole[:100], f"bytes 0-99/{size}"),
        ("bytes=100-", whole[100:], f"bytes 100-{size - 1}/{size}"),
        ("bytes=-50", whole[-50:], f"bytes {size - 50}-{size - 1}/{size}"),
        (f"bytes=10-{size * 9}", whole[10:], f"bytes 10-{size - 1}/{size}"),
        (f"bytes=-{size * 9}", whole, f"bytes 0-{size - 1}/{size}"),
        ("bytes=7-7", whole[7:8], f"bytes 7-7/{size}"),
    ):
        answer = await http.get(url, headers={"Range": header})
        assert (answer.status_code, answer.content) == (206, expected), header
        assert answer.headers["content-range"] == content_range
        assert answer.headers["content-length"] == str(len(expected))
    for ignored in ("bytes=0-1,5-6", "seconds=1-2", "bytes=9-1", "bytes=-", "bytes=a-b", "nonsense"):
        answer = await http.get(url, headers={"Range": ignored})
        assert (answer.status_code, answer.content) == (200, whole), ignored
    for outside in (f"bytes={size}-", f"bytes={size * 2}-{size * 3}", "bytes=-0"):
        answer = await http.get(url, headers={"Range": outside})
        assert answer.status_code == 416, outside
        assert answer.headers["content-range"] == f"bytes */{size}"
        assert answer.json()["code"] == "range_not_satisfiable"


async def test_etags(parley_without_worker: Live, url: str) -> None:
    http = parley_without_worker.http
    first = await http.get(url)
    etag = first.headers["etag"]
    assert first.headers["accept-ranges"] == "bytes"
    assert "immutable" in first.headers["cache-control"]
    assert first.headers["x-content-type-options"] == "nosniff"
    for value in (etag, f'"x", {etag}', "*", f"W/{etag}"):
        assert (await http.get(url, headers={"If-None-Match": value})).status_code == 304
    ranged = {"Range": "bytes=0-9"}
    assert (await http.get(url, headers={**ranged, "If-Range": etag})).status_code == 206
    assert (await http.get(url, headers={**ranged, "If-Range": '"other"'})).status_code == 200


async def test_a_text_message_has_no_sound(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    job = await parley_without_worker.text(session["id"])
    answer = await parley_without_worker.http.get(f"{API}/message/{job['message_id']}/audio")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_audio")


async def test_bytes_that_went_missing_are_404_and_no_broken_answer(parley_without_worker: Live, url: str) -> None:
    for path in (parley_without_worker.resources.settings.data_dir / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    answer = await parley_without_worker.http.get(url)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
