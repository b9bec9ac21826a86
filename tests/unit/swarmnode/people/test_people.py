"""Who besides its owner may use a daemon, and by which tokens."""

import os
from pathlib import Path

import pytest

from storage.engine.memory_tables import MemoryTables
from swarmnode.api.access.asker import OWNER, Principal
from swarmnode.api.access.tokens import TokenBook, add_token, hash_of
from swarmnode.api.access.users import who_is
from swarmnode.api.limits import API_TOKENS_PER_PERSON_MAX
from swarmnode.api.schema.node import Problem
from swarmnode.errors import (
    ConfigError,
    NotAllowedError,
    PersonRefusedError,
    PersonUnknownError,
    TokenUnknownError,
)
from swarmnode.people.book import People
from testnet.sim.seeded import simulated


@simulated
async def test_people_are_known_by_their_user_id_while_they_are_let_in() -> None:
    people = People(MemoryTables(), lambda: 7)
    assert await people.add("ben", 1001)
    assert not await people.add("ben", 1001)
    assert people.of_user(1001) == "ben"
    assert people.of_user(1_999_999_902) is None
    await people.remove("ben")
    assert (people.of_user(1001), people.all()) == (None, [])
    with pytest.raises(PersonUnknownError, match="person ls"):
        await people.remove("ben")
    assert await people.add("ben", 1001), "their things are theirs again"


@simulated
async def test_a_name_is_never_given_to_another_user_nor_a_user_another_name() -> None:
    people = People(MemoryTables(), lambda: 7)
    await people.add("ben", 1001)
    with pytest.raises(PersonRefusedError, match="under another name"):
        await people.add("benny", 1001)
    await people.remove("ben")
    with pytest.raises(PersonRefusedError, match="what is of that name is theirs"):
        await people.add("ben", 1_999_999_902)
    with pytest.raises(PersonRefusedError, match="no login"):
        await people.add("nobody-of-that-name")
    for name in ("", "Ben", "a b", "x" * 40, "../etc", "person=x"):
        with pytest.raises(PersonRefusedError, match="not a valid name"):
            await people.add(name, 5)


@simulated
async def test_on_the_shared_socket_root_and_the_node_s_user_are_its_owner() -> None:
    people = People(MemoryTables(), lambda: 7)
    await people.add("ben", 1001)
    who = who_is(people, lambda: True, owner=1_999_999_999)
    assert who(1_999_999_999) == who(0) == OWNER
    assert who(1001) == Principal("ben", "person")
    found = who(1_999_999_902)
    assert isinstance(found, Problem)
    assert (found.status, found.code) == (403, "not_let_in")
    assert "swarmnode person add NAME --uid 1999999902" in found.detail
    assert "ask user 1999999999" in found.detail
    early = who_is(people, lambda: False, owner=1_999_999_999)(1001)
    assert isinstance(early, Problem)
    assert early.code == "starting"


def test_a_token_is_good_from_the_moment_it_is_made_until_it_is_ended(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    book = TokenBook(tmp_path / "tokens")
    first = book.make("read", "grafana", "")
    second = book.make("submit", "script", "ben")
    assert book.asker(first) == Principal("", "read")
    assert book.asker(second) == Principal("ben", "submit")
    assert book.asker("swarm-read-0") is None
    assert [(one.scope, one.name) for one in book.of("ben")] == [("submit", "script")]
    with pytest.raises(TokenUnknownError, match="token ls"):
        book.remove("grafana", "ben")
    book.remove(hash_of(second)[:12], "ben")
    assert (book.asker(second), book.asker(first)) == (None, Principal("", "read"))
    book.remove("grafana", "")
    assert book.asker(first) is None


def test_a_token_made_beside_the_node_is_seen_and_a_broken_file_grants_nothing(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)
    file = tmp_path / "tokens"
    book = TokenBook(file)
    token = add_token(file, "admin", "", os.urandom)
    assert book.asker(token) == OWNER
    file.write_text("nonsense\n")
    assert book.asker(token) is None
    with pytest.raises(ConfigError, match="tokens:1"):
        book.make("read", "", "")
    file.unlink()
    assert book.asker(token) is None


def test_two_tokens_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    book = TokenBook(tmp_path / "tokens")
    first, second = book.make("read", "x", ""), book.make("read", "x", "")
    with pytest.raises(TokenUnknownError, match="2 tokens are called 'x'"):
        book.remove("x", "")
    book.remove(hash_of(first)[:12], "")
    assert (book.asker(first), book.asker(second)) == (None, Principal("", "read"))


def test_when_somebody_is_let_in_no_more_their_tokens_end(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    book = TokenBook(tmp_path / "tokens")
    ours, theirs = book.make("read", "", ""), book.make("read", "", "ben")
    book.end_all("ben")
    assert (book.asker(theirs), book.asker(ours)) == (None, Principal("", "read"))


def test_a_token_s_name_cannot_make_it_somebody_else_s(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    book = TokenBook(tmp_path / "tokens")
    for name in ("person=ben", "person=person=ben", "# gone", "a\nadmin " + "0" * 64):
        assert book.asker(book.make("read", name, "")) == Principal("", "read"), name
    assert book.of("ben") == []


def test_nobody_who_was_let_in_uses_up_the_tokens_of_all(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens")
    for number in range(API_TOKENS_PER_PERSON_MAX):
        book.make("read", f"t{number}", "guest")
    with pytest.raises(NotAllowedError, match="guest has"):
        book.make("read", "more", "guest")
    assert book.make("admin", "mine", "")
    assert book.make("read", "theirs", "other")
