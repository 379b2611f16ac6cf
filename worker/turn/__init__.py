"""The steps of a turn: transcribe, reply, speak."""
