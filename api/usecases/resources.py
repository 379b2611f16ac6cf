"""What one API process stands on, opened at start and closed at the end."""

import asyncio
from dataclasses import dataclass

from api.usecases.admission import Admission
from api.usecases.batching import JobReader, Submits, Uploads
from api.usecases.model_retirement import Retirements
from api.usecases.readiness import ReadinessCheck
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.passwords import Passwords
from shared.process.loop_lag import LoopLag
from shared.redis.queue import Queue
from shared.redis.rate_limits import RateLimits
from shared.redis.wakes import JobWakes
from shared.services.job.transitions import Budget
from shared.sql.database import Database
from shared.storage import Storage
from shared.user_limits import UserLimits


@dataclass(frozen=True)
class Resources:
    """SQL and what reads jobs from it, the queue, the events over it, the blobs, audio processes, what is measured.

    And what passwords are compared by, and guesses counted.
    """

    settings: Settings
    database: Database
    jobs: JobReader
    submits: Submits
    uploads: Uploads
    queue: Queue
    events: JobWakes
    blobs: Storage
    audio: AudioPool
    admission: Admission
    lag: LoopLag
    budget: Budget  # what each new job may use up
    retirements: Retirements
    readiness: ReadinessCheck
    passwords: Passwords
    limits: RateLimits
    user_limits: UserLimits
    discarding: set["asyncio.Task[None]"]  # uploads whose answer did not wait for it
