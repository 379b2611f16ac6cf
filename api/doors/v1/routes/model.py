"""The AI models there are."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.doors.v1.deps import CurrentAccount, Deps
from api.doors.v1.schemas.model import ModelPrices, ModelRead
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEMS
from shared.provider_presets import ModelRef
from shared.services.cost_estimate import usable_models

router = APIRouter(prefix="/model", tags=["model"], responses=PROBLEMS)


@router.get("")
async def list_models(account: CurrentAccount, resources: Deps) -> PageOf[ModelRead]:
    """List the models that you may name in an agent, with what they cost and when their provider ends them."""
    tariff = resources.budget.tariff
    today = datetime.now(UTC).date()
    defaults = {kind: tariff.catalogue.current(kind, refs[0], today).id for kind, refs in tariff.defaults.items()}
    items = [
        ModelRead(
            id=model.id,
            provider=ModelRef.parse(model.id).provider,
            kind=model.kind,
            context_window=model.context_window,
            prices=ModelPrices.model_validate(model),
            retires_on=model.retires_on,
            voices=model.voices,
            is_default=defaults[model.kind] == model.id,
        )
        for model in usable_models(tariff, account)
    ]
    return PageOf(items=items)
