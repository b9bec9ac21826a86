"""Which machines may run a task with an environment, which build one, and whom to believe."""

from msgspec.structs import replace

from p2p.ids import LabId, NetworkId, PeerId
from p2p.wire.envelope import Signed
from swarmnode.market.messages import Bid, BidKind, CallForBids
from swarmnode.market.pricing import BRING_BYTES_PER_S, MICROCREDITS, score_parts
from swarmnode.market.seller.environments import bytes_to_bring, lacking_environment
from swarmnode.market.seller.room import Fitness
from swarmnode.tasks.environments.naming import (
    ALLOW_BUILD,
    COMMAND,
    IMAGE_COMMAND,
    UV,
    conda_lock,
    image_lock,
    is_image_lock,
    is_recipe,
    key_of,
    name_of,
)
from swarmnode.tasks.environments.records import (
    BuiltEnvironment,
    EnvironmentRecord,
    KnownRecord,
    usable,
)
from swarmnode.tasks.spec import PriorityClass, Shape

HERE = Fitness(("lab", "@abc", "build:3.11"), machine="x86_64", brings=True)
CALL = CallForBids(1, Shape(), "@abc", (), PriorityClass.BATCH, 5, 0, (), "x86_64", 1000)


def lacks(call: CallForBids, fitness: Fitness = HERE, *, is_ours: bool = True) -> str:
    return lacking_environment(call, fitness, is_ours=is_ours)


def test_a_machine_of_another_kind_refuses_with_the_reason() -> None:
    arm = replace(HERE, machine="aarch64")
    assert lacks(CALL, arm) == "the environment is for x86_64, this machine is aarch64"
    assert lacks(CALL) == ""
    assert lacks(replace(CALL, env="@other")) == "", "it is brought"
    assert "show no environments" in lacks(CALL, replace(HERE, brings=False))


def test_environments_are_built_for_ones_own_lab_only() -> None:
    build = replace(CALL, env="build:3.11", machine="")
    assert lacks(build) == ""
    assert "own lab only" in lacks(build, is_ours=False)
    missing = lacks(replace(build, env="build:3.13"))
    assert missing == "no CPython 3.13 here to build with; have: 3.11"
    assert lacks(replace(build, env="cuda")) == "no environment 'cuda' here; have: lab"


def test_images_are_unpacked_where_a_machine_says_that_it_does() -> None:
    build = replace(CALL, env="build:image", machine="")
    assert lacks(build) == "no images are unpacked here"
    assert lacks(build, replace(HERE, environments=("build:3.11", "build:image"))) == ""


def test_what_a_build_made_of_an_image_is_known_as_one_and_other_builds_are_not() -> None:
    assert is_image_lock(image_lock("ab").encode())
    assert not is_image_lock(conda_lock("ab", "/opt/conda").encode())
    assert not is_image_lock(b"numpy==2.0 --hash=sha256:ab\n")


def test_only_what_our_own_recipes_make_is_signed() -> None:
    assert is_recipe([*COMMAND, UV], "build:3.11")
    assert is_recipe([*COMMAND, ALLOW_BUILD, UV], "build:3.11")
    assert is_recipe(IMAGE_COMMAND, "build:image")
    assert not is_recipe(["sh", "-c", "cp -r evil env"], "build:image")
    assert not is_recipe([*IMAGE_COMMAND, "/work/other"], "build:image")
    assert not is_recipe([*COMMAND, UV], "build:image"), "a key of the other kind"
    assert not is_recipe(IMAGE_COMMAND, "build:3.11")


def test_who_has_it_is_preferred_by_the_time_to_bring_it() -> None:
    assert bytes_to_bring(CALL, HERE) == 0
    assert bytes_to_bring(replace(CALL, env="@other"), HERE) == 1000
    bid = Bid(1, 1, BidKind.HELD, bring_bytes=60 * BRING_BYTES_PER_S)
    parts = dict(score_parts(bid, rtt_ms=0, slack=60_000, failures=0))
    assert parts["environment"] == MICROCREDITS


def known(lab: str, digest: bytes = b"d") -> KnownRecord:
    built = BuiltEnvironment("swarm:x", digest, 1, "x86_64")
    record = EnvironmentRecord(b"k", built, "3.11.2", "2.36", "0.9", 1)
    sealed = Signed(1, NetworkId("n"), "d", PeerId(lab), 0, 0, b"")
    return KnownRecord(record, sealed, LabId(lab))


def test_our_own_lab_is_believed_and_others_when_two_say_the_same() -> None:
    ours = LabId("ours")
    assert usable([known("theirs")], ours) is None
    assert usable([known("theirs"), known("ours")], ours) == known("ours")
    assert usable([known("theirs"), known("theirs")], ours) is None, "two machines of one lab"
    assert usable([known("theirs"), known("")], ours) is None, "nothing proves whose it is"
    assert usable([known("a"), known("b", b"other")], ours) is None
    assert usable([known("a"), known("b")], ours) == known("a")


def test_a_key_is_another_when_anything_that_decides_the_build_is() -> None:
    lock, other = b"six==1", b"six==2"
    keys = {
        key_of(lock, "3.11", "x86_64", allow_build=False),
        key_of(other, "3.11", "x86_64", allow_build=False),
        key_of(lock, "3.12", "x86_64", allow_build=False),
        key_of(lock, "3.11", "aarch64", allow_build=False),
        key_of(lock, "3.11", "x86_64", allow_build=True),
        key_of(lock, "3.11x", "86_64", allow_build=False),
    }
    assert len(keys) == 6


def test_the_name_of_an_environment_does_not_tell_how_to_read_it() -> None:
    assert name_of("swarm:secret") != name_of("swarm:secret2")
    assert "secret" not in name_of("swarm:secret")
