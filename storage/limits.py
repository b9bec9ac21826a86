"""Every bound of the storage package, each with its reason."""

from typing import Final

SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Plaintext of one segment: at 8/16 a shard is 1 MiB, which disks and links move at full speed."""

LEAF_BYTES: Final = 16 * 1024
"""A Merkle leaf: a wrong byte is noticed within this, for 0.2 % of extra bytes (as iroh)."""

INLINE_SHARD_BYTES: Final = 16 * 1024
"""Smaller shards live in the tables: an extent and an fsync of their own would cost more."""

COMMIT_BYTES_MAX: Final = 4 * 1024 * 1024
"""One group commit: bigger LMDB commits were measured slower (dirty pages are copied)."""

SMALL_OBJECT_BYTES: Final = 64 * 1024
"""Objects up to this are kept as copies: coding them would only add round trips."""

SEGMENT_FILE_BYTES: Final = 256 * 1024 * 1024
"""A file of shards: few enough for any number of shards, small enough to remove when empty."""

MANIFEST_BYTES_MAX: Final = 4 * 1024 * 1024
"""A manifest page: 256 segments of 16 roots are 128 KiB; the rest is headroom."""

PAGE_SEGMENTS: Final = 256
"""Segments per manifest page: an object of more than 2 GiB has two levels."""

SHARDS_MAX: Final = 64
"""Shards of one segment: the codes we write have at most 16."""

LEASE_ID_BYTES: Final = 16
"""Random, so that no two puts ever share one."""

LEASE_TAG_BYTES: Final = 16
"""Whose and what a lease is for, in its key: nobody finds another tag that is the same."""

ROWS_OF_ONE_LEASE_MAX: Final = 4
"""Leases of one id that one person's machines brought here: who mends an object needs one."""

HOLDERS_MAX: Final = 256
"""Different holders in one holder record: with 54 bytes each it stays below a control frame."""

HOLDERS_BYTES_MAX: Final = 60 * 1024
"""A holder record as it is signed: whoever mends adds a machine, and sends it in one message."""

HOLDER_ID_CHARS_MAX: Final = 128
"""The id of a machine in it; a real one has 52."""

ROOTS_PER_QUESTION_MAX: Final = 1024
"""Roots in one HaveShards: 32 KiB."""

LEASES_PER_RENEWAL_MAX: Final = 1024
"""Leases in one RenewLeases: 16 KiB, a thousand objects."""

LEAVES_PER_RANGE_MAX: Final = 64
"""Leaves in one ranged read: 1 MiB of data and at most 20 KiB of Merkle paths."""

LEASES_PER_QUESTION_MAX: Final = 256
"""Leases in one AskDropped."""

TOMBSTONES_PER_ANSWER_MAX: Final = 24
"""Tombstones in one answer; fewer where they are long (TOMBSTONES_ANSWER_BYTES_MAX)."""

TOMBSTONE_BYTES_MAX: Final = 8 * 1024
"""One of them with its signature, certificates and reason."""

TOMBSTONES_ANSWER_BYTES_MAX: Final = 56 * 1024
"""All of one answer: it must fit a message."""

TOMBSTONES_MAX: Final = 100_000
"""Tombstones kept: 30 MB, or 100 with their signers' certificates. Without one a removed object may
be kept until its lease ends."""

TOMBSTONES_PER_PERSON_MAX: Final = TOMBSTONES_MAX // 4
"""Of these, such as give up what is one person's: nobody's fill the table for all others."""

TOMBSTONES_CLEARED_PART: Final = 16
"""Of a person's this part gives way to newer ones at once: to look at all of them takes a while."""

DROPS_AT_ONCE: Final = 8
"""Leases given up at a time at machines that were away: they have just come back."""

DROPPED_LEASES_KEPT: Final = 4096
"""Leases given up lately: what was still on its way to us under one of them is refused."""

LEASES_HELD_MAX: Final = 2_000_000
"""Leases kept for others, one an object: 300 MB of table, a second to count at the start."""

LEASES_PER_LAB_MAX: Final = LEASES_HELD_MAX // 2
"""Of these, such as machines of one lab brought: no lab can shut all others out."""

LEASES_PER_PERSON_MAX: Final = 500_000
"""Of these, such as machines of one person brought: half a million objects."""

LEASE_ROWS_PER_SCAN: Final = 1000
"""Lease rows looked at in one transaction of the sweep: a millisecond."""

ASKED_MAX: Final = 64
"""Peers asked for a manifest none of its expected holders has: a whole small swarm."""

ASKED_AT_ONCE: Final = 8
"""Of these, so many at a time: the first answer ends the search."""

OWN_ASKED_MAX: Final = 8
"""Of these, objects of which nothing is kept here: others must be asked who has them."""

CLOCKS_ASKED_MAX: Final = 16
"""Machines asked for the time in one round: a whole small pool; of a large one a fair sample."""

OWN_LOOKED_AT_MAX: Final = 256
"""Of our objects, looked at in one go: each costs a record and its signature, 100 us."""

MANIFESTS_KEPT: Final = 64
"""Manifests and pages read lately, in memory: a training run reads a handful."""

SAMPLES_KEPT: Final = 64
"""Durations remembered to judge what is late."""

COMMIT_WRITES_MAX: Final = 1000
"""Writes of one group commit: it also ends after so many small ones, some milliseconds."""

TABLES_MAP_BYTES: Final = 256 * 1024**3
"""Address space of one LMDB store: never resized while open, and no disk space until used."""

TABLES_READERS_MAX: Final = 126
"""Reader slots of one LMDB store: the loop and a few threads use one each; LMDB's default."""

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""Set aside beside each store for deletions on a full disk: two commits of the largest size."""

READER_CHECK_S: Final = 60.0
"""How often slots of dead readers are freed: each would keep old pages from being used again."""

KEY_BYTES_MAX: Final = 511
"""Longest key of a table: LMDB's own bound at its usual page size."""

TABLES_MAX: Final = 64
"""Named tables of one store: LMDB sizes its handle table once, at open."""

SHARD_BYTES_MAX: Final = SEGMENT_BYTES + 64 * 1024
"""Longest shard: a full copy of one segment (k = 1) with its seal; the longest body of a call."""

SEGMENT_FILES_OPEN_MAX: Final = 64
"""Segment files held open: 16 GiB of shards at hand within the usual 1024 descriptors."""

DELETES_AT_ONCE: Final = 1000
"""Shards forgotten in one transaction: some milliseconds, then others get their turn."""

BLOCK_BYTES: Final = 4096
"""Shards begin on file system blocks, so that punching a hole gives back every block of one."""

NAME_CHARS_MAX: Final = 512
"""A mutable name: `task/<id>/<key>` with a long key."""

NAME_VALUE_BYTES_MAX: Final = 32 * 1024 + 64
"""A name's value: 32 KiB and a seal; with its record it stays below a control frame."""

NAME_HOLDERS_MAX: Final = 7
"""Voters of a name: any three may be away."""

NAME_SPARES: Final = 2
"""Members asked beyond the voters: views of the members may differ by so many."""

NAMES_HELD_MAX: Final = 100_000
"""Names kept for others: 3 GiB at the very worst, usually a few MB."""

NAMES_PER_LAB_MAX: Final = NAMES_HELD_MAX // 2
"""Of these, names that machines of one lab brought: no lab can shut all others out."""

NAMES_PER_PERSON_MAX: Final = 10_000
"""Names that machines of one person brought: one a minute for a week."""

NAMES_PENDING_MAX: Final = 1000
"""Of these, such as were promised and hold no record yet: a write makes one for milliseconds."""

NAME_PENDING_MS: Final = 15 * 60 * 1000
"""A promise for a name without a record is forgotten then: a write takes seconds, or was lost."""

NAME_OWNER_CHARS_MAX: Final = 64
"""The id of a key has 52 characters; those of simulations are shorter than this, too."""

NAMES_OPENED_KEPT: Final = 1024
"""Signed records and ballots remembered as good: all holders of a name tell the same ones."""

NAME_NUMBER_MAX: Final = 1 << 53
"""Sequences, fences and ballots: these count up from the wall clock's milliseconds."""

NAME_KEPT_MS: Final = 400 * 24 * 3600 * 1000
"""A name nobody writes for so long is forgotten: more than a year, as with a keyring."""

NAME_GRANTED_KEPT_MS: Final = 60 * 24 * 3600 * 1000
"""The same for a name written by a granted machine: twice as long as a task may take."""

NAMES_PER_SCAN: Final = 64
"""Names looked at before others get a turn: 2 MiB at the worst."""

REMOVED_KEPT: Final = 4096
"""Objects given up that are remembered by name: less than a megabyte, for some months of use."""

REMOVED_NAME_CHARS_MAX: Final = 128
"""Of such a name, to be recognised by."""

CANDIDATES_MAX: Final = 64
"""Machines considered for one object: placement stays fast and holder records small."""

RUN_SEGMENTS: Final = 32
"""Segments that share their holders: an object up to 256 MiB concerns n machines and no more."""

TOUCHED_PAGES_MAX: Final = 65_536
"""Changed holder records nobody has looked at yet: when there are more, repair reads them all."""

RECORDS_PER_STEP: Final = 16
"""Holder records read before others get a turn: each costs a signature check."""

POOL_SETTLES_S: Final = 15.0
"""A put right after a start waits so long for those who lent before: joining takes 10 s at most."""

LENDERS_REMEMBERED_MAX: Final = 1024
"""Lenders remembered across a restart: 54 KiB; of a larger pool these are enough to judge it."""

REMOVAL_REASON_CHARS_MAX: Final = 200
"""Why the lab's key removed an object, for its owner: two lines on a screen."""

RIGHT_LINKS_MAX: Final = 3
"""Owner's machine, guardian, worker: nobody hands a right on further."""

RIGHTS_KEPT: Final = 256
"""Rights checked lately: a machine holds shards of so many tasks at a time, 150 KiB."""

TASK_LABEL_CHARS_MAX: Final = 64
"""Name of a task in a right: four times as long as an id."""

NAME_JOIN_S: Final = 15.0
"""One of two machines waits so long for the other after a start: joining takes 10 s at most."""

OPEN_AGAIN_S: Final = 0.05
"""A worker waits so long when no descriptor is left: somebody may have closed one by then."""

OPEN_TRIES_MAX: Final = 60
"""Three seconds in all, before a write is refused and a read ends the store."""

HOLDERS_SEQUENCE_MAX: Final = 1 << 53
"""Of holder records: no page is mended so often, and every number above it fits the wire."""

HOLDERS_LEAP_MAX: Final = 1 << 20
"""Mendings that a machine may have missed: who may write a record cannot end the counting."""
