"""What happens when a person brings their key: it is noted, and what rests in clear is sealed."""

from storage.engine.port import Tables
from storage.objects.keyring import Keyring
from swarmnode.errors import PersonKeyError
from swarmnode.people.book import People
from swarmnode.people.sealed_tasks import seal_ended
from swarmnode.people.seals import Seals, public_of


class Unlocking:
    """Takes the secrets of people in; `tables` is the node's state."""

    def __init__(self, people: People, seals: Seals, keyring: Keyring, tables: Tables) -> None:
        self._people, self._seals = people, seals
        self._keyring, self._tables = keyring, tables

    async def unlock(self, person: str, secret: bytes, salt: bytes, *, anew: bool = False) -> None:
        """Open what is a person's until it is locked. With `anew` their key is another from now on.

        Raises PersonKeyError, PersonUnknownError, StoreFullError.
        """
        public, known = public_of(secret), self._people.key_of(person)
        if known not in (b"", public) and not anew:
            raise PersonKeyError(
                "bring that key file back from a backup: nothing else opens what was sealed with "
                "it. Or begin anew with `swarmnode unlock --new-key`: what is sealed is still "
                "kept, listed and removed, but its capabilities are lost"
            )
        if known != public:
            await self._people.set_key(person, public, salt, instead_of=known)
            if self._people.key_of(person) != public:
                raise PersonKeyError("another command of yours brought its key first: try again")
        self._seals.unlock(person, secret)
        await self._keyring.seal_all(person)
        await seal_ended(self._seals, self._tables, person)
