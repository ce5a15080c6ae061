"""The one exception of the commands' own."""

from loquor.cli.status import FAILED


class Failure(Exception):
    """Ends a command; the text is for the user, one sentence."""

    def __init__(self, sentence: str, status: int = FAILED) -> None:
        super().__init__(sentence)
        self.status = status
