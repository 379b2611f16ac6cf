"""A stack of containers made of a copy of this checkout, with secrets, a name and a port of its own."""

import os
import secrets
import shlex
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / ".compose-test"  # in the checkout: an engine may see nothing else of this machine
COPIED = (
    "api", "worker", "shared", "migrations", "deploy", "alembic.ini", "requirements.txt", ".dockerignore",
    "Dockerfile.api", "Dockerfile.worker", "docker-compose.yml",
)  # fmt: skip
PORT = int(os.environ.get("COMPOSE_TEST_PORT", "8099"))


class Stack:
    """Runs `$COMPOSE` (`docker compose`) in the copy."""

    def __init__(self) -> None:
        self.compose = shlex.split(os.environ.get("COMPOSE", "docker compose"))
        shutil.rmtree(FOLDER, ignore_errors=True)
        for name in COPIED:
            source, target = ROOT / name, FOLDER / name
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        settings = {
            "COMPOSE_PROJECT_NAME": "parley-compose-test",
            "POSTGRES_PASSWORD": secrets.token_hex(32),
            "REDIS_PASSWORD": secrets.token_urlsafe(16) + '"\\ /@:%',  # any character may be in it
            "JWT_SECRET": secrets.token_hex(32),
            "PUBLISH_HTTP": f"127.0.0.1:{PORT}",
            "PUBLISH_HTTPS": f"127.0.0.1:{PORT + 1}",
            "CPUS": str(min(2, os.cpu_count() or 1)),
            "DEFAULT_BALANCE": "unlimited",
            "USER_REQUESTS_PER_MINUTE": "1000000",
            **dict.fromkeys(("AI_CHAT", "AI_STT", "AI_TTS"), "offline/offline"),
        }
        (FOLDER / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))

    def run(self, *arguments: str, data: bytes = b"", check: bool = True) -> bytes:
        """Run a command of Compose; its output."""
        return self._run([*self.compose, *arguments], data, check=check)

    def refusal(self, *arguments: str) -> str:
        """What a service says that must not start."""
        done = subprocess.run([*self.compose, *arguments], cwd=FOLDER, capture_output=True, check=False)
        told = done.stdout.decode() + done.stderr.decode()
        assert done.returncode, told
        assert "Traceback" not in told, told
        return told

    def upgrade(self) -> None:
        """Make new images, which differ, and bring the stack to them as docs/operations.md says."""
        with (FOLDER / "shared/__init__.py").open("a") as file:
            file.write(f"# {time.time()}\n")
        self.run("build")
        self._run(["sh", "deploy/upgrade.sh"])

    def remove(self) -> None:
        """Remove the containers, their volumes and the copy."""
        self.run("down", "--volumes", "--timeout", "5")
        shutil.rmtree(FOLDER)

    def _run(self, command: list[str], data: bytes = b"", *, check: bool = True) -> bytes:
        done = subprocess.run(command, cwd=FOLDER, input=data, capture_output=True, check=False)
        if check and done.returncode:
            raise SystemExit(f"{shlex.join(command)}\n{done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout
