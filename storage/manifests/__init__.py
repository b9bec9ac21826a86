"""What an object is made of, and the capability that lets somebody read it.

The *manifest* names the segments of an object and the roots of their shards; the hash of it is the
object's *address*, so nobody can change what an address means. A *capability* is the address with
the key: whoever has it can read, and nobody else. Long manifests are cut into *pages*.
Cf. Tahoe-LAFS (Wilcox-O'Hearn, Warner, StorageSS 2008).
"""
