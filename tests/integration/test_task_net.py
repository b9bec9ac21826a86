"""Programs of tasks talk to whom they may, as they would anywhere, and to nobody else."""

import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from shutil import which

import pytest
import trio
import trio.testing

from swarmnode import reach
from swarmnode.executor.network.core import SocketPlace
from swarmnode.executor.network.limits import LOOKUPS_MAX
from swarmnode.executor.network.resolver import TableResolver
from swarmnode.executor.shim.net import space
from tests.job_lab import needs_bwrap, needs_python
from tests.net_lab import JOB, TALK, Authority, begin, echo, end, net_node, said_so_far

pytestmark = [needs_bwrap, needs_python]

HERE = "127.0.0.1"
NAMES = [
    "pypi.org", "files.pythonhosted.org", "huggingface.co", "cdn-lfs.huggingface.co",
    "cas-bridge.xethub.hf.co", "api.wandb.ai", "storage.googleapis.com", "github.com",
    "codeload.github.com", "raw.githubusercontent.com", "github-cloud.s3.amazonaws.com",
    "download.pytorch.org", "download-r2.pytorch.org", "example.org",
]  # fmt: skip
FETCH = """
import ssl, sys, urllib.request
trusted = ssl.create_default_context(cafile="ca.pem")
for name in sys.argv[1:]:
    try: print(name, urllib.request.urlopen(f"https://{name}/", context=trusted).read().decode())
    except OSError as exc: print(name, "no")
"""


async def _serve_http(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """Answers with the name that it was asked under."""
    try:
        head = b""
        while b"\r\n\r\n" not in head and (piece := await stream.receive_some()):
            head += piece
        host = head.split(b"Host: ")[1].split(b"\r\n")[0]
        length = str(len(host)).encode()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + host)
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize("preset", reach.PRESETS)
async def test_a_preset_reaches_its_hosts_by_tls_from_end_to_end_and_no_others(
    tmp_path: Path, preset: str
) -> None:
    authority = Authority(tmp_path, NAMES)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, _serve_http, 0, authority.context, host=HERE)
        (listener,) = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        resolver = TableResolver({name: [HERE] for name in NAMES}, {443: port})
        async with net_node(tmp_path / "x", resolver, NAMES) as node:
            await node.prepare(JOB)
            await node.put_file(JOB, "ca.pem", _pieces(authority.pem.read_bytes()))
            await begin(node, FETCH, *NAMES, net=[preset])
            code, out, err = await end(node)
        nursery.cancel_scope.cancel()
    may = [name for name in NAMES if reach.allows([preset], name, 443)]
    assert code == 0, err
    assert may
    said = dict(line.split() for line in out.splitlines())
    assert said == {name: name if name in may else "no" for name in NAMES}
    assert "refused: example.org:443; this task may reach" in err
    assert f"(--net {preset},example.org)" in err


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_ends_and_resets_are_the_servers_and_what_passed_is_counted(tmp_path: Path) -> None:
    """A half of an end, a reset, a server that is not there: each as a program would see it."""
    script = TALK + (
        "port, reset, gone = map(int, sys.argv[1:])\n"
        "def code(p):\n"
        "    try: return talk('a.example', p)\n"
        "    except OSError as exc: return errno.errorcode[exc.errno]\n"
        "print(talk('a.example', port, b'x' * 300000) == b'x' * 300000, code(reset), code(gone))\n"
        "with socket.create_connection(('a.example', port)) as s:\n"
        "    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0' + bytes(4))\n"
    )

    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server((HERE, 0)) as nobody:
        gone = nobody.getsockname()[1]
    async with trio.open_nursery() as nursery:
        (one,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HERE))
        (two,) = await nursery.start(partial(trio.serve_tcp, reset, 0, host=HERE))
        ports = [str(one.socket.getsockname()[1]), str(two.socket.getsockname()[1]), str(gone)]
        async with net_node(
            tmp_path / "x", TableResolver({"a.example": [HERE]}), ["a.example"]
        ) as x:
            await begin(x, script, *ports, net=["internet"])
            code, out, err = await end(x)
            (view,) = x.jobs()
        nursery.cancel_scope.cancel()
    assert (code, out) == (0, "True ECONNRESET ECONNRESET\n")
    assert f"swarm: cannot reach a.example:{gone}: Connection refused" in err
    assert 300_000 <= view.net_up_bytes < 301_000
    assert view.net_down_bytes == 300_000


async def test_a_task_goes_on_talking_under_the_next_node(tmp_path: Path) -> None:
    """While there is none a connection waits; names that were looked up before mean the same."""
    script = TALK + (
        "port = int(sys.argv[1])\n"
        "b = socket.gethostbyname('b.example'); a = socket.gethostbyname('a.example')\n"
        "print(talk(a, port), 'first', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "print('waiting', flush=True)\n"
        "print(talk(a, port), talk('a.example', port), socket.gethostbyname('b.example') == b)\n"
    )
    resolver = TableResolver({"a.example": [HERE]})
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HERE))
        port = listener.socket.getsockname()[1]
        async with net_node(tmp_path / "x", resolver, ["a.example"]) as first:
            await begin(first, script, str(port), net=[f"a.example:{port}"])
            await said_so_far(first, "first")
            await first.put_file(JOB, "go", _pieces(b""))
            await said_so_far(first, "waiting")
        async with net_node(tmp_path / "x", resolver, ["a.example"]) as second:
            assert (await end(second))[:2] == (
                0,
                "b'hello' first\nwaiting\nb'hello' b'hello' True\n",
            )
            (view,) = second.jobs()
            assert view.net_up_bytes == 15
        nursery.cancel_scope.cancel()


KILLED = """
import sys, trio
from pathlib import Path
from swarmnode.executor.network.resolver import TableResolver
from tests.net_lab import begin, net_node, said_so_far

async def main(folder, port, script):
    resolver = TableResolver({"a.example": ["127.0.0.1"]})
    async with net_node(Path(folder), resolver, ["a.example"]) as node:
        await begin(node, script, port, net=["internet"])
        await said_so_far(node, "first")
        print("first", flush=True)
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


def _started(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_a_killed_node_is_a_reset_and_the_next_one_goes_on(tmp_path: Path) -> None:
    script = TALK + (
        "s = socket.create_connection(('a.example', int(sys.argv[1])))\n"
        "s.sendall(b'x'); s.recv(1); print('first', flush=True)\n"
        "try: print('an end', s.recv(1))\n"
        "except OSError as exc: print(errno.errorcode[exc.errno])\n"
        "print(talk('a.example', int(sys.argv[1])))\n"
    )
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HERE))
        port = listener.socket.getsockname()[1]
        command = [sys.executable, "-c", KILLED, str(tmp_path / "x"), str(port), script]
        killed = _started(command)
        assert killed.stdout is not None
        said = await trio.to_thread.run_sync(killed.stdout.readline)
        killed.kill()
        killed.communicate()
        if said != "first\n":
            pytest.skip("no task has a network here")
        resolver = TableResolver({"a.example": [HERE]})
        async with net_node(tmp_path / "x", resolver, ["a.example"]) as node:
            assert (await end(node))[:2] == (0, "first\nECONNRESET\nb'hello'\n")
        nursery.cancel_scope.cancel()


async def test_the_address_that_was_checked_is_the_one_that_is_dialled(tmp_path: Path) -> None:
    """A name that leads elsewhere the next time is looked at anew, once for each connection."""

    class Rebinding(TableResolver):
        async def places(self, host: str, port: int) -> Sequence[SocketPlace]:
            found = await super().places(host, port)
            self.table[host] = ["127.0.0.2"]
            return found

    script = TALK + (
        "port = int(sys.argv[1])\n"
        "print(talk('a.example', port))\n"
        "try: print(talk('a.example', port))\n"
        "except OSError as exc: print(errno.errorcode[exc.errno])\n"
    )
    resolver = Rebinding({"a.example": [HERE]})
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="0.0.0.0"))
        port = listener.socket.getsockname()[1]
        async with net_node(tmp_path / "x", resolver, [f"{HERE}:{port}"]) as node:
            await begin(node, script, str(port), net=["internet"])
            code, out, err = await end(node)
        nursery.cancel_scope.cancel()
    assert (code, out) == (0, "b'hello'\nECONNRESET\n")
    assert resolver.asked == ["a.example"] * 2
    assert "has the address 127.0.0.2, on the inside" in err


async def test_two_tasks_do_not_see_each_other(tmp_path: Path) -> None:
    script = TALK + (
        "l = socket.create_server(('0.0.0.0', 8000)); u = socket.socket(socket.AF_UNIX)\n"
        "u.bind(b'\\0swarm-test'); u.listen(); open('ready', 'w').close()\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    other = TALK + (
        "def code(*what):\n"
        "    s = socket.socket(what[0]); s.settimeout(5)\n"
        "    try: s.connect(what[1]); s.sendall(b'x'); s.recv(1)\n"
        "    except OSError as exc: return errno.errorcode[exc.errno]\n"
        "    return 'reached'\n"
        "print(code(2, ('127.0.0.1', 8000)), code(2, ('10.77.0.1', 8000)),\n"
        "      code(2, ('10.77.0.2', 8000)), code(1, b'\\0swarm-test'))\n"
    )
    async with (
        net_node(tmp_path / "a", TableResolver({})) as one,
        net_node(tmp_path / "b", TableResolver({})) as two,
    ):
        await begin(one, script, net=["internet"])
        await said_so_far(one, "up")
        await begin(two, other, net=["internet"])
        assert (await end(two))[1].split() == ["ECONNREFUSED"] * 2 + ["ECONNRESET", "ECONNREFUSED"]
        await one.stop(JOB, 0)


@pytest.mark.skipif(which("nft") is None, reason="nft is missing: apt install nftables")
def test_the_rules_are_what_nft_reads_them_to_be() -> None:
    script = (
        "import os, subprocess\n"
        "from swarmnode.executor.shim.net import space\n"
        "listener, *_ = space.make(is_root=os.geteuid() == 0)\n"
        "print(listener.getsockname()[1])\n"
        "if os.geteuid() == 0: subprocess.run(['nft', 'list', 'ruleset'])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    if said.returncode:
        pytest.skip(said.stderr.splitlines()[-1])
    port, _, rules = said.stdout.partition("\n")
    if not rules:
        pytest.skip("needs root: nft in a namespace of a plain user's has no rights")
    assert [line.strip() for line in rules.splitlines() if line.strip(" \t}")] == [
        "table ip swarm {",
        "chain bound {",
        "type filter hook output priority raw; policy accept;",
        "meta l4proto != tcp notrack",
        "ip daddr 127.0.0.0/8 notrack accept",
        f"ip saddr {space.ADDRESS} ip daddr {space.ADDRESS} notrack accept",
        "tcp flags syn / syn,ack limit rate over 1000/second burst 4000 packets drop",
        "chain out {",
        "type nat hook output priority -100; policy accept;",
        f"ip daddr != 127.0.0.0/8 ip daddr != {space.ADDRESS} meta l4proto tcp redirect to :{port}",
    ]


async def test_a_task_without_a_network_has_none(tmp_path: Path) -> None:
    script = TALK + (
        "try: talk('10.77.0.1', 53)\n"
        "except OSError as exc: print(errno.errorcode[exc.errno])\n"
        "print(os.path.exists('/etc/resolv.conf'))\n"
    )
    async with net_node(tmp_path / "x", TableResolver({})) as node:
        await begin(node, script, net=[])
        assert (await end(node))[:2] == (0, "ENETUNREACH\nFalse\n")


class _Silent:
    """A resolver whose name servers do not answer before `answered`."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.asked = self.now = self.most = 0

    async def places(self, _host: str, _port: int) -> Sequence[SocketPlace]:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await self.answered.wait()
        self.now -= 1
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_one_task_does_not_take_all_that_look_up_names(tmp_path: Path) -> None:
    """They are threads of the node: others would find no host any more."""
    script = """
import socket
held = [socket.create_connection((f"h{number}.org", 80), 20) for number in range(40)]
print("all wait", flush=True)
for one in held:
    try: one.recv(1)
    except OSError: pass
"""
    resolver = _Silent()
    async with net_node(tmp_path, resolver) as node:
        await begin(node, script, net=["internet"])
        await said_so_far(node, "all wait")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (resolver.asked, resolver.most) == (LOOKUPS_MAX, LOOKUPS_MAX)
        resolver.answered.set()
        assert (await end(node))[0] == 0
    assert resolver.asked == 40
