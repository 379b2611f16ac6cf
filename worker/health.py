"""`python -m worker.health` exits 0 while a worker of this host writes its heartbeats: the image's health check."""

import asyncio
import socket
import sys

from shared.config import get_settings
from shared.db import Database
from shared.errors import Unavailable
from shared.services import worker as workers


async def is_well() -> bool:
    """Whether SQL knows a live worker of this host; False when SQL is away."""
    database = Database(get_settings().embedded_database_url)
    try:
        async with database.read() as db:
            return await workers.is_alive(db, host=socket.gethostname())
    except Unavailable:
        return False
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(not asyncio.run(is_well()))
