"""A cursor that no list gave out is refused, whatever it decodes to; text that UTF-8 can't hold is too."""

import pytest

from shared.services.page import encode_cursor
from tests.live import API, Live

AN_ID = "01936b2e-0000-7000-8000-000000000000"


async def test_cursors_beyond_the_calendar_are_refused(parley_without_worker: Live) -> None:
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        for noun in ("agent", "session", "job"):
            url = f"{API}/{noun}"
            answer = await parley_without_worker.http.get(url, params={"cursor": encode_cursor(moment, AN_ID)})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


async def test_cursors_beyond_the_largest_number_are_refused(parley_without_worker: Live) -> None:
    url = f"{API}/message/conversation/{(await parley_without_worker.session())['id']}"
    for number in (-1, 2**31, 2**63, 10**30):
        answer = await parley_without_worker.http.get(url, params={"cursor": encode_cursor(number)})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize("field", ["prompt", "personality", "ai_chat"])
async def test_half_a_surrogate_pair_is_refused(parley_without_worker: Live, field: str) -> None:
    body = b'{"name": "x", "' + field.encode() + b'": "a/\\ud800"}'
    headers = {"content-type": "application/json"}
    answer = await parley_without_worker.http.post(f"{API}/agent", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
