"""A turn from its first unfinished step to its end."""

from shared.models import MessageKind
from shared.services import turn as turns
from shared.services.job import Claim
from worker.state import Worker
from worker.turn.reply import reply
from worker.turn.speak import speak
from worker.turn.transcribe import transcribe


async def run_turn(worker: Worker, claim: Claim) -> None:
    """Run the steps whose output does not exist yet; the last of them ends the job."""
    async with worker.database.read() as db:
        turn = await turns.load(db, claim)
    if turn.message.kind == MessageKind.VOICE and turn.message.text is None:
        await transcribe(worker, turn)
    if turn.reply is None:
        await reply(worker, turn)
    if turn.reply and turn.job.reply_audio:
        await speak(worker, turn, turn.reply)
