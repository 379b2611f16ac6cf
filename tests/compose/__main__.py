"""`make compose-test`: sixty turns through everything that may happen to a stack, and every one accounted for."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.compose.client import API, Client, Poller
from tests.compose.ledger import Ledger
from tests.compose.stack import FOLDER, Stack

WORKERS, APIS = 4, 2


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Say what is done and how long it took."""
    print(f"{name} …", end="", flush=True)
    began = time.monotonic()
    yield
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def up(stack: Stack, workers: int = WORKERS) -> None:
    stack.run("up", "--detach", "--scale", f"worker={workers}", "--scale", f"api={APIS}")


def ready(client: Client, workers: int) -> None:
    """Wait until all workers are there."""
    while client.get("/health/ready")["workers"] != workers:
        time.sleep(0.2)


def refusals(stack: Stack) -> None:
    """A folder of somebody else at /data, and a /tmp that is too small: a line, and no start."""
    (FOLDER / "theirs").mkdir(mode=0o755)
    for service in ("api", "worker"):
        told = stack.refusal("run", "--rm", "--no-deps", "--volume", f"{FOLDER}/theirs:/data", service)
        assert "/data/blobs): Permission denied" in told, told
        assert "chown -R 10001" in told, told
    (FOLDER / "small.yml").write_text('services: {worker: {tmpfs: !override ["/tmp:size=16m,mode=1777"]}}')
    told = stack.refusal("-f", "docker-compose.yml", "-f", "small.yml", "run", "--rm", "--no-deps", "worker")
    assert "can't unpack its language model: No space left on device" in told, told


def faults(stack: Stack, ledger: Ledger) -> None:
    """Thirty turns: every worker is killed, Redis and the database are restarted."""
    ledger.send(30)
    ledger.speaking()
    for number in range(1, WORKERS + 1):
        stack.run("exec", "-T", "--index", str(number), "worker", "sh", "-c", "kill -9 -1", check=False)
    ledger.accepted(14)
    stack.run("restart", "redis")
    ledger.accepted(20)
    stack.run("restart", "db")
    ledger.settle()


def upgrade(stack: Stack, ledger: Ledger) -> None:
    """Ten turns while the images are replaced; who polls meanwhile must not notice."""
    poller = Poller(ledger.client, f"{API}/job/{ledger.jobs[0]['id']}")
    polling = threading.Thread(target=poller.run)
    polling.start()
    ledger.send(10)
    stack.upgrade()
    ledger.settle()
    poller.stopped = True
    polling.join()
    print(f" {poller.polls} polls, failed: {dict(poller.failures)},", end="")
    assert not poller.failures, poller.failures


def power_cut(stack: Stack, ledger: Ledger) -> None:
    """Ten turns; all containers are killed when half of them were accepted, and started again."""
    before = len(ledger.jobs)
    ledger.send(10)
    ledger.accepted(before + 5)
    ledger.speaking()
    stack.run("kill")
    up(stack, 2)
    ledger.settle()


def backup_and_restore(stack: Stack, ledger: Ledger) -> None:
    """Back up, lose the sound and change the rest, restore: all is as it was. As docs/operations.md says."""
    dump = stack.run("exec", "-T", "db", "pg_dump", "-U", "parley", "-Fc", "parley")
    sound = stack.run("exec", "-T", "api", "tar", "-C", "/data", "-cz", "blobs")
    late = ledger.client.post("/message/text", session_id=ledger.sessions[0], text="This will be forgotten.")
    ledger.client.done(late)
    stack.run("exec", "-T", "api", "sh", "-c", "rm -r /data/blobs/*")
    stack.run("stop", "api", "worker")
    restore = ("pg_restore", "-U", "parley", "-d", "parley", "--clean", "--if-exists", "--single-transaction")
    stack.run("exec", "-T", "db", *restore, data=dump)
    stack.run("run", "--rm", "-T", "--no-deps", "api", "tar", "-C", "/data", "-xz", data=sound)
    up(stack, 2)
    ledger.settle()
    status, _ = ledger.client.ask("GET", f"{API}/job/{late['id']}")
    assert status == 404, status


def main() -> None:
    """Run all of it; what is left behind when it fails is there to be looked at."""
    stack = Stack()
    with phase("build"):
        stack.run("build")
    with phase(f"up, {WORKERS} workers and {APIS} APIs"):
        up(stack)
        token = stack.run("exec", "-T", "api", "python", "-m", "api", "token", "compose-test").decode().strip()
        client = Client(token)
        ready(client, WORKERS)
    with phase("what must not start"):
        refusals(stack)
    ledger = Ledger(client)
    with phase("30 turns, every worker killed, Redis and the database restarted"):
        faults(stack, ledger)
    with phase("scale to 6 workers and, while they start, to 2"):
        up(stack, 6)
        up(stack, 2)
        ready(client, 2)
    with phase("10 turns and an upgrade"):
        upgrade(stack, ledger)
    with phase("10 turns and a power cut"):
        power_cut(stack, ledger)
    with phase("10 turns"):
        ledger.send(10)
        ledger.settle()
    with phase("backup and restore"):
        backup_and_restore(stack, ledger)
    print(f"{len(ledger.jobs)} jobs succeeded, each answered once; by attempts: {ledger.attempts()}")
    with phase("stop"):
        stack.run("stop")
    stack.remove()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"\n{error}\nThe stack still runs: cd {FOLDER} && docker compose ps")
