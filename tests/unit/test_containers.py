"""The images and the compose file, as far as they can be proved without a container engine."""

import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types of its own

from shared.config import Settings

ROOT = Path(__file__).parent.parent.parent
DOCKERFILES = {"api": ROOT / "Dockerfile.api", "worker": ROOT / "Dockerfile.worker"}
NOT_SETTINGS = {"POSTGRES_PASSWORD", "DOMAIN", "PUBLISH_HTTP", "PUBLISH_HTTPS"}  # Compose's own: operations.md explains
DRIVERS = {"PGPASSWORD"}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<mark>[-?])(?P<rest>[^}]*))?\}")
SECRETS = {"POSTGRES_PASSWORD": "a-password", "JWT_SECRET": "0123456789abcdef" * 4}


def instructions(name: str) -> list[tuple[str, str]]:
    """A Dockerfile as (INSTRUCTION, arguments), continued lines joined."""
    lines = [line for line in DOCKERFILES[name].read_text().splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def values(name: str, instruction: str) -> list[str]:
    return [rest for word, rest in instructions(name) if word == instruction]


def copied(name: str) -> list[str]:
    """What goes from the repository into the last stage."""
    last = max(i for i, (word, _) in enumerate(instructions(name)) if word == "FROM")
    copies = [rest.split() for word, rest in instructions(name)[last:] if word == "COPY"]
    return [source for parts in copies if not parts[0].startswith("--from") for source in parts[:-1]]


def image(name: str, folder: Path) -> Path:
    """A folder that holds what the image's own folder holds."""
    for source in copied(name):
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / source)
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in an image's folder, with nothing of the repository or the shell in reach."""
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=bare | environment, capture_output=True, text=True, check=False, timeout=60
    )


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def filled(value: str, environment: dict[str, str]) -> str:
    """Replace `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as Compose does."""

    def one(found: re.Match[str]) -> str:
        known = environment.get(found["name"], "")
        if not known and found["mark"] == "?":
            raise KeyError(found["rest"])
        return known or ((found["rest"] or "") if found["mark"] == "-" else "")

    return VARIABLE.sub(one, value)


def settings_of(service: str, environment: dict[str, str]) -> Settings:
    """The settings of a service whose `.env` says `environment`."""
    stated = {
        key: filled(str(value), environment) for key, value in compose()["services"][service]["environment"].items()
    }
    both = {key.lower(): value for key, value in (environment | stated).items() if value}
    return Settings(_env_file=None, **{key: value for key, value in both.items() if key in Settings.model_fields})


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_exists_and_is_let_through(name: str) -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in [*copied(name), "requirements.txt"]:
        assert (ROOT / source).exists(), source
        assert source in let_through, source


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_lean_and_runs_as_nobody_special(name: str) -> None:
    assert len(values(name, "FROM")) == 2
    assert values(name, "USER") == ["10001:10001"]
    assert len(values(name, "HEALTHCHECK")) == 1
    assert values(name, "STOPSIGNAL") == ["SIGTERM"]
    assert "DATA_DIR=/data" in values(name, "ENV")[0]
    text = DOCKERFILES[name].read_text()
    assert "requirements-dev" not in text
    assert not re.search(r"SECRET|PASSWORD|API_KEY", text)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_module_of_an_image_imports_with_what_was_copied(name: str, tmp_path: Path) -> None:
    folder = image(name, tmp_path)
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for package in ("api", "worker", "shared")
        for path in (folder / package).rglob("*.py")
    ]
    assert f"{name}.__main__" in modules
    imported = run(folder, "-c", f"import importlib; [importlib.import_module(m) for m in {modules!r}]")
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_commands_of_an_image_are_modules_of_it(name: str, tmp_path: Path) -> None:
    folder = image(name, tmp_path)
    commands = [*values(name, "CMD"), values(name, "HEALTHCHECK")[0].partition(" CMD ")[2]]
    for command in map(yaml.safe_load, commands):
        assert command[0] == "python"
        if command[1] == "-m":
            path = folder.joinpath(*command[2].split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), command
        else:
            compile(command[2], name, "exec")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_process_in_an_image_says_what_it_misses(name: str, tmp_path: Path) -> None:
    process = run(image(name, tmp_path), "-m", name)
    assert process.returncode == 1
    assert process.stderr.startswith("REDIS_URL is not set")


def test_the_migrations_run_in_the_api_image(tmp_path: Path) -> None:
    assert compose()["services"]["migrate"]["command"] == ["alembic", "upgrade", "head"]
    url = f"sqlite+aiosqlite:///{tmp_path / 'parley.db'}"
    migrated = run(image("api", tmp_path), "-m", "alembic", "upgrade", "head", DATABASE_URL=url)
    assert migrated.returncode == 0, migrated.stderr


@pytest.mark.parametrize("service", ["api", "worker", "migrate"])
def test_compose_passes_settings_that_exist(service: str) -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(compose()["services"][service]["environment"]) <= known | DRIVERS


def test_every_variable_of_compose_is_a_setting_or_explained() -> None:
    known = {name.upper() for name in Settings.model_fields}
    used = {found["name"] for found in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())}
    assert used - known == NOT_SETTINGS
    explained = (ROOT / "docs/operations.md").read_text()
    assert [name for name in used - known if f"`{name}`" not in explained] == []


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_start_without_a_secret(missing: str) -> None:
    environment = {name: value for name, value in SECRETS.items() if name != missing}
    stated = " ".join(str(service.get("environment")) for service in compose()["services"].values())
    with pytest.raises(KeyError, match=f"set {missing} in .env"):
        filled(stated, environment)


def test_compose_is_production_with_nothing_but_secrets_and_a_key() -> None:
    settings = settings_of("worker", {**SECRETS, "OPENAI_API_KEY": "sk-test"})
    assert (settings.env, settings.auth) == ("PRODUCTION", "on")
    assert settings.embedded_database_url.startswith("postgresql+asyncpg://parley@db")
    assert settings.embedded_blob_url == "file:///data/blobs"
    with pytest.raises(ValueError, match="offline engine"):
        settings_of("worker", SECRETS)


def test_api_worker_and_migrations_share_their_settings() -> None:
    services = compose()["services"]
    assert services["api"]["environment"] == services["worker"]["environment"] == services["migrate"]["environment"]
    assert services["api"]["volumes"] == services["worker"]["volumes"]


def test_workers_can_be_scaled_and_only_the_proxy_is_reachable() -> None:
    services = compose()["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert [name for name, service in services.items() if "container_name" in service] == []
    assert all(filled(port, {}).startswith("127.0.0.1:") for port in services["proxy"]["ports"])


def test_nothing_starts_before_the_migrations_are_done() -> None:
    services = compose()["services"]
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    for name in ("api", "worker"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services[name]["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert all("healthcheck" in services[name] for name in ("redis", "db", "proxy"))


def test_the_api_believes_the_proxy_and_nobody_from_outside() -> None:
    settings = settings_of("api", {**SECRETS, "OPENAI_API_KEY": "sk-test"})
    trusted = [ip_network(one) for one in settings.trusted_proxies.split(",")]
    assert trusted
    assert all(network.is_private for network in trusted)
    assert not re.search(r"^\s*trusted_proxies", (ROOT / "deploy/Caddyfile").read_text(), re.MULTILINE)


def test_a_worker_gets_longer_to_stop_than_its_jobs_do() -> None:
    grace = compose()["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= Settings.model_fields["shutdown_grace"].default + 10


def test_the_proxy_lets_an_upload_through_and_gives_up_on_half_sent_requests() -> None:
    config = (ROOT / "deploy/Caddyfile").read_text()
    most = re.search(r"max_size (\d+)MB", config)
    assert most
    assert int(most[1]) > Settings.model_fields["max_upload_mb"].default
    assert "read_header" in config
    assert "read_body" in config
    assert "reverse_proxy api:8000" in config
    assert re.search(r"^\s*keepalive 4s$", config, re.MULTILINE)  # uvicorn's is 5 s
