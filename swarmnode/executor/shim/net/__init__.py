"""A task's own network: a namespace in which every way out is one listening socket.

The namespace has a loopback device and nothing else. Whatever is not its own is declared local by
a route, and one rule of nf_tables redirects each TCP connection to a listener that was made in
there. The shim keeps that listener, and the sockets of DNS, for as long as the job lives; a node is
handed copies of them and decides, for each connection, whether it is made in earnest and to whom.
No packet ever leaves. Shim-side: the standard library only, and little of it.
Sources: slirp4netns and pasta (the idea); https://wiki.nftables.org, netlink(7), rtnetlink(7).
"""
