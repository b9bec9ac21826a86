"""What `recover` was not told of its person's names: the copies in the pool say it later.

Until then a private file of the home keeps which names were given, and the invite that signed the
person in: what renames them signs with it again.
"""

import json

import msgspec
from msgspec.structs import replace

from p2p.errors import IdentityError
from p2p.identity.private_files import read_private_file, replace_private_file
from swarmnode.home.folders import Home


class Unnamed(msgspec.Struct, frozen=True):
    """Empty where it was not given."""

    invite: str = ""
    person: str = ""
    lab: str = ""

    @property
    def is_complete(self) -> bool:
        """Nothing is to be learnt."""
        return bool(self.person and self.lab)


def write_unnamed(home: Home, note: Unnamed) -> None:
    """Keep it. Raises IdentityError."""
    kept = {"invite": note.invite, "person": note.person, "lab": note.lab}
    replace_private_file(home.recovering_file, json.dumps(kept).encode())


def read_unnamed(home: Home) -> Unnamed | None:
    """What is kept; None where all names are known. Raises IdentityError for a damaged file."""
    data = read_private_file(home.recovering_file) if home.recovering_file.exists() else b""
    if not data:
        return None
    try:
        kept = json.loads(data)
        invite, person, lab = (kept.get(name, "") for name in ("invite", "person", "lab"))
    except (ValueError, AttributeError) as exc:
        raise IdentityError(f"{home.recovering_file} is damaged ({exc})") from exc
    return Unnamed(str(invite), str(person), str(lab))


def sign_later_with(home: Home, invite: str) -> None:
    """Another invite signs the person in. Raises IdentityError."""
    note = read_unnamed(home)
    if note is not None:
        write_unnamed(home, replace(note, invite=invite))
