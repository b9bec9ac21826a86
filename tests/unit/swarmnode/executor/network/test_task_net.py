"""What becomes of questions and connections of a job's programs, decided without a network."""

import struct

import pytest

from swarmnode import reach
from swarmnode.errors import NetRefusedError
from swarmnode.executor.network import addresses, core, dns
from swarmnode.executor.network.limits import NAMES_MAX, NOTES_MAX
from swarmnode.executor.network.names import NameTable

INSIDE = [
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.88.99.1", "198.18.0.7", "224.0.0.251",
    "240.0.0.1", "255.255.255.255", "168.63.129.16", "::1", "::", "fd00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%lo", "ff02::1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::7f00:1",
    "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::1", "2002:7f00:1::", "2001:0:53aa::1",
    "2001:db8::1", "fec0::1", "100::1", "not an address", "0x7f000001",
]  # fmt: skip
OPEN = ["8.8.8.8", "151.101.0.223", "2606:4700::1111", "2a04:4e42::223"]


def query(name: str, kind: int = 1, number: int = 7) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode("latin-1") for part in name.split("."))
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">HH", kind, 1)


def net(*words: str, private: tuple[str, ...] = ()) -> core.TaskNet:
    return core.TaskNet(words, private, NameTable())


def code(reply: bytes) -> int:
    return reply[3] & 0x0F


def address_in(reply: bytes) -> str:
    return ".".join(map(str, reply[-4:]))


@pytest.mark.parametrize("address", INSIDE)
def test_no_task_is_led_to_an_address_of_the_inside(address: str) -> None:
    assert not addresses.is_open(address)


@pytest.mark.parametrize("address", OPEN)
def test_the_internet_is_open(address: str) -> None:
    assert addresses.is_open(address)


def test_a_name_has_one_address_for_as_long_as_the_job_lives() -> None:
    task = net("pypi")
    reply, new = task.answer(query("PyPI.org"))
    again, known = task.answer(query("pypi.org", number=8))
    assert (new, known) == ("pypi.org", "")
    assert address_in(reply) == address_in(again) == "198.18.0.1"
    assert reply[:2] == b"\0\x07"
    assert task.target("198.18.0.1", 443) == core.Target("pypi.org", 443)


def test_a_node_that_comes_back_knows_the_names_of_before() -> None:
    task = core.TaskNet(("pypi",), (), NameTable(["pypi.org", "evil.org"]))
    assert task.target("198.18.0.2", 80) == core.Target("evil.org", 80)
    assert task.answer(query("evil.org"))[1] == ""


@pytest.mark.parametrize("kind", [28, 65, 12, 15, 16, 255])
def test_other_questions_than_for_ipv4_have_an_empty_answer(kind: int) -> None:
    reply, new = net("pypi").answer(query("pypi.org", kind))
    assert (code(reply), reply[6:8], new) == (dns.NO_ERROR, b"\0\0", "")


@pytest.mark.parametrize("name", ["2130706433", "0x7f.1", "127.0.0.1", "a b.org", "ä.org", "*.org"])
def test_what_resolvers_take_for_an_address_is_no_name(name: str) -> None:
    assert code(net("internet").answer(query(name))[0]) == dns.NO_SUCH_NAME


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", bytes(12), query("a.org")[:-1], query("a.org")[:14], bytes(5000),
        query("a.org").replace(b"\x01\x00\x00\x01", b"\x81\x80\x00\x01", 1),
        struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\x01\0\x01",
        struct.pack(">HHHHHH", 1, 0x0100, 2, 0, 0, 0) + query("a.org")[12:],
        struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x3f" + b"a" * 63 + b"\x3f" * 300,
    ],
)  # fmt: skip
def test_what_is_no_question_has_no_answer(data: bytes) -> None:
    assert net("internet").answer(data) == (b"", "")


def test_the_table_of_names_is_bounded() -> None:
    task = core.TaskNet(("internet",), (), NameTable([f"n{i}.org" for i in range(NAMES_MAX)]))
    assert task.is_full
    assert code(task.answer(query("one-more.org"))[0]) == dns.FAILED
    assert code(task.answer(query("n1.org"))[0]) == dns.NO_ERROR


def test_a_refusal_names_what_would_allow_it() -> None:
    task = net("pypi")
    assert task.refusal(core.Target("pypi.org", 443)) == ""
    assert task.refusal(core.Target("example.org", 8443)) == (
        "refused: example.org:8443; this task may reach pypi (--net pypi,example.org:8443)"
    )
    assert "--net pypi,hf)" in task.refusal(core.Target("huggingface.co", 443))
    inside = task.refusal(core.Target("169.254.169.254", 80))
    assert "--net" not in inside
    assert "inside" in inside


def test_it_is_said_once_and_not_without_end() -> None:
    task = net()
    assert task.is_to_tell("a")
    assert not task.is_to_tell("a")
    told = [number for number in range(200) if task.is_to_tell(str(number))]
    assert len(told) == NOTES_MAX - 1
    assert task.last_words()


def allowed(task: core.TaskNet, host: str, *found: str, own: str = "") -> tuple[list[str], str]:
    target = core.Target(host, 443)
    places = [core.SocketPlace(address, 443) for address in found]
    found_open, why = task.allowed(target, places, lambda address: address == own)
    return [place.address for place in found_open], why


def test_every_address_of_a_name_must_be_of_the_internet() -> None:
    task = net("internet")
    assert allowed(task, "a.org", *OPEN, *OPEN)[0] == OPEN
    for address in INSIDE:
        assert allowed(task, "a.org", "8.8.8.8", address)[0] == []
    found, why = allowed(task, "a.org", "10.0.0.1")
    assert found == []
    assert "net_private" in why


def test_the_machines_own_addresses_are_closed_though_they_are_public() -> None:
    assert allowed(net("internet"), "me.org", "8.8.8.8", own="8.8.8.8")[0] == []


@pytest.mark.parametrize("private", ["mirror.lab", "mirror.lab:443", "*.lab", "10.0.0.5"])
def test_the_owner_may_let_tasks_reach_a_private_host(private: str) -> None:
    assert allowed(net("mirror.lab", private=(private,)), "mirror.lab", "10.0.0.5")[0]


@pytest.mark.parametrize("private", ["other.lab", "mirror.lab:80", "10.0.0.6", "10.0.0.5:80"])
def test_and_no_other(private: str) -> None:
    assert not allowed(net("internet", private=(private,)), "mirror.lab", "10.0.0.5")[0]


def test_an_address_that_stands_for_no_name_is_nobody() -> None:
    assert net("internet").target("198.18.3.4", 443) is None
    assert net("internet").target("198.19.255.255", 443) is None


@pytest.mark.parametrize(
    ("words", "presets"),
    [
        (("pypi",), {"pypi"}), (("hf",), {"hf"}), (("internet",), {"pypi", "hf"}),
        (("pypi.org", "*.pythonhosted.org"), {"pypi"}), (("pypi.org",), set()),
        (("*.swarm", "pypi.mirror.swarm"), set()), (("none",), set()),
    ],
)  # fmt: skip
def test_who_may_reach_all_of_a_preset_may_ask_its_mirror(
    words: tuple[str, ...], presets: set[str]
) -> None:
    for preset, name in reach.MIRRORS.items():
        target = core.Target(name, core.MIRROR_PORT)
        if preset in presets:
            assert net(*words).mirror(target) == preset
        else:
            with pytest.raises(NetRefusedError, match=f"a mirror of {preset}"):
                net(*words).mirror(target)


def test_a_mirror_is_at_one_port_and_its_name_is_nobody_elses() -> None:
    task = net("pypi")
    with pytest.raises(NetRefusedError, match="at port 80"):
        task.mirror(core.Target("pypi.mirror.swarm", 443))
    for name in ("mirror.swarm", "x.pypi.mirror.swarm", "pypi.org", "pypi.mirror.swarm.org"):
        assert task.mirror(core.Target(name, 80)) == ""


def test_a_name_with_very_many_addresses_has_a_few_of_them_tried() -> None:
    many = [f"8.8.{number}.8" for number in range(200)]
    assert allowed(net("internet"), "many.example.org", *many)[0] == many[:8]
