"""What was used, and what it cost."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.doors.v1.deps import CurrentUser, DbRead, Page
from api.doors.v1.schemas.problem import PROBLEMS
from api.doors.v1.schemas.strict import Day
from api.doors.v1.schemas.usage import UsagePage, UsageRead, UsageSums
from shared.services import usage as usages
from shared.services.usage import UsageBy

router = APIRouter(prefix="/usage", tags=["usage"], responses=PROBLEMS)

FIELDS = {UsageBy.DAY: "day", UsageBy.MODEL: "model", UsageBy.AGENT: "agent_id", UsageBy.SESSION: "session_id"}


@router.get("")
async def get_usage(
    user_id: CurrentUser,
    db: DbRead,
    page: Page,
    by: Annotated[UsageBy, Query(description="What to add it up by.")] = UsageBy.DAY,
    first: Annotated[Day | None, Query(alias="from", description="From this day of UTC on.")] = None,
    last: Annotated[Day | None, Query(alias="to", description="To this day of UTC, included.")] = None,
) -> UsagePage:
    """See what you used and what it cost, by day, model, agent or session, the latest first.

    `waived` is what a job's models used beyond what was held back for it: it is not charged.
    """
    items, next_cursor = await usages.totals(db, owner_id=user_id, by=by, first=first, last=last, page=page)
    total = await usages.total(db, owner_id=user_id, first=first, last=last)
    return UsagePage(
        items=[UsageRead(**{FIELDS[by]: key}, **vars(sums)) for key, sums in items],
        next_cursor=next_cursor,
        total=UsageSums.model_validate(total),
    )
