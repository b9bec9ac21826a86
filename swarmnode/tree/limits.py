"""Every bound of trees and of kept folders, with its reason; of their names: swarmnode.limits."""

from typing import Final

from swarmnode.limits import TREE_ENTRIES_MAX

PATH_PARTS_MAX: Final = 64
"""Folders deep a file may lie and still be read or written by the node: each costs an open."""

FILE_NAME_BYTES_MAX: Final = 3072
"""A whole relative name: Linux refuses a path above 4096 bytes, and a work folder lies deep."""

PATTERN_CHARS_MAX: Final = 1024
"""A pattern of outputs: matching costs its length times that of every name."""

TREE_PAGE_ENTRIES_MAX: Final = 512
"""Names in a page of a tree's index: six values each stay below the 4,096 of a message."""

TREE_PAGE_BYTES_MAX: Final = 48 * 1024
"""A page is closed before it grows beyond this: with its longest name it stays below 64 KiB."""

TREE_LINKS_FOLLOWED_MAX: Final = 40
"""Links followed one after another: Linux gives up after as many."""

TREE_LINK_STEPS_MAX: Final = 4_000_000
"""Parts looked at to see where all links of a tree lead: two seconds at the very worst."""

OUTPUT_MATCHES_MAX: Final = 1_000_000
"""Names times patterns with wildcards: half a minute of a thread at worst; 100,000 times ten."""

TREE_INDEX_BYTES_MAX: Final = 32 * 1024 * 1024
"""All pages of one tree: names of 300 bytes on average, held in memory."""

FOLDER_PACKS_MAX: Final = 1024
"""Packs of one folder: their addresses stand in its row of the keyring, which has 64 KiB."""

FOLDER_REPEATED_BYTES_MAX: Final = 8 * 1024**3
"""Contents that lie in the packs once and in the folder several times, all but the first: an index
of some bytes must not fill a disk."""

FOLDER_NAMES_BYTES_MAX: Final = TREE_INDEX_BYTES_MAX + 32 * TREE_ENTRIES_MAX + 1024
"""Names and hashes of a folder on their way to the node: a tree's index, and 32 bytes a file."""
