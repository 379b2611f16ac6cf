"""`python -m api token` and `create-admin`, as an operator runs them."""

import asyncio
import os
import subprocess
import sys

import pytest
from sqlmodel import col, select, update

from shared.models import User
from tests.api.conftest import SECRET
from tests.api.test_login import PASSWORD, bearer, login, me, register, try_login
from tests.conftest import ROOT
from tests.live import API, Live

Done = subprocess.CompletedProcess[str]


async def command(live: Live, *arguments: str, typed: str = "", by: tuple[str, ...] = ("-m", "api")) -> Done:
    """The command with the live one's settings; what is typed comes through a pipe."""
    settings = live.resources.settings
    assert settings.database_url
    env = {
        "PATH": os.environ["PATH"],
        "ENV": "TEST",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "JWT_SECRET": SECRET,
        "PYTHONPATH": str(ROOT),
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *by, *arguments],
        cwd=settings.data_dir, env=env, input=typed, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


async def test_a_token_is_printed_for_a_user_who_is_made_if_need_be(door: Live) -> None:
    first, again = await command(door, "token", "Alice"), await command(door, "token", "alice", "--days", "0.5")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    pairs = [{"access_token": one.stdout.strip()} for one in (first, again)]
    found = [(await door.http.get(f"{API}/auth/me", headers=bearer(pair))).json() for pair in pairs]
    assert found[0] == found[1]
    assert (found[0]["username"], found[0]["role"]) == ("alice", "user")
    assert (await door.http.post(f"{API}/auth/logout", headers=bearer(pairs[0]))).status_code == 204
    assert [await me(door, pair) for pair in pairs] == [401, 200]
    over = await command(door, "token", "alice", "--days", "0")
    assert await me(door, {"access_token": over.stdout.strip()}) == 401
    assert (await try_login(door, "alice")).status_code == 401


async def test_an_admin_is_made_with_a_password_from_a_pipe(door: Live) -> None:
    made = await command(door, "create-admin", "Root", typed=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "root is an administrator.\n"), made.stderr
    assert PASSWORD not in made.stdout + made.stderr
    pair = await login(door, "root")
    assert (await door.http.get(f"{API}/admin/user", headers=bearer(pair))).status_code == 200


async def test_whoever_is_there_becomes_one_with_a_new_password(door: Live) -> None:
    await register(door, "ann")
    pair = await login(door, "ann")
    async with door.resources.database.write() as db:
        await db.exec(update(User).where(col(User.username) == "ann").values(disabled=True))
    made = await command(door, "create-admin", "ann", typed="battery horse")
    assert made.returncode == 0, made.stderr
    assert await me(door, pair) == 401
    assert (await try_login(door, "ann")).status_code == 401
    new = await login(door, "ann", "battery horse")
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(new))).json()["role"] == "admin"


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_what_can_not_be_is_told_in_one_line(door: Live) -> None:
    await door.sign_in("off", disabled=True)
    for arguments, typed in (
        (("create-admin", "root"), "short"),
        (("create-admin", "root"), ""),
        (("create-admin", "a\nb"), PASSWORD),
        (("create-admin", "LOCAL"), PASSWORD),
        (("token", " "), ""),
        (("token", "x" * 101), ""),
        (("token", "off"), ""),
    ):
        told = await command(door, *arguments, typed=typed)
        assert told.returncode == 1, arguments
        assert len(told.stderr.strip().splitlines()) == 1, told.stderr
        assert told.stdout == ""
    async with door.resources.database.read() as db:
        assert set((await db.exec(select(User.username))).all()) == {"local", "off"}


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    door: Live,
) -> None:
    script = (
        "import pty, os, sys\n"
        "def read(fd):\n"
        "    data = os.read(fd, 1024)\n"
        "    if data.rstrip().endswith(b':'): os.write(fd, answers.pop(0) + b'\\n')\n"
        "    return data\n"
        "answers = [word.encode() for word in sys.argv[1:3]]\n"
        "sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-m', 'api', *sys.argv[3:]], read)))\n"
    )

    async def typed(first: str, second: str) -> Done:
        return await command(door, "create-admin", "root", by=("-c", script, first, second))

    different = await typed(PASSWORD, "another")
    assert (different.returncode, different.stdout.splitlines()[-1]) == (1, "The two are not the same.")
    assert (await try_login(door, "root")).status_code == 401
    made = await typed(PASSWORD, PASSWORD)
    assert made.returncode == 0, made.stdout
    assert PASSWORD not in made.stdout
    await login(door, "root")
