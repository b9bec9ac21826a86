"""What a mirror cannot answer: whose fault it is, and what a program is told."""


class MirrorError(Exception):
    """A request comes to nothing; the text is for who asked, with an HTTP status."""

    def __init__(self, words: str, status: int = 502, size: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.size = size
        """Of the file, for who asked beyond its end (416)."""


class AskRefusedError(MirrorError):
    """The request is none that a mirror answers: its maker's fault."""

    def __init__(self, words: str, status: int = 404, size: int | None = None) -> None:
        super().__init__(words, status, size)


class UpstreamError(MirrorError):
    """The internet did not give it: not reached, broken off, too slow, or not as it should be."""


class NotKeptError(MirrorError):
    """It cannot be kept here (no room, no length, too long): it is to be passed on as it comes."""
