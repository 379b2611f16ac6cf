"""Pictures of a page, and a film of what is done on it, small enough for a README."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from playwright.async_api import Page

MS = Fraction(1, 1_000)
FRAME_MS = 100
STILL_MS = 1_000  # nobody looks at a picture that does not move for longer
LONGEST_MS = 20_000  # on a slow machine everything takes longer, and is shown faster


async def take(page: Page, path: Path) -> None:
    """A screenshot, as WebP without loss."""
    shot = await page.screenshot(animations="disabled", caret="hide")
    options = {"lossless": "1", "compression_level": "6"}
    _write(path, _encoded([(0, shot)], "png_pipe", "libwebp", options))


@asynccontextmanager
async def filming(page: Page, path: Path) -> AsyncIterator[None]:
    """What the page shows meanwhile, as an animated WebP."""
    cdp = await page.context.new_cdp_session(page)
    frames: list[tuple[float, bytes]] = []
    acks: set[asyncio.Task[Any]] = set()

    def shown(event: dict[str, Any]) -> None:
        frames.append((event["metadata"]["timestamp"] * 1_000, base64.b64decode(event["data"])))
        ack = asyncio.create_task(cdp.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]}))
        acks.add(ack)
        ack.add_done_callback(acks.discard)

    cdp.on("Page.screencastFrame", shown)
    await cdp.send("Page.startScreencast", {"format": "jpeg", "quality": 95})
    yield
    await cdp.send("Page.stopScreencast")
    await asyncio.gather(*acks, return_exceptions=True)
    await cdp.detach()
    options = {"quality": "75", "compression_level": "4", "loop": "0"}
    _write(path, _encoded(_shortened(frames), "jpeg_pipe", "libwebp_anim", options))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _shortened(frames: list[tuple[float, bytes]]) -> list[tuple[int, bytes]]:
    """Ten frames a second at most, no long wait, and no more than twenty seconds."""
    kept: list[tuple[int, bytes]] = []
    at = last = 0.0
    for moment, frame in frames:
        step = moment - last if kept else 0.0
        if kept and step < FRAME_MS:
            kept[-1] = (kept[-1][0], frame)
            continue
        at, last = at + min(step, STILL_MS), moment
        kept.append((round(at), frame))
    pace = min(1.0, LONGEST_MS / max(1.0, at))
    return [(round(moment * pace), frame) for moment, frame in kept]


def _encoded(frames: list[tuple[int, bytes]], source: str, codec: str, options: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="webp", options={"loop": "0"}) as container:
        stream: Any = None
        for at, data in frames:
            with av.open(io.BytesIO(data), "r", format=source) as picture:
                frame = next(picture.decode(video=0))
            if stream is None:
                stream = container.add_stream(codec, rate=10, options=options)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "bgra"
                stream.codec_context.time_base = MS
            ready = frame.reformat(format="bgra")
            ready.pts, ready.time_base = at, MS
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return sink.getvalue()
