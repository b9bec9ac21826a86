"""What the log says of a node's health."""

import logging

from msgspec.structs import replace

from swarmnode.overview.notices import NodeHealth, Notices


def test_each_change_is_told_once_and_again_when_it_comes_back() -> None:
    plain, notices = NodeHealth("ready", (), (), members_alive=3), Notices()
    failing = replace(
        plain,
        state="joining",
        warnings=("alone",),
        join_failures=("/ip4/192.0.2.1/tcp/1: port: refused",),
    )
    told = [
        (logging.WARNING, "alone"),
        (logging.WARNING, "cannot join through /ip4/192.0.2.1/tcp/1: port: refused"),
    ]
    began = replace(failing, join_failures=())
    assert notices.changed(began) == []
    assert notices.changed(failing) == told
    assert notices.changed(failing) == []
    assert notices.changed(plain) == [(logging.INFO, "ready: 3 members alive")]
    assert notices.changed(plain) == []
    assert notices.changed(failing) == told
