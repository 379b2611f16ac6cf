"""The optional parameters of a request, and those that a server refuses."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import openai
import structlog

from worker.providers.failures import names_its_kind

T = TypeVar("T")

REFUSED = {400, 406, 415, 422, 501}  # the statuses with which servers refuse a parameter, or its value
_SPELLINGS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_GO_ALONG = {"stream": ("stream_options",)}  # what has no meaning without it
_LONGEST_MESSAGE = 20_000
_PLACE = re.compile(r"""loc['"]: ?[\[(]['"]body['"], ?['"](\w+)""")  # as Pydantic names a field, in JSON or in words
_TOO_MUCH = re.compile(r"too (?:large|big|high|many)|at most|maximum|exceed|between|less than", re.IGNORECASE)

log = structlog.get_logger(__name__)

Refused = frozenset[tuple[str, str]]  # by name, and value where that matters


class Parameters:
    """Sends one server only the optional parameters that it accepts.

    A refused parameter is sent in its other spelling, or left out, in a second call right away: a refused call costs
    nothing. It is remembered for the model once a call without it has succeeded.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._refused: dict[str, Refused] = {}

    async def ask(self, model: str, wanted: Mapping[str, Any], send: Callable[[dict[str, Any]], Awaitable[T]]) -> T:
        """Call `send` with as many of the `wanted` parameters as the server accepts."""
        refused = self._refused.get(model, Refused())
        learned = Refused()
        while True:
            parameters = _taken(wanted, refused)
            try:
                answer = await send(parameters)
            except openai.APIStatusError as error:
                name = refused_parameter(error, parameters)
                if name is None:
                    raise
                log.warning("model.parameter_refused", provider=self._server, model=model, parameter=name)
                key = _key(name, parameters[name])
                refused |= {key}
                if _TOO_MUCH.search(_words(error)):  # in either spelling; a lower value may be accepted
                    refused |= {_key(_SPELLINGS.get(name, name), parameters[name])}
                else:
                    learned |= {key}
            else:
                if learned:
                    self._refused[model] = self._refused.get(model, Refused()) | learned
                return answer


def refused_parameter(error: openai.APIStatusError, parameters: Mapping[str, Any]) -> str | None:
    """The parameter that this error refuses, by name or for its value; None if it is about something else."""
    if error.status_code not in REFUSED or not parameters or names_its_kind(error):
        return None
    spelled = {name: name for name in parameters} | {_SPELLINGS.get(name, name): name for name in parameters}
    named = error.param if isinstance(error.param, str) else ""
    if (name := re.split(r"[.\[]", named)[0]) in spelled:
        return spelled[name]
    told = _words(error)
    if places := _PLACE.findall(told):
        return next((spelled[place] for place in places if place in spelled), None)
    names = "|".join(sorted(map(re.escape, spelled), key=len, reverse=True))
    # "stream" is an English word too: it counts in quotes or before a colon only.
    found = re.search(rf"(?<![\w.-])(?!stream[^'\"`:=\w])({names})(?![\w-])", told, re.IGNORECASE)
    return spelled[found[1].lower()] if found else None


def _words(error: openai.APIStatusError) -> str:
    told = str(error) if error.body is None else json.dumps(error.body, ensure_ascii=False)
    return told[:_LONGEST_MESSAGE].replace('\\"', '"').replace("\\n", "\n")


def _taken(wanted: Mapping[str, Any], refused: Refused) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for name, value in wanted.items():
        if _key(name, value) not in refused:
            taken[name] = value
        elif (other := _SPELLINGS.get(name)) and _key(other, value) not in refused:
            taken[other] = value
    for name, others in _GO_ALONG.items():
        if name in wanted and name not in taken:
            taken = {one: value for one, value in taken.items() if one not in others}
    return taken


def _key(name: str, value: object) -> tuple[str, str]:
    """Of a word it is that word which is refused: another language may be known."""
    return name, json.dumps(value) if isinstance(value, str | list) else ""
