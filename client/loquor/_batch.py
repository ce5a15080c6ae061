"""Several prompts written side by side in one call, their events interleaved."""

from collections.abc import Sequence

from loquor._errors import Internal, LoquorError, from_code
from loquor._generation import Generation
from loquor._transcript import Transcript
from loquor._transport import Replies
from loquor.v1.language_service_pb2 import GenerateBatchResponse


class Batch:
    """One call; `transcripts` has one for each prompt, in order."""

    def __init__(self, transcripts: Sequence[Transcript], request_id: str) -> None:
        self._transcripts = transcripts
        self._request_id = request_id
        self._errors: dict[int, LoquorError] = {}

    async def read(self, call: Replies[GenerateBatchResponse]) -> list[Generation]:
        """Reads to the end. Raises the call's error, or that of the first prompt that failed."""
        try:
            while (response := await call.read()) is not None:
                self._take(response)
            self._check()
        except LoquorError as error:
            error.partial = self._partial()
            raise
        finally:
            call.cancel()
        return [transcript.generation() for transcript in self._transcripts]

    def _take(self, response: GenerateBatchResponse) -> None:
        if response.index >= len(self._transcripts):
            message = f"the server wrote for prompt {response.index}, which was not asked"
            raise Internal(message, request_id=self._request_id)
        if response.WhichOneof("outcome") == "error":
            error = response.error
            message = f"prompts[{response.index}]: {error.message}"
            self._errors[response.index] = from_code(error.code, message, self._request_id)
        else:
            self._transcripts[response.index].take(response.event)

    def _check(self) -> None:
        if self._errors:
            raise self._errors[min(self._errors)]
        for transcript in self._transcripts:
            transcript.check_whole()

    def _partial(self) -> tuple[Generation, ...]:
        if not any(transcript.has_begun for transcript in self._transcripts):
            return ()
        return tuple(transcript.generation() for transcript in self._transcripts)
