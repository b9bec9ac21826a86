"""What an earlier version left and says: a state folder and a peer of before the house was put in
order (commit 0ef8e4f) work with the program of today.

`homes.tar.xz`: the homes of three nodes of one person, as they were when their daemons had ended;
`homes.json`: what was in them, and when. The keys in them are of a network that was made for this.
`messages.json`: messages of every number, in base64, as that version wrote them.
"""
