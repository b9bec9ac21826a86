"""Bounds of the p2p package, each with its reason; some of its parts have their own."""

from typing import Final

CONTROL_FRAME_BYTES_MAX: Final = 64 * 1024
"""A control frame: MessagePack amplifies up to 73x in memory, so 64 KiB costs 4.7 MiB at worst."""

DATA_FRAME_BYTES_MAX: Final = 1024 * 1024
"""A data frame carries one opaque body chunk and decodes to exactly one bytes object."""

BODY_CHUNK_BYTES: Final = 256 * 1024
"""Bodies travel in such chunks: large enough to seal cheaply, small enough to interleave."""

BODY_BYTES_MAX: Final = 8 * 1024 * 1024 + 64 * 1024
"""A call's body: one whole 8 MiB segment copy plus its Merkle outboard and headroom."""

BODY_WINDOW_BYTES: Final = 16 * 1024 * 1024
"""Body bytes one peer may have in flight to us per class: two whole segments keep a link busy."""

DECODE_DEPTH_MAX: Final = 8
"""Nesting of a message: no message of ours needs more than 5."""

DECODE_NODES_MAX: Final = 4096
"""Values in one message: a digest of 1000 members, four fields each, still fits."""

WORKERS_IDLE_MAX: Final = 64
"""Tasks kept for calls to come: as many as a busy node answers at once, a few KiB each."""

WORKERS_IDLE_S: Final = 1.0
"""A task that nobody needed for so long is let go."""

CALLS_INBOUND_MAX: Final = 256
"""Calls one peer may have open with us: beyond that it gets `busy` and must wait."""

OUTBOX_FRAMES_MAX: Final = 4096
"""Casts queued for one peer and class; beyond that the oldest is dropped (casts are repeatable)."""

INBOX_EVENTS_MAX: Final = 16384
"""Events waiting for one core: beyond that the newest message is dropped and counted."""

STEP_S_MAX: Final = 0.002
"""A core works on one batch for so long, then others have their turn, whatever floods it."""

TURN_S_MAX: Final = 0.0005
"""One connection's bytes are worked on for so long before others get a turn."""

PONGS_WAITING_MAX: Final = 256
"""Answers to pings that wait for one socket: who asks on without listening is cut off."""

FORGERY_COST: Final = 256
"""What a wrong signature takes from its carrier's bucket: honest peers check what they pass on."""

BODIES_BYTES_MAX: Final = 192 * 1024 * 1024
"""Bodies of calls held for all peers: 24 of the longest. Beyond that who holds most is cut off."""

ANSWERS_WAITING_MAX: Final = 4096
"""Small frames that wait for a peer in one class: who asks on without listening is cut off."""

STREAMS_OPENED_BURST: Final = 64
"""Streams a peer may open at once: negotiating one costs about a millisecond."""

STREAMS_OPENED_PER_S: Final = 25.0
"""And in the long run: a libp2p peer opens one per query of the shared index."""

PEERS_MAX: Final = 1024
"""Connections of one node; membership works over fewer, lookups over none."""

PRIVATE_FILE_BYTES_MAX: Final = 64 * 1024
"""A key, token or membership file: the longest of ours is under 16 KiB."""

VERIFY_KEYS_MAX: Final = 4096
"""Public keys kept ready for checking: four times the connections of one node."""

CERTIFICATES_MAX: Final = 10
"""Certificates in one token: a lab that was invited in, and three invitations after one another."""

CERTIFICATE_BYTES_MAX: Final = 1024
"""One signed certificate: ids, two names and eight roles take under 700 bytes."""

NAME_CHARS_MAX: Final = 64
"""A name of a machine, person, lab or site: fits a table column and a certificate."""

ROLES_MAX: Final = 8
"""Roles in a machine's certificate: there are five."""

CLOCK_SKEW_MAX_MS: Final = 120_000
"""Wall clocks may differ by this much: unsynchronised laptops drift by about a minute a month."""

INVITE_ADDRESSES_MAX: Final = 4
"""Addresses in an invite: LAN, VPN, public and a second member; more make it too long to paste."""

INVITE_CHARS_MAX: Final = 12_000
"""An invite as text: nine certificates of 700 bytes and four addresses, in base32."""

ADMITTED_MAX: Final = 4096
"""Peers whose certificates are remembered: four times the connections of one node."""

ADMISSION_TRIES_BURST: Final = 10
"""Admissions one peer may ask for at once: two connections, redialled a few times."""

ADMISSION_TRIES_PER_S: Final = 1.0
"""Admissions one peer may ask for in the long run: each costs about 1 ms of signature checks."""

REFUSAL_CHARS_MAX: Final = 300
"""A refusal's explanation from a peer: one printable line for a person."""

ADMIT_FRAME_BYTES_MAX: Final = 16 * 1024
"""A frame of the admission exchange: a token with its chain of certificates is under 2 KiB."""

REMOVALS_OF_NETWORK_MAX: Final = 256
"""Removals signed by the network's key: it has this room whatever all others have filled."""

REMOVALS_OF_LABS_MAX: Final = 512
"""Removals signed by labs' keys: nor can people use up what their labs need to remove them."""

REMOVALS_OF_PEOPLE_MAX: Final = 1024
"""Removals signed by people: of those they invited and of their own machines, which are few."""

REMOVALS_MAX: Final = REMOVALS_OF_NETWORK_MAX + REMOVALS_OF_LABS_MAX + REMOVALS_OF_PEOPLE_MAX
"""Removals held: more than a network of 300 machines loses in years, 14 MiB at the very worst."""

REMOVALS_TOLD_MAX: Final = 1024
"""Told at admission, as many as nodes took when there could be no more; the rest comes after it."""

REMOVALS_PER_LAB_MAX: Final = 192
"""The same of one lab's key: three hostile labs leave room for a fourth's."""

REMOVALS_PER_LABS_PEOPLE_MAX: Final = 512
"""The same of all people of one lab: five who fill all they have leave room for a sixth."""

REMOVALS_PER_PERSON_MAX: Final = 64
"""The same of all whom one person invited, together: they can be as many as the person likes."""

REMOVALS_OF_ONE_PERSON_MAX: Final = 32
"""The same of one person's own key: nobody below them can fill it."""

PROOFS_KEPT: Final = 256
"""Proofs of signers that were checked once: about one per signer is in use."""

REMOVAL_BYTES_MAX: Final = 8 * 1024
"""One removal: ids, a name and the certificates of its signer take under 2 KiB."""

USES_MAX: Final = 4096
"""Uses of invites held: one per person or machine that came with an invite, 12 MiB at most."""

USES_PER_LAB_MAX: Final = USES_MAX // 2
"""The same as witnessed by all machines of one lab."""

USES_PER_PERSON_MAX: Final = 512
"""The same as witnessed by one person's machines and those of whom they invited, who may be as
many as the person likes: others witness what these have no room for."""

USE_BYTES_MAX: Final = 12 * 1024
"""One use: a certificate and the token of its witness take under 3 KiB."""

ADMIT_DEADLINE_S: Final = 5.0
"""Admission is one exchange of small frames: a second even over a bad path, then patience ends."""

DIAL_DEADLINE_S: Final = 9.5
"""Everything from resolving a name to being admitted: a failed join says why within 10 s."""

UPGRADE_DEADLINE_S: Final = 5.0
"""From the accepted socket to an encrypted, multiplexed connection: about six round trips."""

PENDING_MAX: Final = 512
"""Sockets accepted but not yet admitted: beyond that the oldest silent one makes room."""

PENDING_PER_ADDRESS_MAX: Final = 32
"""The same for one address: thirty members behind one NAT may all come back at once."""

PENDING_PER_PREFIX_MAX: Final = 128
"""The same for one IPv4 /24 or IPv6 /48."""

STREAMS_INBOUND_MAX: Final = 128
"""Streams a peer may hold open with us: ours need 5, a libp2p peer with DHT and gossip about 20."""

STREAM_WINDOW_BYTES: Final = 1024 * 1024
"""Receive window of one stream: 100 Mbit/s at 80 ms; the first 256 KiB are Yamux's own default."""

STREAM_WINDOW_BYTES_MAX: Final = 4 * 1024 * 1024
"""The same once a stream has shown that the path needs it: 400 Mbit/s at 80 ms."""

STREAM_WINDOW_GROWN_BYTES_MAX: Final = 96 * 1024 * 1024
"""The same out of what the node has room for: 8 Gbit/s at 100 ms."""

LINK_UNREAD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Received bytes of one connection that nobody has read yet: beyond that its streams are reset."""

NODE_UNREAD_BYTES_MAX: Final = 224 * 1024 * 1024
"""The same for all connections of a node: beyond that whoever holds most is closed."""

NODE_WINDOWS_BYTES_MAX: Final = 192 * 1024 * 1024
"""Of these, what grown windows may promise: two of the largest, or 48 at 10 Gbit/s and 6 ms."""

LINK_OUTPUT_BYTES_MAX: Final = 1024 * 1024
"""Bytes queued for one socket: beyond that we stop reading what would make us answer more."""

LINK_BACKLOG_BYTES: Final = 128 * 1024
"""Above this a frame waits in the scheduler, where a more urgent one may still overtake it."""

OUTBOX_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes queued for one peer and class: four frames of the largest size."""

ADDRESSES_PER_PEER_MAX: Final = 8
"""Addresses remembered (and dialled) for one peer."""

ADDRESS_BOOK_PEERS_MAX: Final = 65_536
"""Peers whose addresses are remembered: a full membership view fits; the oldest is forgotten."""

CHUNK_BYTES_MIN: Final = 4096
"""Every chunk of a body but the last: smaller ones would cost more to keep than they carry."""

ANSWERS_KEPT_MAX: Final = 32
"""Answers a channel keeps for copies of their calls: by then the slower path has caught up."""

ANSWER_KEPT_BYTES_MAX: Final = 1024
"""Calls that are raced over two paths are small, and so are their answers."""

CALL_TIMEOUT_S_MAX: Final = 3600.0
"""A call is a question, not a session: whatever takes longer than an hour is a task."""

PAYLOAD_BYTES_MAX: Final = CONTROL_FRAME_BYTES_MAX - 64
"""A packed message inside a Call, Reply or Cast: the frame around it takes under 64 bytes."""

SLICE_BYTES_MAX: Final = 65_507
"""Piece of a frame handed to a stream at once: with its Yamux header it fills a Noise message."""

MEMBERS_MAX: Final = 50_000
"""Members in a view, gone ones included: beyond that the full view gives way to cells."""

INCARNATION_MAX: Final = 1 << 53
"""Incarnations and sequences start as milliseconds since 1970; this is the year 287396."""

ADDRESS_CHARS_MAX: Final = 256
"""One multiaddr or key id: a /dns name is at most 253 characters, ours are about 90."""

MULTIADDR_CHARS_MAX: Final = 512
"""One that is read, from wherever: the longest /dns name with port and peer id has 327."""

WALL_MS_MAX: Final = 253_402_300_799_999
"""Wall clock: the end of the year 9999, the last that has a date. What never ends ends then."""

NEWS_BYTES_MAX: Final = 40 * 1024
"""Signed presences in one message: with ids and opinions it stays below a control frame."""

NEWS_MEMBERS_MAX: Final = 200
"""Members in one message: 15 values each stay below DECODE_NODES_MAX."""

FAREWELLS_MAX: Final = 256
"""Members told directly that we leave; they tell the others."""

PRESENCE_TOKEN_BYTES_MAX: Final = 4096
"""A token in a presence: three certificates take 1 KiB; longer chains are shown at the door."""

PRESENCE_BYTES_MAX: Final = PRESENCE_TOKEN_BYTES_MAX + 3072
"""One signed presence: a token, eight addresses, two names and a signature."""

PROOFS_KEPT_MAX: Final = 8192
"""Tokens of others that were checked and found good: of twice the members of GOSSIP_ROWS_MAX."""

VIEW_MACHINES_PER_PERSON_MAX: Final = 4096
"""Machines of one person in a view: whoever may certify machines cannot fill it for the others."""

STRANGER_UNREAD_BYTES_MAX: Final = 1024 * 1024
"""The same before the peer is admitted: 512 strangers at the door hold half a GiB at the worst."""

RELAYS_MAX: Final = 1024
"""Pings under way in other members' place: each lasts half a second."""

STRANGERS_MAX: Final = 1024
"""Unknown peers remembered as asked: as many as there are connections."""

GOSSIP_KINDS_MAX: Final = 16
"""Kinds of gossip items: two are used; one member can fill no more rows than this."""

GOSSIP_BODY_BYTES_MAX: Final = 4096
"""Body of one item: what a machine lends, with eight GPUs, takes under 2 KiB."""

GOSSIP_TTL_S_MAX: Final = 3600.0
"""Longest life of an item: its sequence is remembered as long, so that none can be replayed."""

GOSSIP_ROWS_MAX: Final = 8192
"""Items held, of all members and kinds: two kinds of 4,096 members, 40 MiB at the very worst."""

GOSSIP_ROWS_PER_PERSON_MAX: Final = 1024
"""Of these, items of one person's machines once half of them are taken: 500 machines' worth."""

GOSSIP_STRANGERS_MAX: Final = 128
"""Items of origins not yet known as members: news of a member may be slower than its first item."""

GOSSIP_DIGEST_ENTRIES_MAX: Final = 2048
"""Items compared at once: 32 KiB of keys and sequences; larger tables are compared in parts."""

GOSSIP_PUSH_ITEMS_MAX: Final = 200
"""Items in one message: 11 values each stay below DECODE_NODES_MAX."""

GUESTS_MAX: Final = 32
"""Libp2p peers that are no members, connected at once; only with `network.interop`."""

GUEST_UNREAD_BYTES_MAX: Final = 2 * STREAM_WINDOW_BYTES
"""Received and unread of one guest: an echo's whole window and its small streams."""

GUEST_WORK_PER_S: Final = 100.0
"""What one guest may make us do, about 1 ms a piece: 30 questions to the index a second."""

GUEST_WORK_BURST: Final = 2000.0
"""The same at once: an echo of 8 MiB in 16 KiB pieces costs half of it."""

GUESTS_WORK_PER_S: Final = 250.0
"""What all guests together may make us do: a quarter of a core."""

GUESTS_WORK_BURST: Final = 6000.0
"""The same at once."""

GUEST_MESSAGE_BYTES_MAX: Final = 4096
"""One message of guests to one another: as long as an item of our own gossip."""

GUEST_ECHO_BYTES_MAX: Final = 8 * 1024 * 1024
"""What one echo sends back: enough to see the windows grow."""

INDEX_KEYS_MAX: Final = 16_384
"""Keys of the shared index kept for others: with 20 providers each at most 150 MB, usually 8."""

BULK_BEGINS_BYTES: Final = 256 * 1024
"""Bulk that passes before a peer gets a second connection: less is gone before that would be up."""

WAITS_BYTES_MIN: Final = 64 * 1024
"""Bytes of one class that may wait for a peer on however slow a line: a page of anything."""

SLOW_LINE_BACKLOG_BYTES: Final = 24 * 1024
"""The same below 100 Mbit/s, where 128 KiB in front of a heartbeat are 10 ms and more."""

# Accepting
ACCEPT_PAUSE_S: Final = 0.1
"""How long a listener rests when no descriptor is left: somebody may have closed one by then."""

ACCEPT_WARN_S: Final = 60.0
"""Between two lines in the log about that: more would fill the disk of whoever is attacked."""

DESCRIPTORS_RESERVED: Final = 64
"""Or an eighth of the limit: files of the store, dials, starting tasks; never a connection's."""

# Multistream
HANDSHAKE_READ_BYTES_MAX: Final = 65_535
"""Asked of a socket at once before it is admitted: a Noise message, by its two bytes of length."""

MULTISTREAM_LINE_BYTES_MAX: Final = 1024
"""A protocol's name: libp2p believes whatever length a peer announces, and would keep as much."""

# Relaying
RELAY_BYTES_PER_S: Final = 32_000_000
"""Carried for others, both ways added: it fills a line of 200 Mbit/s and leaves three quarters of
a line of 1 Gbit/s, and most of a core, to the machine's own."""
