"""What was accepted, and whether each of it was answered once, and once only."""

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from tests.compose.client import API, NOTE, Client

SESSIONS = 12
VOICE_EVERY = 3
SAID = " ".join(["When is breakfast, where is it, and may my dog come along to it?"] * 3)
"""So much that to answer it aloud takes a while."""


class Ledger:
    """Turns that were sent to a dozen sessions, every third of them spoken."""

    def __init__(self, client: Client) -> None:
        self.client = client
        agent = client.post("/agent", name="Concierge", prompt="You answer guests.")["id"]
        self.sessions = [client.post("/session", agent_id=agent)["id"] for _ in range(SESSIONS)]
        self.jobs: list[Any] = []
        self.texts: dict[str, list[str | None]] = {session: [] for session in self.sessions}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(SESSIONS)
        self._sending: list[Future[None]] = []

    def send(self, turns: int) -> None:
        """Begin to send turns, those of one session one after the other, and come back at once."""
        shares = [range(n, turns, SESSIONS) for n in range(SESSIONS)]
        self._sending = [self._pool.submit(self._send, *pair) for pair in zip(self.sessions, shares, strict=True)]

    def accepted(self, count: int) -> None:
        """Wait until so many turns were accepted, ever."""
        while len(self.jobs) < count:
            for sending in self._sending:
                if sending.done():
                    sending.result()
            time.sleep(0.02)

    def speaking(self) -> None:
        """Wait until an answer is being spoken."""
        while not any(job["stage"] == "speak" for job in self.client.get(f"{API}/job?status=running")["items"]):
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until every turn was accepted and has ended, and see that each was answered exactly once."""
        wait(self._sending)
        for sending in self._sending:
            sending.result()
        self.jobs = [self.client.done(job) for job in self.jobs]
        ended = Counter(job["status"] for job in self.jobs)
        assert ended == {"succeeded": len(self.jobs)}, [job for job in self.jobs if job["status"] != "succeeded"]
        assert len({job["id"] for job in self.jobs}) == len(self.jobs)
        for session in self.sessions:
            self._check(session)

    def attempts(self) -> dict[int, int]:
        """How many jobs took how many attempts."""
        return dict(sorted(Counter(job["attempt"] for job in self.jobs).items()))

    def _send(self, session: str, numbers: range) -> None:
        for number in numbers:
            if number % VOICE_EVERY == 0:
                text, job = None, self.client.voice(session)
            else:
                text = f"Turn {number} of {time.time_ns()}. {SAID}"
                job = self.client.post("/message/text", session_id=session, text=text, reply_audio=number % 2 == 0)
            with self._lock:
                self.texts[session].append(text)
                self.jobs.append(job)

    def _check(self, session: str) -> None:
        items = self.client.get(f"{API}/message/conversation/{session}?limit=100")["items"]
        sent = self.texts[session]
        assert [item["role"] for item in items] == ["user", "assistant"] * len(sent), (session, items)
        for text, user, reply in zip(sent, items[::2], items[1::2], strict=True):
            assert text is None or (user["text"] == text and text in reply["text"]), (text, user, reply)
            if text is None:
                assert self.client.insist("GET", f"{API}/message/{user['id']}/audio") == NOTE.read_bytes()
            if reply["audio"]:
                assert len(self.client.insist("GET", reply["audio"]["url"])) == reply["audio"]["size"]
