"""Answers that are sound, as the schema shows them."""

from api.doors.v1.schemas import headers
from api.doors.v1.schemas.problem import Responses

BINARY = {"schema": {"type": "string", "format": "binary"}}
SOUND = {"audio/*": BINARY, "video/*": BINARY}  # a voice note may come in a container of films
AUDIO: Responses = {
    200: {"description": "The whole file.", "content": SOUND, "headers": headers.SOUND},
    206: {"description": "The range.", "content": SOUND, "headers": headers.PART},
    304: {"description": "The file is the one you have.", "headers": headers.SOUND},
}
