"""The same text turn as one would plainly write it: FastAPI, SQLAlchemy, Celery on Redis, the openai SDK.

uvicorn benchmarks.peers.celery_stack:app
celery -A benchmarks.peers.celery_stack:queue worker
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from celery import Celery
from celery.signals import worker_process_init
from fastapi import Depends, FastAPI, HTTPException
from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, Text, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

HISTORY = 20

engine = create_engine(os.environ["DATABASE_URL"])
sessions = sessionmaker(engine, expire_on_commit=False)
queue = Celery("turns", broker=os.environ["REDIS_URL"])
queue.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
openai = OpenAI(max_retries=0)


def now() -> datetime:
    """In UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """A row."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Conversation(Base):
    """A conversation."""

    __tablename__ = "conversation"
    prompt: Mapped[str] = mapped_column(Text, default="You answer the guests of a small hotel.")


class Message(Base):
    """One side's words."""

    __tablename__ = "message"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), index=True)
    role: Mapped[str]
    text: Mapped[str] = mapped_column(Text)


class Job(Base):
    """One turn."""

    __tablename__ = "job"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), index=True)
    message_id: Mapped[UUID] = mapped_column(ForeignKey("message.id"))
    status: Mapped[str] = mapped_column(default="queued")
    reply: Mapped[str | None] = mapped_column(Text, default=None)
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class Submit(BaseModel):
    """What a client says."""

    conversation_id: UUID
    text: str


class Created(BaseModel):
    """What was made."""

    id: UUID


class JobRead(BaseModel):
    """What a client polls."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    conversation_id: UUID
    message_id: UUID
    status: str
    reply: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    yield


def _db() -> Iterator[Session]:
    with sessions() as db:
        yield db


Db = Annotated[Session, Depends(_db)]
app = FastAPI(lifespan=_lifespan)


@app.get("/health")
def health() -> None:
    """The process answers."""


@app.post("/conversation", status_code=201)
def begin(db: Db) -> Created:
    """Make a conversation."""
    conversation = Conversation()
    db.add(conversation)
    db.commit()
    return Created(id=conversation.id)


@app.post("/message", status_code=202)
def submit(body: Submit, db: Db) -> JobRead:
    """Say something; the job that answers it comes back."""
    if db.get(Conversation, body.conversation_id) is None:
        raise HTTPException(404)
    message = Message(conversation_id=body.conversation_id, role="user", text=body.text)
    db.add(message)
    db.flush()
    job = Job(conversation_id=body.conversation_id, message_id=message.id)
    db.add(job)
    db.commit()
    answer.delay(str(job.id))
    return JobRead.model_validate(job)


@app.get("/job/{job_id}")
def poll(job_id: UUID, db: Db) -> JobRead:
    """Poll a job."""
    job = db.get(Job, job_id)
    if job is None:
        raise HTTPException(404)
    return JobRead.model_validate(job)


@queue.task  # type: ignore[untyped-decorator]  # celery has no types
def answer(job_id: str) -> None:
    """Run one turn."""
    with sessions() as db:
        job = db.get_one(Job, UUID(job_id))
        job.status, job.started_at = "running", now()
        db.commit()
        said = db.get_one(Conversation, job.conversation_id).prompt
        last = (
            select(Message)
            .where(Message.conversation_id == job.conversation_id)
            .order_by(Message.created_at.desc())
            .limit(HISTORY)
        )
        history: list[Any] = [{"role": message.role, "content": message.text} for message in db.scalars(last)]
        db.commit()
        system = {"role": "system", "content": said}
        completion = openai.chat.completions.create(model="gpt-6-luna", messages=[system, *reversed(history)])  # type: ignore[list-item]
        job.reply = completion.choices[0].message.content or ""
        db.add(Message(conversation_id=job.conversation_id, role="assistant", text=job.reply))
        job.status, job.finished_at = "succeeded", now()
        db.commit()


@worker_process_init.connect  # type: ignore[untyped-decorator]  # celery has no types
def _own_connections(**_: object) -> None:
    """A forked process must not use its parent's connections."""
    engine.dispose(close=False)
