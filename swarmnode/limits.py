"""Bounds of the swarmnode package, each with its reason; some of its parts have their own."""

from typing import Final

# Execution
JOB_ID_CHARS_MAX: Final = 128
"""A task id and a fence; also a folder and a cgroup name, which may have 255 bytes."""

NAME_PART_BYTES_MAX: Final = 255
"""One part of a name: NAME_MAX of Linux."""

OBJECT_NAME_CHARS_MAX: Final = 4 * NAME_PART_BYTES_MAX
r"""Of an object that somebody puts: as long as any file's, each byte of which may be `\xNN`."""

LINK_BYTES_MAX: Final = 4095
"""Where a symbolic link leads: PATH_MAX of Linux without its NUL."""

TREE_ENTRIES_MAX: Final = 100_000
"""Names in one tree: about 50 MB while it is read or written; more belong into several."""

LISTED_FILES_MAX: Final = 4096
"""Files one listing may find: more belong into an archive the task makes itself."""

PROJECT_BYTES_MAX: Final = 2 * 1024**3
"""Of a project's folder that goes along with a task: more is data, and has a better way."""

CHANGES_BYTES_MAX: Final = 2 * 1024**3
"""Of what a task changed, kept though nobody named it: as much as a project may be."""

PROJECT_NAMES_MAX: Final = TREE_ENTRIES_MAX
"""Names of the same, folders among them."""

PROJECT_NAMES_SEEN_MAX: Final = 1_000_000
"""Looked at to say which folders are the largest; about 500 MB while that is found out."""

WALKED_ENTRIES_MAX: Final = 200_000
"""Entries of a work folder that are looked at; a task with more is over its disk limit."""

WALKED_NAME_BYTES: Final = 320
"""Of an entry's own name and where a link leads, on average: a name has 255 at most, links are few.
All that is looked at stays below 64 MiB; links of 4 KiB alone would be 800."""

NODE_DEATHS_MAX: Final = 3
"""Machines whose node died soon after a task began there: two may be chance, three are the task."""

NODE_FAULTS_MAX: Final = 8
"""Attempts that met a fault of their nodes, on however few machines: a pool may have one only."""

NODE_DEATHS_HERE_MAX: Final = 5
"""A node that comes back and dies as often under one job stops it: else it would never move on."""

NODE_DEATH_SOON_MS: Final = 120_000
"""What kills a node does so soon after its start; a death later than that has other causes."""

DISK_SLACK_PARTS: Final = 64
"""A task's file system is this part and 1 MiB larger than its limit: over it is told from full."""

DISK_TEMPLATES_MAX: Final = 8
"""Empty file systems kept for the next task of that size: to copy one takes 1 ms, to make it 10."""

DISK_SPARES_MAX: Final = 2
"""File systems that are ready for the next task of their size: a loop device and 1 MB each."""

LOG_READ_BYTES_MAX: Final = 1024 * 1024
"""Largest piece of a log read at once: the largest frame it may travel in."""

FILE_CHUNK_BYTES: Final = 256 * 1024
"""Pieces in which files of a work folder are read and written."""

CTX_REQUEST_BYTES_MAX: Final = 1024 * 1024
"""One request of a task through its `ctx`: a small value and its key, never a checkpoint."""

CTX_CONNECTIONS_MAX: Final = 16
"""Connections one task may hold to the node: one per process of an ordinary training job."""

JOB_START_TIMEOUT_S: Final = 30.0
"""From the spawn of a shim to its first word; it takes 20 ms on an idle machine."""

KILL_TIMEOUT_S: Final = 5.0
"""How long a killed process tree may take to vanish before that is an error."""

STORE_FILES_S: Final = 600.0
"""A provider has this long to store the outputs of a job that runs: gigabytes on a slow line."""

JOB_PIDS_MAX: Final = 2048
"""Processes and threads of one job: a data loader per core of a large machine and their pools."""

# Memory
CHECKPOINTS_KEPT_MIN: Final = 2
"""Newest checkpoints of a task that are kept: the last may turn out to be bad."""

CHECKPOINT_TRIES_MAX: Final = 2
"""Attempts that may fail from one checkpoint: the first by chance; then an older one is tried."""

STEP_MAX: Final = 10**18 - 1
"""A step of a checkpoint, as tasks and other machines tell it: 18 digits, and room to count on."""

MADE_MS_MAX: Final = 1 << 53
"""When a checkpoint was made, as other machines tell it; the next one counts on from it."""

CHECKPOINT_FILES_MAX: Final = 256
"""Files of one checkpoint: a shard per process of a large job, and the list fits one message."""

STATE_KEY_CHARS_MAX: Final = 128
"""A key of `ctx.state`; with the task id it is a mutable name."""

STATE_VALUE_BYTES_MAX: Final = 32 * 1024
"""A value of `ctx.state`: it travels and rests inside one record; more is a checkpoint."""

STATE_RETRIES_MAX: Final = 8
"""Times a write that does not compare tries again before it gives the conflict back."""

# Tasks
TASK_NAME_CHARS_MAX: Final = 128
"""What its owner calls a task, and a text of its spec as short: they stand in lists and logs."""

SPEC_TEXT_CHARS_MAX: Final = 32 * 1024
"""A task file: twice what it may take packed, for its keys and comments."""

SPEC_BYTES_MAX: Final = 16 * 1024
"""A task spec: it travels in an award together with a checkpoint; long scripts are inputs."""

SPEC_VALUES_MAX: Final = 1024
"""Arguments, variables, inputs and peers of a spec: with a checkpoint they fit one message."""

TASK_RECORD_BYTES_MAX: Final = 256 * 1024
"""A stored task: spec, checkpoint, outputs and attempts, each at its own limit."""

KEPT_TASK_BYTES_MAX: Final = 168 * 1024
"""A task that another keeper brings: with the next checkpoint and list of outputs it still fits."""

COUNT_MAX: Final = 1 << 53
"""Fences, rounds, tries and times in a task that another keeper brings: one more fits a message."""

CHECKPOINT_BYTES_MAX: Final = 40 * 1024
"""A checkpoint's list of files: with the spec it fits the 64 KiB of an award."""

DATA_MAX: Final = 16
"""Datasets of one task: each is a mount and a descriptor of the shim's."""

PATTERNS_MAX: Final = 256
"""Patterns of outputs in one spec: each is tried on every name of the work folder."""

OUTPUTS_APART_MAX: Final = 32
"""Files and folders that become objects of their own; of more the task gives back one tree."""

OUTPUTS_MAX: Final = 256
"""Objects a task gives back at most; a folder is one, and so are many loose files together."""

MANIFEST_BYTES_MAX: Final = 48 * 1024
"""The list of a task's outputs: it travels in one signed result."""

TASK_MEMORY_BYTES_MIN: Final = 1024 * 1024
"""Nothing starts in less: who writes `--mem 4` means 4G, and would be told of a lack of memory."""

RETRIES_MAX: Final = 100
"""Times a failing task is tried again: beyond that somebody should look."""

TASKS_FINISHED_MAX: Final = 1000
"""Ended tasks (and their logs) a node remembers; the oldest go first."""

TASKS_FORGOTTEN_MAX: Final = 10_000
"""Of so many it is remembered that they are no more: who was away may still tell us of them."""

TASKS_MOVED_MAX: Final = 10_000
"""Tasks that go on at another machine of their owner, remembered: as many as may be open."""

TASKS_OPEN_MAX: Final = 10_000
"""Tasks of this node that have not ended: an auction each keeps the node busy for minutes."""

ATTEMPTS_KEPT_MAX: Final = 16
"""Attempts of a task kept for `explain`: the first and the newest ones."""

ROUNDS_KEPT_MAX: Final = 8
"""Auctions of a task kept for `explain`: the newest ones."""

REASON_CHARS_MAX: Final = 300
"""An explanation in a message or record: one line for a person."""

LOG_PAGE_BYTES: Final = 16 * 1024
"""Unit in which kept logs are stored: an append rewrites at most one page."""

LOG_HEAD_PAGES: Final = 1024
"""Kept from the beginning of each of the two streams: 16 MiB."""

LOG_TAIL_PAGES: Final = 1024
"""Kept from the end of each of the two streams: 16 MiB, so 64 MiB per task."""

LOGS_TOGETHER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Logs of ended tasks that go into the pool as one object: a sweep of small tasks is a few puts."""

LOG_OFFSET_MAX: Final = 1 << 53
"""A place in what one attempt printed, as others tell it: no log is so long."""

LOG_KEPT_BYTES_MAX: Final = 2 * (LOG_HEAD_PAGES + LOG_TAIL_PAGES) * LOG_PAGE_BYTES
"""Of both streams of one task."""

LOG_COPIES_BYTES_MAX: Final = 1024**3
"""Of logs that one machine keeps as a guardian; where it acts they come all the same."""

LOG_COPIES_PER_MEMBER_MAX: Final = 256 * 1024**2
"""Of those that one machine brought: four tasks that print without end, or thousands of others."""

LOG_PUSH_BYTES_MAX: Final = 256 * 1024
"""Piece of a log sent to the submitter at once: one body chunk."""

TASK_FILES_KEPT_MS: Final = 7 * 86_400_000
"""Checkpoints and inputs of a failed or cancelled task are kept so long: over a holiday week."""

INPUT_KEPT_MS: Final = 600_000
"""Inputs outlive the last task that used them by this: a loop over parameters stores them once."""

INPUT_UNUSED_MS: Final = 3_600_000
"""An input that no task has used is freed after this: its upload was for nothing."""

# Recovery
SNAPSHOT_BYTES_MAX: Final = 1024**3
"""A copy of a keyring: a million objects and ten thousand tasks stay far below it."""

MACHINES_PER_PERSON_MAX: Final = 64
"""Machines of a person with a copy: 200 bytes each, of the 32 KiB under the person's name."""

TAKEN_OVER_KEPT_MAX: Final = 64
"""Machines known to be taken over: one that is forgotten and returns writes a copy of its own."""

COPIES_WAITING_MAX: Final = 4
"""Copies of a keyring whose place could not be written: any of them may be there after all."""

OPENINGS_KEPT_MAX: Final = 32
"""Uses of a lab's key for somebody's phrase that are told: some 200 bytes each, in one name."""

# People
PEOPLE_MAX: Final = 1024
"""Users of one machine that may ever have been let in: their names stay taken."""

SEALING_KEYS_MAX: Final = 1024
"""Kept of those that opened a person's boxes; each start of the daemon makes a new one."""

# A task's network
NET_WORDS_MAX: Final = 32
"""Hosts and presets that a task asks for, and that an owner allows: they are in every advert."""

NET_LIST_CHARS_MAX: Final = 512
"""Of all that one key of the configuration allows: two of them leave an advert of 4 KiB room."""

NET_WORD_CHARS_MAX: Final = 261
"""A host name of 253 characters, what stands for all below it, and a port."""

# Market
CALLEES_MAX: Final = 32
"""Machines asked in one auction; 8 are enough (research: d = 8 waits 0.28 s at load 0.9)."""

HOLDS_MAX: Final = 256
"""Offers a machine may have open: at 3 s each, 85 auctions a second."""

WAITING_MAX: Final = 1024
"""Auctions a busy machine remembers, to offer itself when it becomes free."""

FENCES_MAX: Final = 10_000
"""Tasks whose newest fence a seller remembers after they ended; the oldest go first."""

PEERS_METERED_MAX: Final = 1024
"""Peers whose request rate is measured: as many as connections."""

GUARDED_MAX: Final = 30_000
"""Tasks one machine keeps for others and itself: at most a few KiB each."""

GUARDED_PER_SUBMITTER_MAX: Final = 10_000
"""Of one submitter: as many as it may have unfinished."""

GUARDED_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of all records of tasks that one machine keeps, as they came last."""

GUARDED_BYTES_PER_MEMBER_MAX: Final = 64 * 1024 * 1024
"""Of those that one machine brought: 10,000 tasks of 6 KiB."""

GUARDED_OVER_MAX: Final = 1_000
"""Ended tasks of one submitter that are kept until the pool has their ends: the oldest go first."""

GUARD_LINES_MAX: Final = 500
"""Tasks in one beat between keepers: it fits one frame."""

GUARD_RECORD_BYTES_MAX: Final = 384 * 1024
"""A kept task: its record, and who keeps it."""

KEPT_TOLD_BYTES: Final = 256 * 1024
"""Of kept tasks told at once to a machine that takes over; one that is longer alone."""

KEPT_TOLD_MAX: Final = 100
"""Of them at once: each is a signature to check, or several."""

KEPT_PAGE_BYTES_MAX: Final = GUARD_RECORD_BYTES_MAX + 1024
"""An answer with one that is as long as they may be."""

FIND_ASKED_MAX: Final = 64
"""Machines asked for a task of ours that is not here: its keepers are among the first of them."""

FIND_ASKED_AT_ONCE: Final = 16
"""Of them at once: silent ones hold up a quarter of the others for a moment only."""

LAB_REASON_CHARS_MAX: Final = 200
"""Why the lab's key acts, for the owner of what it ends: two lines on a screen."""

CARRIED_TO_ONE_AT_ONCE: Final = 4
"""Of them to one keeper: eight that do not answer hold up the others."""

CARRIED_AT_ONCE: Final = 32
"""Records on their way to other keepers: the rest waits, no longer than a beat."""

RIGHT_BYTES_MAX: Final = 12 * 1024
"""A right of a keeper: three links, and the certificates of its first signer (4 KiB at most)."""

KEEPERS_MAX: Final = 8
"""Keepers of one task: three, and three more while they change."""

RELIEVED_KEPT_MAX: Final = 4096
"""Tasks given back to their submitter that are remembered, so that late messages revive none."""

RELIEVED_EARLY_MAX: Final = 256
"""Of each of so many members: tasks that it calls over and that are not kept here. Their records
are at most on their way, 32 at once."""

EVENTS_BUFFERED_MAX: Final = 1024
"""Events waiting for one reader of the event stream: beyond that it is told of a gap."""

UNFIT_KEPT_MAX: Final = 64
"""Machines that could not run a task named in one auction's record: more nobody reads."""

AUCTIONS_CLOSED_MAX: Final = 1024
"""Awarded auctions whose winner is remembered, so that its late bids do not release its room."""
