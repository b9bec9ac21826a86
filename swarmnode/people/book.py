"""Who besides its owner may use this daemon: a durable table of names and user ids."""

import pwd
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from p2p.wire.codec import Record, encode
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from swarmnode.errors import PersonRefusedError, PersonUnknownError
from swarmnode.limits import PEOPLE_MAX

TABLE: Final = "people"
"""name -> PersonRow."""

NAME: Final = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
"""As login names are (useradd(8)): it stands in records, token files and tables."""


class PersonRow(Record, frozen=True):
    """One person."""

    name: str
    uid: int
    since_ms: int
    is_in: bool = True
    """False once removed: the name stays taken, as things may still be theirs."""
    key: bytes = b""
    """Public half of what opens what is sealed for them (swarmnode.people.seals); empty until
    they brought it."""
    salt: bytes = b""
    """With it that was derived from the key in their home: at each node another."""


def _check_place(rows: Sequence[PersonRow], uid: int, *, is_known: bool) -> None:
    """Raises PersonRefusedError where one more cannot be let in with that user id."""
    if any(row.uid == uid and row.is_in for row in rows):
        raise PersonRefusedError(f"user {uid} is in already, under another name")
    if not is_known and len(rows) >= PEOPLE_MAX:
        raise PersonRefusedError(f"{PEOPLE_MAX} people were let in: that is the most")


class People:
    """Reads and changes the table; `tables` must run."""

    def __init__(self, tables: Tables, wall_ms: Callable[[], int]) -> None:
        self._tables, self._wall_ms = tables, wall_ms

    def all(self) -> Sequence[PersonRow]:
        """Everybody who may use this daemon, by name."""
        return [row for row in self._rows() if row.is_in]

    def of_user(self, uid: int) -> str | None:
        """The person with that user id; None when there is none."""
        return next((row.name for row in self.all() if row.uid == uid), None)

    def key_of(self, name: str) -> bytes:
        """The public half of a person's key, also of one who was removed; empty without one."""
        row = self._find(name)
        return b"" if row is None else row.key

    def salt_of(self, name: str) -> bytes:
        """What a person's key is derived with for this node; empty without one."""
        row = self._find(name)
        return b"" if row is None else row.salt

    async def set_key(self, name: str, key: bytes, salt: bytes, *, instead_of: bytes) -> bool:
        """Note the public half of a person's key; False when theirs is another than that by now.

        Two first commands at once would else each seal with a key, and one of them is lost.
        Raises PersonUnknownError, StoreFullError.
        """
        self._named(name)

        def apply(view: WriteView) -> bool:
            data = view.get(TABLE, name.encode())
            row = None if data is None else stored(PersonRow, data, "state.lmdb")
            if row is None or row.key != instead_of:
                return False
            noted = msgspec.structs.replace(row, key=key, salt=salt)
            view.put(TABLE, name.encode(), encode(noted))
            return True

        return await self._tables.transact(apply)

    def _find(self, name: str) -> PersonRow | None:
        data = self._tables.get(TABLE, name.encode()) if name else None
        return None if data is None else stored(PersonRow, data, "state.lmdb")

    async def add(self, name: str, uid: int | None = None) -> bool:
        """Let somebody in; False when nothing changed. Raises PersonRefusedError, StoreFullError.

        Without a user id it is that of the login of the same name.
        """
        if NAME.fullmatch(name) is None:
            raise PersonRefusedError(f"{name!r} is not a valid name: use a login name")
        number = user_id_of(name) if uid is None else uid
        rows = self._rows()
        known = next((row for row in rows if row.name == name), None)
        if known is not None and known.uid != number:
            raise PersonRefusedError(
                f"{name} was user {known.uid} before, and what is of that name is theirs"
            )
        if known is not None and known.is_in:
            return False
        _check_place(rows, number, is_known=known is not None)
        row = known or PersonRow(name, number, 0)
        await self._put(msgspec.structs.replace(row, since_ms=self._wall_ms(), is_in=True))
        return True

    async def remove(self, name: str) -> None:
        """Let somebody in no more. Raises PersonUnknownError, StoreFullError."""
        row = self._named(name)
        await self._put(msgspec.structs.replace(row, since_ms=self._wall_ms(), is_in=False))

    def _named(self, name: str) -> PersonRow:
        named = next((row for row in self.all() if row.name == name), None)
        if named is None:
            raise PersonUnknownError(f"nobody is let in as {name!r}: see `swarmnode person ls`")
        return named

    def _rows(self) -> list[PersonRow]:
        rows = self._tables.scan(TABLE, limit=PEOPLE_MAX)
        return [stored(PersonRow, value, "state.lmdb") for _, value in rows]

    async def _put(self, row: PersonRow) -> None:
        data = encode(row)
        await self._tables.transact(lambda view: view.put(TABLE, row.name.encode(), data))


def user_id_of(name: str) -> int:
    """Raises PersonRefusedError when there is no such login."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as exc:
        raise PersonRefusedError(
            f"this machine has no login {name!r}: give the user id with --uid"
        ) from exc


def add_command(uid: int) -> str:
    """What a node's owner types to let that user in."""
    try:
        return f"swarmnode person add {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"swarmnode person add NAME --uid {uid}"


def login_of(uid: int) -> str:
    """A user's login, or their number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
