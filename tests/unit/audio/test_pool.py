import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it has no types
import pytest

from shared.audio import child
from shared.audio.decode import prepare
from shared.audio.mp3 import encode
from shared.audio.pool import AudioPool
from shared.audio.probe import probe
from shared.errors import Invalid, Unavailable, Unsupported
from tests.unit.audio.build import EXTENSIONS, FOLDER, SPEECH, tone

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


async def pids(pool: AudioPool) -> set[int]:
    return set(await asyncio.gather(*(pool.run(child.ready) for _ in range(2))))


async def test_runs_the_audio_functions(pool: AudioPool) -> None:
    sound = await pool.run(probe, str(SPEECH), max_s=600.0)
    prepared = await pool.run(
        prepare, str(SPEECH), extensions=EXTENSIONS, max_s=600.0, max_part_s=60.0, max_bytes=10_000_000
    )
    speech = await pool.run(encode, tone(1.0), rate=16_000)

    assert sound == probe(str(SPEECH), max_s=600.0)
    assert prepared.parts[0].data == SPEECH.read_bytes()
    assert speech == encode(tone(1.0), rate=16_000)


async def test_errors_come_through_with_their_fields(pool: AudioPool) -> None:
    with pytest.raises(Unsupported) as foreign:
        await pool.run(probe, str(FOLDER / "bad_05_png.mp3"), max_s=600.0)
    with pytest.raises(Invalid) as short:
        await pool.run(probe, str(FOLDER / "bad_24_50ms.wav"), max_s=600.0)
    with pytest.raises(FileNotFoundError):
        await pool.run(probe, str(FOLDER / "missing"), max_s=600.0)

    assert foreign.value.errors is not None
    assert foreign.value.errors[0]["field"] == "file"
    assert short.value.code == "audio_too_short"


async def test_work_that_takes_too_long_is_ended_and_the_next_is_done(pool: AudioPool) -> None:
    before = await pids(pool)

    with pytest.raises(Invalid) as caught:
        await pool.run(time.sleep, 60, timeout_s=0.2)

    assert caught.value.code == "audio_unreadable"
    after = await pids(pool)
    assert len(before & after) == 1
    assert not any(psutil.pid_exists(pid) for pid in before - after)


async def test_a_slow_neighbour_delays_nobody(pool: AudioPool) -> None:
    slow = asyncio.create_task(pool.run(time.sleep, 60, timeout_s=60))
    await asyncio.sleep(0)

    assert await asyncio.gather(*(pool.run(child.ready) for _ in range(5)))
    assert not slow.done()


async def test_idle_processes_may_be_killed(pool: AudioPool) -> None:
    for pid in await pids(pool):
        os.kill(pid, KILL)

    assert (await pool.run(probe, str(SPEECH), max_s=600.0)).codec == "pcm_s16le"
    assert len(await pids(pool)) == 2


async def test_work_whose_process_is_killed_is_done_again(pool: AudioPool) -> None:
    await pool.warm()
    work = asyncio.create_task(pool.run(time.sleep, 1.0))
    await asyncio.sleep(0.2)
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # others come and go by themselves
            if "multiprocessing-fork" in " ".join(process.cmdline()):
                process.kill()

    await work


async def test_work_that_kills_its_process_is_given_up(pool: AudioPool) -> None:
    with pytest.raises(Invalid) as caught:
        await pool.run(os._exit, 3)

    assert caught.value.code == "audio_unreadable"
    assert await pool.run(child.ready)


async def test_many_wait_and_too_many_are_turned_away() -> None:
    pool = AudioPool(workers=1, max_waiting=3)
    try:
        results = await asyncio.gather(*(pool.run(child.ready) for _ in range(10)), return_exceptions=True)
    finally:
        await pool.close()

    refused = [r for r in results if isinstance(r, Unavailable)]
    assert {type(r) for r in results} == {int, Unavailable}
    assert all(r.retry_after for r in refused)


async def test_a_process_is_replaced_after_so_many_tasks() -> None:
    pool = AudioPool(workers=1, max_tasks=4)
    try:
        seen = [await pool.run(child.ready) for _ in range(9)]
    finally:
        await pool.close()

    assert len(set(seen)) > 2
    assert seen[0] == seen[1]


async def test_a_cancelled_caller_leaves_the_pool_whole(pool: AudioPool) -> None:
    before = await pids(pool)
    work = [asyncio.create_task(pool.run(time.sleep, 0.3)) for _ in range(6)]
    await asyncio.sleep(0.1)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)

    # One process may still be at work and the other answer twice: both are asked until they have answered.
    seen: set[int] = set()
    while not before <= seen:
        seen |= await pids(pool)
        await asyncio.sleep(0.01)
    assert seen == before


async def test_closing_ends_the_processes_and_the_work() -> None:
    pool = AudioPool()
    children = await pids(pool)
    work = asyncio.create_task(pool.run(time.sleep, 60))
    await asyncio.sleep(0.1)

    await pool.close()
    await pool.close()

    with pytest.raises(Unavailable):
        await work
    with pytest.raises(Unavailable):
        await pool.run(child.ready)
    assert not any(psutil.pid_exists(pid) for pid in children)


async def test_a_closed_pool_that_never_ran_is_closed() -> None:
    await AudioPool().close()


async def test_the_event_loop_goes_on_while_audio_is_worked_on(pool: AudioPool) -> None:
    await pool.warm()
    work = asyncio.create_task(pool.run(time.sleep, 0.5))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert turns > 20


PARENT = """
    import asyncio, sys, time
    from shared.audio import child
    from shared.audio.pool import AudioPool

    async def main():
        pool = AudioPool()
        await pool.warm()
        busy = asyncio.create_task(pool.run(time.sleep, 300, timeout_s=300))
        print(await pool.run(child.ready), flush=True)
        print(*(lane.pid for lane in pool._lanes), flush=True)
        await asyncio.sleep(300)

    if __name__ == "__main__":
        asyncio.run(main())
"""


def parent(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT), encoding="utf-8")
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=sys.platform != "win32",
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process, [int(word) for word in process.stdout.readline().split()]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_processes_die_with_a_killed_parent(tmp_path: Path) -> None:
    process, children = parent(tmp_path)
    with process:
        assert all(alive(pid) for pid in children)
        process.kill()
        process.wait()

    for _ in range(300):
        if not any(alive(pid) for pid in children):
            break
        time.sleep(0.1)
    assert not any(alive(pid) for pid in children)


@posix
def test_processes_leave_ctrl_c_to_the_parent(tmp_path: Path) -> None:
    process, children = parent(tmp_path)
    with process:
        for pid in children:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
        survived = [alive(pid) for pid in children]
        process.kill()
        process.wait()

    assert len(survived) == 2
    assert all(survived)
