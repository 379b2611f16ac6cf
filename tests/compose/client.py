"""A client that sends a turn until it is accepted, as clients should, and remembers what it was promised."""

import http.client
import json
import time
import uuid
from collections import Counter
from typing import Any

from tests.compose.stack import PORT, ROOT

API = "/api/v1"
NOTE = ROOT / "tests/audio/en_13.flac"
PATIENCE_S = 240.0
ENDED = {"succeeded", "failed", "cancelled", "expired"}


class Client:
    """Speaks HTTP to the proxy."""

    def __init__(self, token: str) -> None:
        self.token = token

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request; status 0 is a connection that failed."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=90)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def insist(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """Ask until it is answered well, with one and the same idempotency key."""
        headers = {"Idempotency-Key": uuid.uuid4().hex, **headers} if method == "POST" else headers
        until = time.monotonic() + PATIENCE_S
        while True:
            status, answer = self.ask(method, path, body, **headers)
            if 200 <= status < 300:
                return answer
            temporary = status in {0, 409, 429, 507} or status >= 500
            if not temporary or time.monotonic() > until:
                raise AssertionError(f"{method} {path}: {status} {answer.decode()}")
            time.sleep(0.3)

    def get(self, path: str) -> Any:
        return json.loads(self.insist("GET", path))

    def post(self, path: str, **fields: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        return json.loads(self.insist("POST", API + path, json.dumps(fields).encode(), **headers))

    def voice(self, session: str) -> Any:
        """Send a voice note."""
        mark = uuid.uuid4().hex
        form = (
            f'--{mark}\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n{session}\r\n'
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{NOTE.name}"\r\n\r\n'
        )
        body = form.encode() + NOTE.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        return json.loads(self.insist("POST", f"{API}/message/voice", body, **headers))

    def done(self, job: Any) -> Any:
        """The job when it has ended."""
        until = time.monotonic() + PATIENCE_S
        while job["status"] not in ENDED:
            if time.monotonic() > until:
                raise AssertionError(f"the job has not ended: {job}")
            time.sleep(0.2)
            job = self.get(f"{API}/job/{job['id']}")
        return job


class Poller:
    """Polls one path until it is stopped, and counts what was not a 200."""

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = path
        self.polls = 0
        self.failures: Counter[str] = Counter()
        self.stopped = False

    def run(self) -> None:
        while not self.stopped:
            status, answer = self.client.ask("GET", self.path)
            self.polls += 1
            if status != 200:
                self.failures[f"{status} {answer.decode()}"] += 1
            time.sleep(0.02)
