"""What a request may carry."""

import io
import wave

import pytest

from api.http.body_limit import MAX_BODY
from tests.conftest import SAMPLES
from tests.live import API, Live

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)


async def test_calling_it_a_form_does_not_lift_the_limit(parley_without_worker: Live) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await parley_without_worker.http.post(f"{API}/agent", content=b"x" * (MAX_BODY + 1), headers=headers)
    assert answer.status_code == 413


async def test_a_large_upload_is_one_however_its_type_is_spelled(parley_without_worker: Live) -> None:
    live = parley_without_worker
    note = io.BytesIO()
    with wave.open(note, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(b"\0\x10\0\x20" * (MAX_BODY // 4))
    form = live.http.build_request(
        "POST",
        f"{API}/message/voice",
        data={"session_id": (await live.session())["id"]},
        files={"file": note.getvalue()},
    )
    form.headers["content-type"] = form.headers["content-type"].replace("multipart/form-data", "Multipart/Form-Data")
    answer = await live.http.send(form)
    assert answer.status_code == 202, answer.text


async def test_a_range_of_endless_digits_is_ignored(parley: Live) -> None:
    job = await parley.voice((await parley.session())["id"], SAMPLES / "en_03_opus.ogg")
    url = f"{API}/message/{job['message_id']}/audio"
    for value in ("bytes=0-" + "9" * 5_000, "bytes=" + "9" * 5_000 + "-", "bytes=-" + "9" * 5_000):
        assert (await parley.http.get(url, headers={"Range": value})).status_code == 200


async def test_a_change_has_the_limits_of_a_new_one(parley_without_worker: Live) -> None:
    live = parley_without_worker
    agent, session = await live.agent(), await live.session()
    for noun, thing in (("agent", agent), ("session", session)):
        for field, limit in (("name", 200), ("prompt", 32_000)):
            url = f"{API}/{noun}/{thing['id']}"
            assert (await live.http.patch(url, json={field: "x" * limit})).status_code == 200
            answer = await live.http.patch(url, json={field: "x" * (limit + 1)})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_reply_audio_is_true_or_false(parley_without_worker: Live) -> None:
    live = parley_without_worker
    body = {"session_id": (await live.session())["id"], "text": "When is breakfast?"}
    for value in ("yes", 1, None):
        answer = await live.http.post(f"{API}/message/text", json={**body, "reply_audio": value})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reply_audio")


async def test_every_path_has_one_address(parley_without_worker: Live) -> None:
    for path in (f"{API}/agent/", f"{API}/docs/", "/health/"):
        assert (await parley_without_worker.http.get(path)).status_code == 404
