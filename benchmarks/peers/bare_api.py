"""The least that a FastAPI route with SQLAlchemy can do: read one row by its key, or insert one.

uvicorn benchmarks.peers.bare_api:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Text, Uuid, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

url = os.environ["DATABASE_URL"]
engine = create_async_engine(url, pool_size=int(os.environ["POOL_SIZE"]), max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """A row."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)


class Job(Base):
    """Parley's own row, as far as anybody would show it."""

    __tablename__ = "job"
    session_id: Mapped[UUID | None] = mapped_column(Uuid)
    kind: Mapped[str]
    status: Mapped[str]
    stage: Mapped[str | None]
    attempt: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Note(Base):
    """What is inserted."""

    __tablename__ = "note"
    session_id: Mapped[UUID] = mapped_column(index=True)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC).replace(tzinfo=None))


class JobRead(BaseModel):
    """What is read."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    session_id: UUID | None
    kind: str
    status: str
    stage: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Submit(BaseModel):
    """What is sent."""

    session_id: UUID
    text: str


class Created(BaseModel):
    """What was made."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    session_id: UUID
    text: str
    created_at: datetime


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


async def _db() -> AsyncIterator[AsyncSession]:
    async with sessions() as db:
        yield db


Db = Annotated[AsyncSession, Depends(_db)]
app = FastAPI(lifespan=_lifespan)


@app.get("/health")
async def health() -> None:
    """The process answers."""


@app.get("/job/{job_id}")
async def read(job_id: UUID, db: Db) -> JobRead:
    """Read one row."""
    job = await db.get(Job, job_id)
    if job is None:
        raise HTTPException(404)
    return JobRead.model_validate(job)


@app.post("/note", status_code=202)
async def insert(body: Submit, db: Db) -> Created:
    """Insert one row."""
    note = Note(session_id=body.session_id, text=body.text)
    db.add(note)
    await db.commit()
    return Created.model_validate(note)


if url.startswith("sqlite"):

    @event.listens_for(engine.sync_engine, "connect")
    def _as_parley_does(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
