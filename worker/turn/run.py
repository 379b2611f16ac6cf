"""A turn from its first unfinished step to its end."""

from shared.models import MessageKind
from shared.redis.job_events import JobPublisher
from shared.services.job.turn import Turn
from worker.context import WorkerContext
from worker.turn.reply import language_of, reply
from worker.turn.speak import Speaker
from worker.turn.transcribe import transcribe


async def run_turn(worker: WorkerContext, turn: Turn) -> None:
    """Run the steps whose output does not exist yet; the last of them ends the job.

    A spoken reply is spoken while it is being written, sentence by sentence.
    """
    if turn.message.kind == MessageKind.VOICE and turn.message.text is None:
        await transcribe(worker, turn)
    async with JobPublisher(worker.queue.redis, turn.job.id, turn.claim.attempt) as told:
        language = await language_of(turn)
        if not turn.job.reply_audio:
            await reply(worker, turn, language, told)
            return
        async with Speaker(worker, turn, language, told) as speech:
            if turn.reply is None:
                await reply(worker, turn, language, told, speech)
            else:
                speech.feed(turn.reply.text or "")
            await speech.finish()
