"""The images and the compose file, as far as they can be proved without a container engine."""

import os
import re
import shutil
import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types of its own
from redis import Redis
from redis.asyncio.connection import parse_url
from redis.exceptions import AuthenticationError

from shared.catalogue import Catalogue
from shared.config import Settings
from shared.provider_presets import ModelRef, Role
from tests.services import missing
from worker.warm import MODEL_MB

ROOT = Path(__file__).parent.parent.parent
DOCKERFILES = {"api": ROOT / "Dockerfile.api", "worker": ROOT / "Dockerfile.worker"}
FILES = ("docker-compose.yml", "docker-compose.local-ai.yml")
NOT_SETTINGS = {  # Compose's own: operations.md explains
    "CPUS", "POSTGRES_PASSWORD", "DOMAIN", "PUBLISH_HTTP", "PUBLISH_HTTPS", "OLLAMA_CONTEXT_LENGTH", "MORE_SPEECH_MODELS",
}  # fmt: skip
DRIVERS = {"PGPASSWORD"}
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<mark>[-?])(?P<rest>(?:[^{}]|\$\{[^{}]*\})*))?\}")
ARABIC = "speaches-ai/piper-ar_JO-kareem-medium"
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


def local_ai() -> dict[str, Any]:
    """Both files as Compose merges them: mappings by their keys, volumes and ports one after the other."""
    one, other = (yaml.safe_load((ROOT / name).read_text()) for name in FILES)
    return dict(merged(one, other))


def merged(one: Any, other: Any) -> Any:
    """What is told last holds."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys()}
        return one | other | both
    return one + other if isinstance(one, list) and isinstance(other, list) else other


def environment_of(service: str, told: dict[str, str]) -> dict[str, str]:
    """What a service of both files finds in its environment, when `.env` says `told`."""
    stated = local_ai()["services"][service]["environment"]
    return told | {key: filled(str(value), told) for key, value in stated.items()}


def fetched(service: str, folder: Path, told: dict[str, str], *, there: str = "nothing") -> list[str]:
    """Run a service's script with commands that only note what they are asked; of what is `there` they know."""
    command = local_ai()["services"][service]
    for name in ("ollama", "curl"):
        stub = folder / name
        stub.write_text(
            f'#!/bin/sh\ncase "$*" in *POST*|pull*) echo "$*" >> asked ;; *{there}*) ;; *) exit 22 ;; esac\n'
        )
        stub.chmod(0o755)
    script = [*command["entrypoint"], *(part.replace("$$", "$") for part in command["command"])]
    environment = environment_of(service, told) | {"PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(script, cwd=folder, env=environment, check=True, timeout=60)
    asked = folder / "asked"
    return [line.split()[-1].removeprefix("http://speech:8000/v1/models/") for line in asked.read_text().splitlines()]


def filled(value: str, environment: dict[str, str]) -> str:
    """Replace `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as Compose does."""

    def one(found: re.Match[str]) -> str:
        known = environment.get(found["name"], "")
        if not known and found["mark"] == "?":
            raise KeyError(found["rest"])
        return known or (filled(found["rest"] or "", environment) if found["mark"] == "-" else "")

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
    used = {found["name"] for file in FILES for found in VARIABLE.finditer((ROOT / file).read_text())}
    own = {name for name in used if name.partition("__")[0] not in known}
    assert own == NOT_SETTINGS
    explained = (ROOT / "docs/operations.md").read_text()
    assert [name for name in own if f"`{name}`" not in explained] == []


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


def test_every_container_has_its_share_and_no_rights_to_spare() -> None:
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert {"cpus", "mem_limit", "pids_limit", "logging"} <= service.keys(), name
        assert filled(service["cpus"], {}) == "2"
        assert filled(service["cpus"], {"CPUS": "1"}) == "1"  # an engine refuses more than there are
    added = {name: service.get("cap_add", []) for name, service in compose()["services"].items()}
    assert added["api"] == added["worker"] == added["migrate"] == []


def test_a_signal_reaches_a_container_of_parley_from_the_first_moment() -> None:
    services = compose()["services"]
    assert all(services[name]["init"] for name in ("api", "worker", "migrate"))


def test_there_is_room_for_the_language_model_and_voice_notes() -> None:
    for name in ("api", "worker"):
        (told,) = compose()["services"][name]["tmpfs"]
        found = re.fullmatch(r"/tmp:size=(\d+)m,mode=1777", told)  # noqa: S108
        assert found
        assert int(found[1]) >= 2 * MODEL_MB + 10 * Settings.model_fields["max_upload_mb"].default


def test_the_proxy_reaches_the_api_and_nothing_behind_it() -> None:
    services = compose()["services"]
    behind = set(services["db"]["networks"]) | set(services["redis"]["networks"])
    assert behind.isdisjoint(services["proxy"]["networks"])
    assert set(services["api"]["networks"]) & set(services["proxy"]["networks"])
    for name in ("api", "worker", "migrate"):
        assert behind <= set(services[name]["networks"])
    models = [service for name, service in local_ai()["services"].items() if name not in services]
    assert all(set(service["networks"]) == behind for service in models)


def test_the_proxy_stays_while_the_others_are_made_anew() -> None:
    assert "depends_on" not in compose()["services"]["proxy"]
    found = re.search(r"lb_try_duration (\d+)s", (ROOT / "deploy/Caddyfile").read_text())
    assert found
    assert int(found[1]) >= 30


def test_what_starts_is_asked_each_second() -> None:
    for name, service in compose()["services"].items():
        if name != "migrate":
            assert service["healthcheck"]["start_interval"] == "1s", name
            assert "start_period" in service["healthcheck"], name


def test_redis_has_a_password_which_may_hold_any_character() -> None:
    password = "p w:/@\"\\'%#"
    redis = compose()["services"]["redis"]
    told = {**SECRETS, "OPENAI_API_KEY": "sk-test", "REDIS_PASSWORD": password}
    assert filled(redis["environment"]["REDISCLI_AUTH"], told) == password
    assert filled(redis["environment"]["REDISCLI_AUTH"], SECRETS) == SECRETS["POSTGRES_PASSWORD"]
    settings = settings_of("worker", told)
    assert settings.redis_url
    assert parse_url(settings.redis_url.get_secret_value())["password"] == password
    own = settings_of("worker", told | {"REDIS_URL": "redis://elsewhere:6379/0"})
    assert own.redis_url
    assert own.redis_url.get_secret_value() == "redis://elsewhere:6379/0"


def test_redis_is_told_its_password_as_it_is(tmp_path: Path) -> None:
    if not shutil.which("redis-server"):
        missing("redis-server")
    *shell, script = compose()["services"]["redis"]["command"]
    socket, password = tmp_path / "s", "p w:/@\"\\'%#"
    script = script.replace("$$", "$").replace("/tmp/redis.conf", str(tmp_path / "redis.conf"))  # noqa: S108
    command = [*shell, f"{script.strip()} --port 0 --unixsocket {socket}"]
    with subprocess.Popen(command, env={**os.environ, "REDISCLI_AUTH": password}, stdout=subprocess.DEVNULL) as server:
        while not socket.exists():
            assert server.poll() is None
            time.sleep(0.05)
        with Redis(unix_socket_path=str(socket), password=password) as redis:
            assert redis.ping()
        with Redis(unix_socket_path=str(socket)) as redis, pytest.raises(AuthenticationError):
            redis.ping()
        server.terminate()


def test_secrets_may_be_files() -> None:
    files = yaml.safe_load((ROOT / "docker-compose.secrets.yml").read_text())
    for name in ("api", "worker", "migrate"):
        told = files["services"][name]["environment"]
        values = {key for key, value in told.items() if value == ""}
        assert values - {"POSTGRES_PASSWORD"} == {key.removesuffix("_FILE") for key in told if key.endswith("_FILE")}
        held = {value.removeprefix("/run/secrets/") for value in told.values() if value}
        assert held == set(files["services"][name]["secrets"]) == files["secrets"].keys()
    secret = {key for key in compose()["services"]["api"]["environment"] if re.search("SECRET|PASSWORD|API_KEY", key)}
    assert secret <= files["services"]["api"]["environment"].keys()


def test_every_image_of_others_has_its_digest() -> None:
    pinned = yaml.safe_load((ROOT / "deploy/pinned.yml").read_text())["services"]
    digest = r"@sha256:[0-9a-f]{64}"
    for name, service in compose()["services"].items():
        if "build" in service:
            bases = {base.partition(" AS ")[0] for base in values("worker" if name == "worker" else "api", "FROM")}
            contexts = pinned[name]["build"]["additional_contexts"]
            assert contexts.keys() == bases
            assert all(re.fullmatch(f"docker-image://{base}{digest}", told) for base, told in contexts.items())
        else:
            assert re.fullmatch(service["image"] + digest, pinned[name]["image"])


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
    assert re.search(r"^\s*keepalive 60s$", config, re.MULTILINE)  # the API's own is 75 s


@pytest.fixture
def local_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A worker's settings with all models on its machine and nothing but secrets in `.env`."""
    for name, value in environment_of("worker", SECRETS).items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)


def test_all_models_on_one_machine_need_no_key(local_settings: Settings) -> None:
    assert (local_settings.env, local_settings.openai_api_key) == ("PRODUCTION", None)
    servers = local_settings.model_servers
    assert (servers["ollama"].base_url, servers["speech"].base_url) == (
        "http://ollama:11434/v1",
        "http://speech:8000/v1",
    )
    assert [server.api_key for server in servers.values()] == [None] * len(servers)
    named = {ref.provider for role in get_args(Role) for ref in local_settings.model_refs(role)}
    assert named == {"ollama", "speech"}


def test_models_on_one_machine_may_be_used_by_accounts_without_money(local_settings: Settings) -> None:
    assert local_settings.starting_balance == 0
    catalogue = Catalogue.load(ROOT / "deploy/local-ai.toml")
    more = ModelRef.parse_list(environment_of("speech-models", SECRETS)["MORE_SPEECH_MODELS"])
    wanted = [(role, ref) for role in get_args(Role) for ref in local_settings.model_refs(role)]
    models = [catalogue.get(role, ref) for role, ref in [*wanted, *(("tts", ref) for ref in more)]]
    assert [model.id for model in models if not model.is_priced] == []
    assert sum(model.cost(input_tokens=9, output_tokens=9, audio_s=9, characters=9) for model in models) == 0
    window = int(environment_of("ollama", {})["OLLAMA_CONTEXT_LENGTH"])
    assert [model.context_window for model in models if model.kind == "chat"] == [window]


def test_what_speaks_on_one_machine_is_asked_for_voices_that_it_has() -> None:
    catalogue = Catalogue.load(ROOT / "deploy/local-ai.toml")
    speaking = [ModelRef("speech", name) for name in ("speaches-ai/Kokoro-82M-v1.0-ONNX", ARABIC)]
    assert [catalogue.get("tts", ref).voices[0] for ref in speaking] == ["af_heart", "kareem"]


def test_the_models_that_are_named_are_fetched(tmp_path: Path) -> None:
    assert fetched("chat-models", tmp_path, SECRETS) == ["qwen3:4b-instruct"]
    (tmp_path / "asked").unlink()
    assert fetched("speech-models", tmp_path, SECRETS) == [
        "Systran/faster-whisper-small", "speaches-ai/Kokoro-82M-v1.0-ONNX", ARABIC,
    ]  # fmt: skip


def test_what_is_there_already_or_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    told = {**SECRETS, "AI_CHAT": "ollama/old, openai/gpt-6-luna,ollama/new:1b", "AI_STT": "groq/whisper-large-v3"}
    assert fetched("chat-models", tmp_path, told, there="old") == ["new:1b"]
    (tmp_path / "asked").unlink()
    assert fetched("speech-models", tmp_path, told, there="Kokoro") == [ARABIC]


def test_a_model_that_can_not_be_fetched_keeps_workers_from_starting(tmp_path: Path) -> None:
    for name in ("ollama", "curl"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    services = local_ai()["services"]
    for service in ("chat-models", "speech-models"):
        script = [*services[service]["entrypoint"], services[service]["command"][0].replace("$$", "$")]
        environment = environment_of(service, SECRETS) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        assert subprocess.run(script, env=environment, check=False, timeout=60).returncode == 1
        assert services["worker"]["depends_on"][service] == {"condition": "service_completed_successfully"}


def test_both_files_together_are_whole() -> None:
    whole = local_ai()
    services = whole["services"]
    assert {name for service in services.values() for name in service.get("depends_on", {})} <= services.keys()
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if "/" not in mount} == whole["volumes"].keys()
    assert [mount for mount in mounts if "/" in mount and not (ROOT / mount).is_file()] == []
    assert services["worker"]["depends_on"].keys() > {"redis", "migrate"}
    assert services["api"]["environment"] == services["worker"]["environment"] == services["migrate"]["environment"]
    assert services["api"]["volumes"] == services["worker"]["volumes"] == services["migrate"]["volumes"]
    waited_for = [
        name
        for service in services.values()
        for name, wish in service.get("depends_on", {}).items()
        if wish["condition"] == "service_healthy"
    ]
    built = {name for name, service in services.items() if "build" in service}  # their images have checks of their own
    assert [name for name in waited_for if name not in built and "healthcheck" not in services[name]] == []


def test_local_models_are_pinned_and_reachable_for_parley_only() -> None:
    services = local_ai()["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    models = yaml.safe_load((ROOT / FILES[1]).read_text())["services"]
    images = {service["image"] for service in models.values() if "image" in service}
    assert len(images) == 2
    assert [image for image in images if not re.search(r":\d+\.\d+\.\d+[\w.-]*$", image)] == []
