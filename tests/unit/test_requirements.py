"""The pinned requirements: whole, hashed, demanded so wherever they are installed, and to be had on every platform."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
FILES = ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt")
INSTALLERS = ("Dockerfile.api", "Dockerfile.worker", "Makefile")
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))


def entries(name: str) -> list[str]:
    """Each requirement with its hashes, on one line."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]


def pinned(name: str, python: str, system: str, machine: str) -> set[str]:
    """The packages that such a machine installs."""
    there = {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": system.title(),
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    wanted = [Requirement(entry.split("--hash")[0].strip()) for entry in entries(name)]
    return {one.name for one in wanted if one.marker is None or one.marker.evaluate(there)}


@pytest.mark.parametrize("name", FILES)
def test_every_pin_has_one_version_and_hashes(name: str) -> None:
    assert entries(name)
    for entry in entries(name):
        assert re.match(r"[a-z0-9.\[\]-]+==[^ ]+ ", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("name", INSTALLERS)
def test_nothing_is_installed_without_its_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    installs = [line for line in text.splitlines() if re.search(r"\bpip\b.*\binstall\b", line)]
    assert installs
    for line in installs:
        assert "--require-hashes" in line, line


@pytest.mark.parametrize(("system", "machine"), MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_recogniser_is_wanted_only_where_there_is_a_wheel_of_it(python: str, system: str, machine: str) -> None:
    has_none = (python, system, machine) == ("3.12", "linux", "aarch64")
    packages = pinned("requirements.txt", python, system, machine)
    assert ("pocketsphinx" in packages) is not has_none
    assert {"fastapi", "av", "openai", "aiohttp"} <= packages
