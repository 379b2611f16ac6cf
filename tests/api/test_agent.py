"""Agents over HTTP."""

import asyncio
from uuid import uuid4

from tests.live import API, Live

MISSING = str(uuid4())


async def test_an_agent_is_created_read_listed_replaced_changed_and_deleted(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    created = await http.post(f"{API}/agent", json={"name": "  Guide ", "prompt": "Be kind.", "voice": "nova"})
    agent = created.json()
    assert created.status_code == 201
    assert created.headers["location"] == f"{API}/agent/{agent['id']}"
    assert agent["name"] == "Guide"
    assert agent["created_at"].endswith("Z")

    assert (await http.get(created.headers["location"])).json() == agent
    assert agent in (await http.get(f"{API}/agent")).json()["items"]

    changed = (await http.patch(f"{API}/agent/{agent['id']}", json={"personality": "Brief."})).json()
    assert (changed["personality"], changed["prompt"], changed["voice"]) == ("Brief.", "Be kind.", "nova")
    assert changed["updated_at"] > agent["updated_at"]

    replaced = (await http.put(f"{API}/agent/{agent['id']}", json={"name": "Other"})).json()
    assert (replaced["name"], replaced["prompt"], replaced["personality"], replaced["voice"]) == ("Other", "", "", None)

    assert (await http.delete(f"{API}/agent/{agent['id']}")).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await http.request(method, f"{API}/agent/{agent['id']}")).status_code == 404


async def test_bad_agents_are_refused_with_the_field_named(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    for body, field in (
        ({}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": 7}, "name"),
        ({"name": "x", "prompt": "nul \x00"}, "prompt"),
        ({"name": "x", "prompt": "x" * 32_001}, "prompt"),
        ({"name": "x", "ai_chat": "no-slash"}, "ai_chat"),
        ({"name": "x", "ai_chat": "openai/x,"}, "ai_chat"),
        ({"name": "x", "ai_chat": "openai/x\n"}, "ai_chat"),
        ({"name": "x", "ai_chat": "nobody/model"}, "ai_chat"),
        ({"name": "x", "language": "english"}, "language"),
    ):
        answer = await http.post(f"{API}/agent", json=body)
        assert answer.status_code == 422, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"] == field
    lone_surrogate = await http.post(
        f"{API}/agent", content=b'{"name": "\\ud800"}', headers={"content-type": "application/json"}
    )
    assert lone_surrogate.status_code == 422
    assert (await http.get(f"{API}/agent")).json()["items"] == []


async def test_null_is_no_name(parley_without_worker: Live) -> None:
    agent = await parley_without_worker.agent()
    answer = await parley_without_worker.http.patch(f"{API}/agent/{agent['id']}", json={"name": None})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "name", "message": "Value error, must not be null"}]


async def test_unknown_agents_are_404(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("PATCH", {"name": "x"}), ("DELETE", None)):
        answer = await http.request(method, f"{API}/agent/{MISSING}", json=body)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


async def test_pages_follow_each_other_without_gap_or_repetition(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    made = [(await parley_without_worker.agent(name=f"agent {n}"))["id"] for n in range(7)]
    seen, cursor = [], None
    while True:
        page = (await http.get(f"{API}/agent", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [agent["id"] for agent in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_a_made_up_cursor_or_limit_is_refused(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    for params, field in (({"cursor": "zzz"}, "cursor"), ({"cursor": "%00"}, "cursor"), ({"limit": 0}, "limit"),
                          ({"limit": 101}, "limit"), ({"limit": "ten"}, "limit")):  # fmt: skip
        answer = await http.get(f"{API}/agent", params=params)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field


async def test_changes_that_race_with_a_deletion_are_made_or_404(parley_without_worker: Live) -> None:
    live = parley_without_worker
    for _ in range(8):
        session = await live.session()
        agent, at = f"{API}/agent/{session['agent_id']}", f"{API}/session/{session['id']}"
        answers = await asyncio.gather(
            live.http.patch(agent, json={"prompt": "new"}),
            live.http.patch(at, json={"name": "new"}),
            live.http.put(agent, json={"name": "new"}),
            live.http.delete(agent),
            live.http.post(f"{API}/session", json={"agent_id": session["agent_id"]}),
            live.http.post(f"{API}/message/text", json={"session_id": session["id"], "text": "Hello"}),
            live.http.delete(at),
            live.http.put(at, json={"agent_id": session["agent_id"]}),
        )
        assert {answer.status_code for answer in answers} <= {200, 201, 202, 204, 404}
        assert (await live.http.get(agent)).status_code == (await live.http.get(at)).status_code == 404
    assert (await live.http.get(f"{API}/session")).json()["items"] == []
