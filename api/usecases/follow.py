"""Following a job: what SQL says and what its attempt tells, as one list of events."""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from uuid import UUID

from api.usecases.resources import Resources
from api.usecases.wait import look_soon
from shared.errors import NotFound, Unavailable
from shared.redis.job_events import EventId
from shared.redis.wakes import EventBuffer
from shared.services.job.view import JobView


class FollowedEvent(NamedTuple):
    """What a follower is told: `data` is the job in `status` and `end`, else a dict as `JobEvent` has it.

    `transcript` has `text` and `language`.
    """

    id: EventId
    name: str
    data: JobView | dict[str, Any]


async def follow_job(
    resources: Resources, *, owner_id: UUID, job_id: UUID, after: EventId | None
) -> AsyncGenerator[FollowedEvent]:
    """Yield a job's events from now, or from behind the event `after`, to its end, its deletion, or our shutdown."""
    async with resources.events.follow(job_id) as (waiter, feed):
        told = _Cursor(feed, after)
        while True:
            waiter.clear()
            view: JobView | None = None
            if waiter.job_changed:
                waiter.job_changed = False
                try:
                    view = await resources.jobs.get(owner_id=owner_id, job_id=job_id)
                except Unavailable:
                    look_soon(resources, job_id)  # nothing is missed
                except NotFound:
                    return
            if view and view.ended:
                await resources.events.read(feed)  # what was told before the end may be on its way
            for event in told.since(view):
                yield event
            if (view and view.ended) or resources.events.closing:
                return
            await waiter.wait()


class _Cursor:
    """What one client was told so far: `_said` of the reply, in the wording of `_attempt`."""

    def __init__(self, feed: EventBuffer, after: EventId | None) -> None:
        self._feed = feed
        self._place = 0
        self._last = after or EventId(0, 0)
        self._attempt = 0
        self._said = ""
        self._shown: object = None
        self._heard = False
        self._in_doubt = False  # what the client has is not known here
        self._resume(after)

    def since(self, view: JobView | None) -> list[FollowedEvent]:
        """All that is new, of the job if it was looked at, and of what its attempt tells."""
        if view is None:
            return self.news()
        return [*self.job(view), *self.news(), *self.rest(view)]

    def job(self, view: JobView) -> list[FollowedEvent]:
        """The job, when it has changed and not ended; and what the voice note said, once."""
        events = []
        self._last = max(self._last, EventId(view.job.attempt, 0))
        if view.transcript is not None and not self._heard:
            self._heard = True
            events.append(self._event("transcript", {"text": view.transcript, "language": view.language}))
        shown = (view.status, view.job.stage, view.job.attempt, view.queue_position)
        if shown != self._shown and not view.ended:
            self._shown = shown
            events.append(self._event("status", view))
        return events

    def news(self) -> list[FollowedEvent]:
        """What the attempt has told since."""
        events = []
        for event_id, name, data in self._feed.events[self._place :]:
            self._place += 1
            if name == "delta":
                if self._in_doubt or (event_id.attempt != self._attempt and self._said):
                    # An id of its own: who comes back with it is told the words that came next.
                    events.append(self._reset(EventId(event_id.attempt, event_id.number - 1)))
                self._attempt = event_id.attempt
                if data["offset"] != len(self._said):
                    continue  # what is missing before it was lost, or was told from SQL: SQL has it all
                self._said += data["text"]
            elif name == "reset":
                self._said, self._in_doubt = "", False
            self._last = event_id
            events.append(self._event(name, data))
        return events

    def rest(self, view: JobView) -> list[FollowedEvent]:
        """What SQL knows of the reply and was not told; and the end."""
        events = []
        text = (view.reply and view.reply.text) or ""
        if text:
            attempt = next((step.attempt for step in view.steps or () if step.name == "reply"), self._attempt)
            # The same attempt begins anew when it falls back to another model, and that too may have been lost.
            if self._in_doubt or not text.startswith(self._said) or (attempt != self._attempt and self._said):
                events.append(self._reset(EventId(attempt, 0)))
            self._attempt = attempt
            if len(self._said) < len(text):
                events.append(self._event("delta", {"offset": len(self._said), "text": text[len(self._said) :]}))
                self._said = text
        if view.ended:
            events.append(self._event("end", view))
        return events

    def _resume(self, after: EventId | None) -> None:
        """Go on behind `after` if its events are still known; else tell the present attempt's from its beginning."""
        events = self._feed.events
        known = [event for event in events if after and event.id <= after]
        if known and known[-1].id == after:
            self._place = len(known)
        else:
            self._in_doubt = after is not None
            if events:
                self._place = next(n for n, event in enumerate(events) if event.id.attempt == events[-1].id.attempt)
            return
        for event_id, name, data in known:
            self._attempt = event_id.attempt
            if name == "reset" or (name == "delta" and data["offset"] == 0):
                self._said = ""
            if name == "delta":
                self._said += data["text"]

    def _reset(self, event_id: EventId) -> FollowedEvent:
        self._said, self._in_doubt = "", False
        self._last = max(self._last, event_id)
        return self._event("reset", {})

    def _event(self, name: str, data: Any) -> FollowedEvent:
        return FollowedEvent(self._last, name, data)
