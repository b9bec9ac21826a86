"""Files of /etc for a job with a network: how its names are looked up."""

from collections.abc import Mapping
from typing import Final

from swarmnode.executor.shim.net.space import ADDRESS

ETC_NET: Final[Mapping[str, bytes]] = {
    # A question waits for a node that is being restarted, which answers those that came before it;
    # one that was lost is repeated soon. There is no IPv6, so none asks for it.
    "resolv.conf": f"nameserver {ADDRESS}\noptions timeout:3 attempts:5 no-aaaa\n".encode(),
    "nsswitch.conf": b"hosts: files dns\nservices: files\n",
    "services": (
        b"ftp 21/tcp\nssh 22/tcp\nsmtp 25/tcp mail\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\n"
        b"https 443/tcp\nhttps 443/udp\npostgresql 5432/tcp\ngit 9418/tcp\n"
    ),
}
