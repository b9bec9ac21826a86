"""Bounds of folders as they are kept, each with its reason; those of trees: swarmnode.limits."""

from typing import Final

from swarmnode.limits import TREE_ENTRIES_MAX, TREE_INDEX_BYTES_MAX

FOLDER_PACKS_MAX: Final = 1024
"""Packs of one folder: their addresses stand in its row of the keyring, which has 64 KiB."""

FOLDER_REPEATED_BYTES_MAX: Final = 8 * 1024**3
"""Contents that lie in the packs once and in the folder several times, all but the first: an index
of some bytes must not fill a disk."""

FOLDER_NAMES_BYTES_MAX: Final = TREE_INDEX_BYTES_MAX + 32 * TREE_ENTRIES_MAX + 1024
"""Names and hashes of a folder on their way to the node: a tree's index, and 32 bytes a file."""
