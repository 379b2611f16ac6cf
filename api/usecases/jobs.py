"""Reading, cancelling and retrying jobs."""

from uuid import UUID

from api.usecases.resources import Resources
from shared.services.job import transitions as jobs
from shared.services.job import view as job_view
from shared.services.job.view import JobView
from shared.services.user import Account
from shared.user_limits import refuse


async def cancel(resources: Resources, *, owner_id: UUID, job_id: UUID) -> JobView:
    """Cancel a job; the job as it is then. Raises NotFound, Conflict, Unavailable."""
    async with resources.database.write() as db:
        await jobs.cancel(db, owner_id=owner_id, job_id=job_id)
        return await job_view.get(db, owner_id=owner_id, job_id=job_id)


async def retry(resources: Resources, *, account: Account, job_id: UUID) -> JobView:
    """Queue a failed job again, by the rules of its owner's account; the job as it is then.

    Raises NotFound, Conflict, TooMany, PaymentRequired, Invalid, Unavailable.
    """
    refuse(await resources.user_limits.tokens(account))
    async with resources.admission.slot() as slot, resources.database.write() as db:
        await slot.acquire(db)
        await jobs.retry(db, account=account, job_id=job_id, budget=resources.budget)
        return await job_view.get(db, owner_id=account.id, job_id=job_id)
