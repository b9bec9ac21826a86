"""Where shards rest on this disk: volume files for the bulk, tables for what is small.

A *volume* is a file of at most 256 MiB to which shards are appended; the index in the tables is the
only truth about which exist, and is committed after the bytes are synced. What is freed is punched
out of the file, and a volume that is empty goes. `memory` is the same port over tables alone.
Cf. Haystack (Beaver et al., OSDI 2010).
"""
