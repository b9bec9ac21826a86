"""Folders in the pool: put so that nothing of them is sent twice, and read whatever their form.

A small folder is one object, a tree. Of a larger one the files lie in *packs*, objects that other
folders of the same person may refer to, and the object that is named is its *index*
(swarmnode.tree.folder): to put a folder again of which little has changed costs an index and what
is new. `reading` turns any of these into the one stream that all who unpack folders understand, so
nobody else knows of packs; `bases` finds earlier folders to refer to, `writing` puts a new one.
Cf. restic and git, which keep contents in packs as well.
"""
