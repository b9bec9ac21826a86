"""The secrets of the people of a machine: each sees their own, and the tables tell none."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.identity.keys import KeySigner
from storage.engine.memory_tables import MemoryTables
from swarmnode.errors import (
    PersonLockedError,
    SecretRefusedError,
    SecretSealedError,
    SecretUnknownError,
)
from swarmnode.executor.sandbox.command import task_environment
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.people.book import People
from swarmnode.people.seals import Seals, public_of
from swarmnode.people.secrets import TABLE, SecretStore
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.secrets.box import (
    OneTimeKey,
    Secrets,
    opened_by_task,
    sealed_for_key,
    sealed_for_task,
)
from swarmnode.tasks.secrets.limits import SECRET_BYTES_MAX, SECRETS_PER_PERSON_MAX
from swarmnode.tasks.secrets.wants import JobSecrets, lost_words, wants_of

KEY = b"a key of bob's that is long enough"
SEED = os.urandom(32)
TASK = TaskId("task-of-a-test")


class House:
    def __init__(self, tables: MemoryTables) -> None:
        self.tables, self.people = tables, People(tables, lambda: 0)
        self.seals = Seals(self.people, os.urandom)
        self.secrets = self.of(SEED)

    def of(self, seed: bytes) -> SecretStore:
        return SecretStore(self.tables, self.seals, KeySigner.from_seed(seed), lambda: 7)

    async def move_in(self, name: str, uid: int) -> bytes:
        secret = os.urandom(32)
        await self.people.add(name, uid)
        await self.people.set_key(name, public_of(secret), b"", instead_of=b"")
        self.seals.unlock(name, secret)
        return secret


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    tables = MemoryTables()
    async with trio.open_nursery() as nursery:
        await nursery.start(tables.run)
        yield House(tables)
        nursery.cancel_scope.cancel()


def rows(tables: MemoryTables) -> Iterator[bytes]:
    yield from (value for _, value in tables.scan(TABLE))


async def test_two_people_of_a_machine_have_secrets_of_one_name_and_see_only_their_own() -> None:
    async with house() as home:
        secret = await home.move_in("bob", 2001)
        await home.move_in("cy", 2002)
        await home.secrets.set("bob", "hf", KEY)
        await home.secrets.set("", "hf", b"the owner's")
        assert [row.name for row in home.secrets.all("bob")] == ["hf"]
        assert home.secrets.all("cy") == []
        wants = wants_of(["hf"])
        assert home.secrets.values("bob", wants) == {"hf": KEY}
        assert home.secrets.values("", wants) == {"hf": b"the owner's"}
        with pytest.raises(SecretUnknownError, match="secret set hf"):
            home.secrets.values("cy", wants)
        assert not [row for row in rows(home.tables) if KEY in row or b"the owner" in row]
        home.seals.lock("bob")
        with pytest.raises(PersonLockedError):
            home.secrets.values("bob", wants)
        home.seals.unlock("bob", secret)
        await home.secrets.remove("bob", "hf")
        with pytest.raises(SecretUnknownError):
            await home.secrets.remove("bob", "hf")
        assert home.secrets.values("", wants) == {"hf": b"the owner's"}


async def test_the_tables_of_one_machine_tell_no_secret_at_another() -> None:
    async with house() as home:
        await home.secrets.set("", "hf", KEY)
        with pytest.raises(SecretRefusedError, match="set it again"):
            home.of(os.urandom(32)).values("", wants_of(["hf"]))


async def test_who_brought_no_key_keeps_no_secret() -> None:
    async with house() as home:
        await home.people.add("bob", 2001)
        with pytest.raises(SecretRefusedError, match="no key of yours"):
            await home.secrets.set("bob", "hf", KEY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", b"x"),
        (".hidden", b"x"),
        ("-flag", b"x"),
        ("a/b", b"x"),
        ("a=b", b"x"),
        ("a\0b", b"x"),
        ("ünder", b"x"),
        ("n" * 65, b"x"),
        ("ok", b""),
        ("ok", bytes(SECRET_BYTES_MAX + 1)),
    ],
)
async def test_what_cannot_be_a_secret_is_refused(name: str, value: bytes) -> None:
    async with house() as home:
        with pytest.raises(SecretRefusedError):
            await home.secrets.set("", name, value)
        assert home.secrets.all("") == []


async def test_one_too_many_is_refused_and_a_newer_value_is_not() -> None:
    async with house() as home:
        for number in range(SECRETS_PER_PERSON_MAX):
            await home.secrets.set("", f"n{number}", b"x")
        with pytest.raises(SecretRefusedError, match="the most"):
            await home.secrets.set("", "one-more", b"x")
        assert await home.secrets.set("", "n0", b"newer")
        assert home.secrets.values("", wants_of(["n0"])) == {"n0": b"newer"}


async def test_a_nul_byte_comes_by_a_file_alone_and_all_of_a_task_have_a_bound() -> None:
    async with house() as home:
        await home.secrets.set("", "bin", b"a\0b")
        with pytest.raises(SecretRefusedError, match="NUL byte") as refused:
            home.secrets.values("", wants_of(["bin"]))
        assert "a\0b" not in str(refused.value)
        assert home.secrets.values("", wants_of(["bin=/run/secrets/bin"])) == {"bin": b"a\0b"}
        names = [f"n{number}" for number in range(17)]
        for name in names:
            await home.secrets.set("", name, b"x" * SECRET_BYTES_MAX)
        with pytest.raises(SecretRefusedError, match="together"):
            home.secrets.values("", wants_of(names))


def test_what_is_sealed_opens_for_its_task_its_attempt_and_its_request_alone() -> None:
    seed, values = os.urandom(32), {"hf": KEY}
    sealed = sealed_for_task(seed, TASK, values)
    assert KEY not in sealed
    secrets = opened_by_task(seed, TASK, sealed)
    assert (secrets.values(), repr(secrets)) == (values, "Secrets of 1 names")
    for other in (os.urandom(32), seed):
        with pytest.raises(SecretSealedError):
            opened_by_task(other, TaskId("another"), sealed)
    mine, theirs = OneTimeKey(), OneTimeKey()
    given = sealed_for_key(mine.public, "t.1", secrets, os.urandom)
    assert KEY not in given
    assert mine.open("t.1", given) == secrets
    for key, purpose, data in ((theirs, "t.1", given), (mine, "t.2", given), (mine, "t.1", b"")):
        with pytest.raises(SecretSealedError):
            key.open(purpose, data)
    with pytest.raises(SecretSealedError):
        sealed_for_key(bytes(32), "t.1", Secrets(()), os.urandom)


def test_why_a_task_starts_no_more_is_one_line_however_many_of_its_secrets_are_gone() -> None:
    assert "'a', 'b' was removed" in lost_words(["a", "b"])
    told = lost_words([f"{number:064}" for number in range(64)])
    assert "and 62 more" in told
    assert "secret set" in told
    assert len(told) <= REASON_CHARS_MAX


def test_no_secret_is_asked_for_in_a_variable_that_the_node_sets_itself() -> None:
    ours = task_environment({}, home="/work", tmp="/tmp", ctx="/run/swarm", bins=())
    for variable in {*ours, "CUDA_VISIBLE_DEVICES", "SWARM_ATTEMPT"}:
        with pytest.raises(ValueError, match="set by the node"):
            wants_of([f"a={variable}"])
    assert wants_of(["with-hyphen", "hf_token"])  # as they are


@pytest.mark.parametrize(
    ("variables", "files"),
    [
        ({"A": b"x\0--bind\0/\0/run/host"}, {}),
        ({"A\0--share-net\0B": b"x"}, {}),
        ({"A=B": b"x"}, {}),
        ({}, {"a\0--bind": b"x"}),
        ({}, {"../../work/x": b"x"}),
    ],
)
def test_what_would_be_options_of_the_sandbox_is_given_to_no_job(
    variables: dict[str, bytes], files: dict[str, bytes]
) -> None:
    with pytest.raises(ValueError, match=r"NUL byte|no name"):
        JobSecrets(variables, files)
    assert JobSecrets({"A": b"\xff="}, {"a": b"x\0"}).files


def test_a_value_that_was_given_in_place_of_a_variable_is_not_told_again() -> None:
    with pytest.raises(ValueError, match="never the secret") as refused:
        wants_of(["key=ghp_0123456789abcdefghij"])
    assert "ghp_" not in str(refused.value)


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "a"],
        ["a=B", "b=B"],
        ["a=/run/secrets/b", "b"],
        ["a=/run/secrets/c", "b=/run/secrets/c"],
        ["a=/etc/passwd"],
        ["a=/run/secrets/../x"],
        ["a=/run/secrets/"],
        ["a=SWARM_TASK"],
        ["a=PATH"],
        ["SWARM_TASK"],
        ["HOME"],
        ["a="],
        ["a=B=C"],
        ["a=hf_abcdefghijklmnop"],
        ["a=two-words"],
        [""],
        [f"n{number}" for number in range(65)],
    ],
)
def test_two_in_one_place_or_a_place_that_is_none_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"secret|twice|neither|set by the node|limit"):
        wants_of(texts)
