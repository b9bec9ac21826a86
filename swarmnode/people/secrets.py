"""The secrets of the people of a machine: values by name, for their tasks alone.

They rest sealed: those of one of several people by the key in that person's home, so that only who
has unlocked it can give them to a task; those of the machine's owner by a key made of the
machine's own, without which its tables tell none of them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2p.wire.codec import Record, encode
from p2p.wire.envelope import Signer
from storage.coding.sealing import open_value, seal_value
from storage.engine.port import Tables, WriteView
from storage.engine.stored import stored
from swarmnode.errors import SecretRefusedError, SecretUnknownError
from swarmnode.people.seals import HINT, Seals
from swarmnode.tasks.secrets.limits import (
    SECRET_BYTES_MAX,
    SECRETS_PER_PERSON_MAX,
    TASK_SECRETS_BYTES_MAX,
)
from swarmnode.tasks.secrets.wants import Wants, checked_name, variables_of

TABLE: Final = "secrets"
"""person NUL name -> SecretRow."""
_ROW_BYTES_MAX: Final = SECRET_BYTES_MAX + 1024


class SecretRow(Record, frozen=True):
    """One secret as it rests."""

    name: str
    size: int
    set_ms: int
    box: bytes
    """Sealed: see `swarmnode.people.secrets`."""


class SecretStore:
    """Of everybody who uses this node; an empty name is its owner."""

    def __init__(
        self, tables: Tables, seals: Seals, signer: Signer, wall_ms: Callable[[], int]
    ) -> None:
        self._tables, self._seals, self._wall_ms = tables, seals, wall_ms
        self._signer = signer
        """Its signature of a fixed text is known to nobody else: the owner's key is made of it."""

    def all(self, person: str) -> Sequence[SecretRow]:
        """A person's secrets, by name."""
        rows = self._tables.scan(TABLE, _key(person, ""), limit=SECRETS_PER_PERSON_MAX)
        return [_row(raw) for _, raw in rows]

    async def set(self, person: str, name: str, value: bytes) -> bool:
        """Keep a value, in place of an older one of that name; False when there was none.

        Raises SecretRefusedError, StoreFullError.
        """
        _check(name, value)
        box = self._sealed(person, name, value)
        row = encode(SecretRow(name, len(value), self._wall_ms(), box))

        def apply(view: WriteView) -> bool | None:
            was_there = view.get(TABLE, _key(person, name)) is not None
            held = view.scan(TABLE, _key(person, ""), limit=SECRETS_PER_PERSON_MAX)
            if not was_there and len(held) >= SECRETS_PER_PERSON_MAX:
                return None
            view.put(TABLE, _key(person, name), row)
            return was_there

        was_there = await self._tables.transact(apply)
        if was_there is None:
            raise SecretRefusedError(
                f"{SECRETS_PER_PERSON_MAX} secrets are kept, which is the most: remove some first"
            )
        return was_there

    def find(self, person: str, name: str) -> SecretRow:
        """One of them. Raises SecretUnknownError."""
        if (raw := self._tables.get(TABLE, _key(person, name))) is None:
            raise _unknown(name)
        return _row(raw)

    async def remove(self, person: str, name: str) -> None:
        """Raises SecretUnknownError, StoreFullError."""
        if not await self._tables.free(lambda view: view.delete(TABLE, _key(person, name))):
            raise _unknown(name)

    def check(self, person: str, wants: Wants) -> None:
        """Whether all are here. Raises SecretUnknownError, which names those that are not."""
        here = {row.name for row in self.all(person)}
        if missing := [name for name, _ in wants if name not in here]:
            raise SecretUnknownError(
                f"no secret {', '.join(map(repr, missing))} of yours is kept on this machine: "
                f"swarmnode secret set {missing[0]}"
            )

    def values(self, person: str, wants: Wants) -> dict[str, bytes]:
        """What a task wants, opened. Raises SecretUnknownError, SecretRefusedError,
        PersonLockedError."""
        self.check(person, wants)
        values = {name: self._opened(person, name) for name, _ in wants}
        _check_together(values.values())
        for variable, name in variables_of(wants).items():
            if b"\0" in values[name]:
                raise SecretRefusedError(
                    f"secret {name!r} has a NUL byte, which no variable can have: say "
                    f"{name}=/run/secrets/{name} and read it as a file (instead of {variable})"
                )
        return values

    def _sealed(self, person: str, name: str, value: bytes) -> bytes:
        if not person:
            cipher, nonces = self._owners()
            return seal_value(cipher, nonces, value, _key("", name))
        if not self._seals.has_key(person):
            raise SecretRefusedError(f"no key of yours is known here to seal it with: {HINT}")
        return self._seals.seal(person, _key(person, name), value)

    def _opened(self, person: str, name: str) -> bytes:
        box = self.find(person, name).box
        if person:
            return self._seals.open(person, _key(person, name), box)
        try:
            return open_value(self._owners()[0], box, _key("", name))
        except (InvalidTag, ValueError) as exc:
            raise SecretRefusedError(
                f"secret {name!r} was sealed by another machine's key: set it again"
            ) from exc

    def _owners(self) -> tuple[ChaCha20Poly1305, bytes]:
        base = self._signer.sign(b"swarm/secrets/at-rest/1\0")
        key, nonces = (
            blake3(base, derive_key_context=f"swarm owner secrets {what} 1").digest()
            for what in ("key", "nonces")
        )
        return ChaCha20Poly1305(key), nonces


def _unknown(name: str) -> SecretUnknownError:
    return SecretUnknownError(
        f"no secret {name!r} of yours is kept here: swarmnode secret ls shows those that are"
    )


def _key(person: str, name: str) -> bytes:
    return f"{person}\0{name}".encode()


def _row(raw: bytes) -> SecretRow:
    return stored(SecretRow, raw, "state.lmdb", _ROW_BYTES_MAX)


def _check(name: str, value: bytes) -> None:
    """Raises SecretRefusedError."""
    try:
        checked_name(name)
    except ValueError as exc:
        raise SecretRefusedError(str(exc)) from exc
    if not value:
        raise SecretRefusedError("the value is empty: give it on standard input or by --from FILE")
    if len(value) > SECRET_BYTES_MAX:
        raise SecretRefusedError(
            f"the value has more than {SECRET_BYTES_MAX} bytes: seal it yourself, make that an "
            "input (--in), and keep the key to it here"
        )


def _check_together(values: Iterable[bytes]) -> None:
    total = sum(map(len, values))
    if total > TASK_SECRETS_BYTES_MAX:
        raise SecretRefusedError(
            f"the secrets of this task have {total} bytes together, limit {TASK_SECRETS_BYTES_MAX}"
        )
