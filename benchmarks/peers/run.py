"""Starting what Parley is measured beside."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.parley import folder, wait_for
from tests.processes import Process, running, wait_until_healthy
from tests.services import RedisServer, free_port

CELERY = "benchmarks.peers.celery_stack"


@contextmanager
def served(module: str, home: Path, **env: str) -> Iterator[int]:
    """An application under uvicorn, set up as Parley's own is; its port."""
    port = free_port()
    quiet = ["--no-access-log", "--log-level", "warning"]
    command = ["-m", "uvicorn", f"{module}:app", "--port", str(port), *quiet]
    with running(*command, log=home / "peer.log", env=env) as process:
        wait_until_healthy(f"http://127.0.0.1:{port}", process)
        yield port


@contextmanager
def celery_stack(database_url: str, model_url: str) -> Iterator[int]:
    """The plain stack with a Redis of its own and Celery's default worker: a process a core; the port of its API."""
    with ExitStack() as stack:
        home = stack.enter_context(folder())
        redis = RedisServer(home)
        redis.start()
        stack.callback(redis.stop)
        env = {
            "DATABASE_URL": database_url.replace("+asyncpg", "+psycopg"),
            "REDIS_URL": redis.url,
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": model_url,
        }
        port = stack.enter_context(served(CELERY, home, **env))
        command = ["-m", "celery", "-A", f"{CELERY}:queue", "worker", "--loglevel", "info"]
        worker = Process(*command, log=home / "worker.log", env=env)
        stack.callback(worker.stop)
        wait_for(lambda: " ready." in worker.log.read_text(), worker)
        yield port
