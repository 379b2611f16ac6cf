"""Rows that tests of the rules need, made by the rules themselves."""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.config import Settings
from shared.models import LOCAL_USER_ID, Agent, Job, Session
from shared.services import message as messages
from shared.services.cost_estimate import PriceBook
from shared.services.job.transitions import Budget
from shared.services.message import Submission
from shared.services.user import LOCAL

TARIFF = PriceBook.of(Settings(_env_file=None))
BUDGET = Budget(attempts=4, deadline_s=3_600, tariff=TARIFF)


async def make_session(db: AsyncSession) -> Session:
    """A session with an agent of the local user's."""
    agent = Agent(owner_id=LOCAL_USER_ID, name="Guide")
    db.add(agent)
    await db.flush()
    session = Session(owner_id=LOCAL_USER_ID, agent_id=agent.id)
    db.add(session)
    await db.flush()
    return session


async def make_job(
    db: AsyncSession, session: Session | None = None, *, reply_audio: bool = False, budget: Budget = BUDGET
) -> Job:
    """A submitted text; in a session of its own unless one is given."""
    session = session or await make_session(db)
    job_id = uuid7()
    said = Submission(job_id, LOCAL, session.id, reply_audio, text="Hello")
    await messages.submit(db, said, budget)
    return (await db.exec(select(Job).where(Job.id == job_id))).one()
