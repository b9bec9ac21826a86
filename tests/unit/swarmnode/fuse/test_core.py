"""What the kernel is answered, from requests as it writes them."""

import errno
import random
import struct

import pytest

from swarmnode.errors import TreeRefusedError
from swarmnode.fuse import protocol
from swarmnode.fuse.core import FileOpening, FuseAnswer, FuseCore, Interrupted, Wanted
from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes, file_inode, folder_mode
from swarmnode.fuse.opens import Opens
from swarmnode.fuse.protocol import Op

FILE, SUB, LINK = 2, 3, 4


def tree() -> Inodes:
    inodes = Inodes(Inode(folder_mode(0o755), 0, ROOT))
    assert inodes.add_file(ROOT, b"f\xff", 0o644, 5000, ContentPlace(0, 100)) == FILE
    assert inodes.add_folder(ROOT, b"sub", 0o755) == SUB
    assert inodes.add_link(SUB, b"link", b"../f") == LINK
    return inodes


def request(op: int, node: int = ROOT, body: bytes = b"", unique: int = 7) -> bytes:
    head = struct.pack("=IIQQIIII", 40 + len(body), op, unique, node, 1, 1, 1, 0)
    return head + body


def read(offset: int, size: int) -> bytes:
    return struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0)


@pytest.fixture
def core() -> FuseCore:
    return FuseCore(tree(), 5000)


def answered(core: FuseCore, data: bytes) -> FuseAnswer:
    answer = core.handle(data)
    assert isinstance(answer, FuseAnswer)
    return answer


def test_the_kernels_offer_is_answered_with_what_we_use_of_it(core: FuseCore) -> None:
    offer = struct.pack("=IIIII", 7, 45, 1 << 17, 0xFFFFFFFF, 0xFFFFFFFF)
    answer = answered(core, request(Op.INIT, 0, offer))
    assert len(answer.body) == 64
    major, minor, _, flags = struct.unpack_from("=IIII", answer.body)
    assert (major, minor) == (7, 40)
    assert flags & 1 << 30  # INIT_EXT
    assert not flags & 1 << 16  # WRITEBACK_CACHE
    assert struct.unpack_from("=I", answer.body, 32) == (1 << 7,)  # HAS_RESEND


OFFER = struct.pack("=IIIII", 7, 45, 1 << 17, 0xFFFFFFFF, 0xFFFFFFFF)


def opening() -> bytes:
    return request(Op.OPEN, FILE, bytes(8))


def test_where_no_file_is_handed_over_nobody_is_asked_a_second_time_at_an_opening(
    core: FuseCore,
) -> None:
    answered(core, request(Op.INIT, 0, OFFER))
    assert answered(core, opening()).error == errno.ENOSYS
    asking = FuseCore(tree(), 5000, Opens())
    old = struct.pack("=IIIII", 7, 39, 1 << 17, 0xFFFFFFFF, 0xFFFFFFFF & ~protocol.PASSTHROUGH)
    answered(asking, request(Op.INIT, 0, old))
    assert answered(asking, opening()).error == errno.ENOSYS


def test_a_file_is_handed_over_while_nobody_has_it_open_and_stays_so() -> None:
    opens = Opens()
    core = FuseCore(tree(), 5000, opens)
    offer = answered(core, request(Op.INIT, 0, OFFER))
    assert struct.unpack_from("=II", offer.body, 32) == (1 << 7 | 1 << 5, 2)
    assert core.handle(opening()) == FileOpening(7, FILE, ContentPlace(0, 100))
    assert opens.may_pass(FILE)
    opens.opened(FILE)
    opens.opened(FILE)
    answered(core, request(Op.RELEASE, FILE, bytes(24)))
    assert not opens.may_pass(FILE)
    answered(core, request(Op.RELEASE, FILE, bytes(24)))
    assert opens.may_pass(FILE)
    opens.pass_on(FILE, 9)
    answered(core, request(Op.RELEASE, FILE, bytes(24)))
    assert opens.passed == {FILE: 9}


def test_who_takes_a_mount_over_goes_on_with_what_was_handed_over_and_adds_nothing() -> None:
    opens = Opens({FILE: 9})
    core = FuseCore(tree(), 5000, opens)
    assert isinstance(
        core.handle(opening()), FileOpening
    )  # to refuse it would end all other openings
    assert opens.passed == {FILE: 9}
    assert not opens.may_pass(SUB)


def test_a_kernel_that_is_too_old_is_told_so(core: FuseCore) -> None:
    offer = struct.pack("=IIIII", 7, 12, 1 << 17, 0, 0)
    assert answered(core, request(Op.INIT, 0, offer)).error == errno.EPROTO


def test_names_are_found_and_what_is_missing_may_be_remembered(core: FuseCore) -> None:
    found = answered(core, request(Op.LOOKUP, ROOT, b"f\xff\0"))
    assert struct.unpack_from("=Q", found.body) == (FILE,)
    missing = answered(core, request(Op.LOOKUP, ROOT, b"nothing\0"))
    assert (missing.error, len(missing.body)) == (0, len(found.body))
    assert struct.unpack_from("=Q", missing.body) == (0,)
    assert answered(core, request(Op.LOOKUP, FILE, b"x\0")).error == errno.ENOTDIR


def test_a_read_is_cut_to_the_file_and_says_where_its_bytes_are(core: FuseCore) -> None:
    assert core.handle(request(Op.READ, FILE, read(0, 100))) == Wanted(7, ContentPlace(0, 100), 100)
    assert core.handle(request(Op.READ, FILE, read(4990, 4096))) == Wanted(
        7, ContentPlace(0, 5090, b"", 4990), 10
    )
    for past in (5000, 1 << 63, (1 << 64) - 1):
        assert answered(core, request(Op.READ, FILE, read(past, 4096))) == FuseAnswer(7)
    assert answered(core, request(Op.READ, SUB, read(0, 1))).error == errno.EISDIR


def test_a_folder_is_listed_by_pieces_and_each_name_once(core: FuseCore) -> None:
    names, offset = [], 0
    while body := answered(core, request(Op.READDIR, ROOT, read(offset, 64))).body:
        while body:
            _, offset, length, _ = struct.unpack_from("=QQII", body)
            names.append(body[24 : 24 + length])
            body = body[24 + length + -(24 + length) % 8 :]
    assert names == [b".", b"..", b"f\xff", b"sub"]


def test_nothing_can_be_written_and_links_are_given_as_they_are(core: FuseCore) -> None:
    for op in protocol.WRITES:
        assert answered(core, request(op, FILE)).error == errno.EROFS
    assert answered(core, request(Op.READLINK, LINK)).body == b"../f"
    assert answered(core, request(Op.READLINK, FILE)).error == errno.EINVAL


def test_an_interrupt_names_whom_it_is_for_and_forgetting_has_no_answer(core: FuseCore) -> None:
    assert core.handle(request(Op.INTERRUPT, 0, struct.pack("=Q", 99))) == Interrupted(99)
    assert core.handle(request(Op.FORGET, FILE, bytes(8))) is None


def test_no_bytes_whatever_break_it(core: FuseCore) -> None:
    dice = random.Random(1)
    assert core.handle(b"") is None
    assert core.handle(request(Op.READ, FILE, read(0, 1))[:-1]) is None  # shorter than it says
    for _ in range(20_000):
        body = dice.randbytes(dice.randrange(60))
        node = dice.choice((0, 1, 2, 3, 4, 5, 1 << 40, (1 << 64) - 1))
        outcome = core.handle(request(dice.randrange(60), node, body))
        if isinstance(outcome, Wanted):
            assert 0 < outcome.size <= 5000 - (outcome.place.offset - 100)
            assert outcome.place.offset >= 100
        core.handle(dice.randbytes(dice.randrange(80)))


def test_hostile_names_are_refused() -> None:
    inodes = tree()
    place = ContentPlace()
    for name in (b"", b".", b"..", b"a/b", b"a\0b", b"x" * 256, b"f\xff"):
        with pytest.raises(TreeRefusedError):
            inodes.add_file(ROOT, name, 0o644, 1, place)
    for parent in (0, FILE, LINK, 99):
        with pytest.raises(TreeRefusedError):
            inodes.add_file(parent, b"n", 0o644, 1, place)
    with pytest.raises(TreeRefusedError):
        inodes.add_name(ROOT, b"n", SUB)
    with pytest.raises(TreeRefusedError):
        file_inode(0o644, -1, place)
    with pytest.raises(TreeRefusedError):
        file_inode(0o644, 1 << 62, ContentPlace(0, 1 << 62 | 1 << 61))
