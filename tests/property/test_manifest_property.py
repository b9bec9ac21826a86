from hypothesis import given
from hypothesis import strategies as st

from p2p.ids import LabId, NetworkId, PeerId, PersonId
from storage.errors import ManifestError
from storage.ids import Address, LeaseId
from storage.manifests.manifest import (
    TAG_BYTES,
    Manifest,
    SegmentRef,
    address_of,
    read_manifest,
    read_page,
    write_manifest,
)
from storage.records.holding import open_holders, seal_holders
from testnet.sim.signer import KeyedHashSigner


@given(
    size=st.integers(0, 40_000),
    segment_bytes=st.integers(50, 5000),
    code=st.sampled_from([(1, 1), (1, 3), (3, 6), (8, 16)]),
    lease=st.binary(min_size=16, max_size=16),
    owner=st.text(max_size=20),
)
def test_every_manifest_reads_as_it_was_written(
    size: int, segment_bytes: int, code: tuple[int, int], lease: bytes, owner: str
) -> None:
    k, n = code
    bare = Manifest(
        1, size, segment_bytes, k, n, 2, LeaseId(lease), PersonId(owner), LabId("lab"), 1, 0
    )
    root = bytes(32 * (1 if k == 1 else n))
    refs = tuple(
        SegmentRef(bare.plain_length(index) + TAG_BYTES, root)
        for index in range(bare.segment_count)
    )
    made = write_manifest(bare, refs)
    read = read_manifest(made.address, made.data)
    pages = [read_page(read, page, data) for page, (_, data) in enumerate(made.pages)]
    assert (tuple(ref for page in pages for ref in page) or read.segments) == refs


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_quietly(data: bytes) -> None:
    try:
        read_manifest(address_of(data), data)
    except ManifestError:
        pass
    else:
        raise AssertionError("random bytes were taken for a manifest")


@given(
    st.integers(1, 16).flatmap(
        lambda width: st.lists(
            st.lists(
                st.one_of(st.none(), st.sampled_from([PeerId(f"p{n}") for n in range(30)])),
                min_size=width,
                max_size=width,
            ).map(tuple),
            min_size=1,
            max_size=30,
        ).map(tuple)
    ),
    st.integers(0, 1 << 30),
)
def test_every_holder_record_opens_as_it_was_sealed(
    rows: tuple[tuple[PeerId | None, ...], ...], page: int
) -> None:
    signer, network = KeyedHashSigner(PeerId("p1")), NetworkId("net")
    sealed = seal_holders(signer, network, Address(bytes(32)), page, rows, 5)
    opened = open_holders(signer, network, sealed)
    assert (opened.rows, opened.page, opened.sequence) == (rows, page, 5)
