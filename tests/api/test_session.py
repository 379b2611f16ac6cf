"""Sessions over HTTP."""

from uuid import uuid4

from tests.live import API, Live


async def test_a_session_is_created_read_listed_replaced_changed_and_deleted(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    agent, other = await parley_without_worker.agent(), await parley_without_worker.agent(name="Other")
    created = await http.post(f"{API}/session", json={"agent_id": agent["id"], "name": "Room 12", "language": "ar"})
    session = created.json()
    path = created.headers["location"]
    assert created.status_code == 201
    assert (session["name"], session["language"], session["prompt"]) == ("Room 12", "ar", "")
    assert (await http.get(path)).json() == session

    listed = (await http.get(f"{API}/session", params={"agent_id": agent["id"]})).json()
    assert listed == {"items": [session], "next_cursor": None}
    assert (await http.get(f"{API}/session", params={"agent_id": other["id"]})).json()["items"] == []

    changed = (await http.patch(path, json={"summary": "They met."})).json()
    assert (changed["summary"], changed["name"]) == ("They met.", "Room 12")
    replaced = (await http.put(path, json={"agent_id": other["id"]})).json()
    assert (replaced["agent_id"], replaced["name"], replaced["language"]) == (other["id"], "", None)

    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).status_code == 404


async def test_a_session_needs_an_agent_that_exists(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    session = await parley_without_worker.session()
    missing = {"agent_id": str(uuid4())}
    assert (await http.post(f"{API}/session", json=missing)).status_code == 404
    assert (await http.patch(f"{API}/session/{session['id']}", json=missing)).status_code == 404
    assert (await http.put(f"{API}/session/{session['id']}", json=missing)).status_code == 404
    assert (await http.patch(f"{API}/session/{session['id']}", json={"agent_id": None})).status_code == 422
    assert (await http.post(f"{API}/session", json={"agent_id": "seven"})).json()["errors"][0]["field"] == "agent_id"
    assert (await http.get(f"{API}/session/{session['id']}")).json() == session


async def test_a_session_of_a_deleted_agent_is_404(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    session = await parley_without_worker.session()
    await http.delete(f"{API}/agent/{session['agent_id']}")
    assert (await http.get(f"{API}/session/{session['id']}")).status_code == 404
    answer = await http.post(f"{API}/message/text", json={"session_id": session["id"], "text": "Hello?"})
    assert answer.status_code == 404
    assert (await http.get(f"{API}/message/conversation/{session['id']}")).status_code == 404
