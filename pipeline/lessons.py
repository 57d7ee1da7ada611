"""What the control socket may ask of a recogniser that can be taught. Knows neither sockets nor networks."""

import msgspec

from pipeline.schema.clock import US_PER_S
from pipeline.schema.errors import SaccadeError, UsageError
from pipeline.schema.messages import Reply, Request
from pipeline.schema.recognition import Recogniser, Teachable

LESSON_COMMANDS = ("teach", "forget", "rename", "lessons")
# Longer than anybody shows a gesture.
_MAX_SECONDS = 600.0


def answer_lesson(recogniser: Recogniser, request: Request) -> Reply:
    """Do what a request of `LESSON_COMMANDS` asks."""
    if not isinstance(recogniser, Teachable):
        return Reply(ok=False, text=f"{recogniser.info.network} cannot be taught; run a checkpoint instead")
    try:
        return Reply(ok=True, text=_do(recogniser, request))
    except SaccadeError as error:
        return Reply(ok=False, text=str(error))


def _do(pupil: Teachable, request: Request) -> str:
    if request.command == "forget":
        pupil.forget(request.name)
        return f"{request.name} is forgotten"
    if request.command == "rename":
        pupil.rename(request.name, request.new_name)
        return f"{request.name} is called {request.new_name} now"
    if request.command == "teach":
        seconds = request.value
        if seconds is None or not 0 < seconds <= _MAX_SECONDS:
            raise UsageError(f"teach needs a value: the seconds of one example, above 0 and at most {_MAX_SECONDS:g}")
        pupil.begin_lesson(request.name, round(seconds * US_PER_S / pupil.info.delta_t_us))
        return f"the next {seconds:g} s are an example of {request.name}"
    return msgspec.json.encode(pupil.lessons).decode()
