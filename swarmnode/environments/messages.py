"""Messages about environments: numbers 170-171."""

from p2p.wire.codec import Message
from p2p.wire.envelope import Signed


class AskEnvironment(Message, frozen=True, tag=170):
    """Call to machines of one's own lab: does one of you know an environment of that key?

    A refusal `building` says: not yet, one of our people has it built now.
    """

    key: bytes


class EnvironmentTold(Message, frozen=True, tag=171):
    """Reply: sealed EnvironmentRecord, also of one that nobody else is told of."""

    sealed: Signed
