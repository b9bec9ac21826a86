"""Prometheus text from one frozen status: fixed names, no label that a peer could choose."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from swarmnode.api.schema.node import Status

PREFIX = "swarm_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _StatusCollector(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        liveness = GaugeMetricFamily(
            PREFIX + "members", "Members by liveness, ourselves included.", labels=["liveness"]
        )
        liveness.add_metric(["alive"], status.members_alive)
        liveness.add_metric(["suspect"], status.members_suspect)
        liveness.add_metric(["dead"], status.members_dead)
        yield liveness
        for name, text, value in _gauges(status):
            yield GaugeMetricFamily(PREFIX + name, text, value=value)
        for name in sorted(status.counters):
            yield CounterMetricFamily(
                PREFIX + name, f"Events of kind {name} since the start.", status.counters[name]
            )


def _gauges(status: Status) -> tuple[tuple[str, str, float], ...]:
    storage, compute = status.storage, status.compute
    return (
        ("ready", "1 when the node can serve.", float(status.state == "ready")),
        ("uptime_seconds", "Seconds since the start.", status.uptime_s),
        ("peers_direct", "Peers connected directly.", status.peers.direct),
        ("peers_by_relay", "Peers connected by a relay.", status.peers.by_relay),
        ("relay_circuits_open", "Circuits carried for others now.", status.peers.circuits),
        ("storage_used_bytes", "Shard bytes on this machine.", storage.used_bytes),
        ("storage_free_bytes", "Shard bytes that still fit.", storage.free_bytes),
        ("cache_bytes", "Bytes in the hot cache.", storage.cache_bytes),
        ("cpu_free_millis", "Thousandths of a core not reserved.", compute.cpu_free_millis),
        ("memory_free_bytes", "Bytes not reserved by tasks.", compute.memory_free_bytes),
        ("jobs_running", "Tasks running here.", compute.jobs_running),
        ("paused", "1 while the owner has the machine.", float(compute.paused)),
    )


def render(status: Status) -> bytes:
    """The text exposition of one status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(status))
    return generate_latest(registry)
