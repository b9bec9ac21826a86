"""A network of namespaces on one machine whose packets pass through a router of ours.

    process in h1 -> TUN -> Router -> Pipe (loss, queue, rate, delay, jitter) -> TUN -> h2

No netem is needed: root and /dev/net/tun are. `python -m bench emulator` measures the error: half
a per cent of delay and rate from 5 ms and up to 100 Mbit/s, besides half a millisecond of its own.
"""
