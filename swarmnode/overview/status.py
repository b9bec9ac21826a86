"""What a node says about itself: read from its parts whenever somebody asks, never kept."""

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final, TypeVar

import msgspec
import trio

from p2p.errors import WireError
from p2p.gossip.items import RESOURCES, STORAGE, Item
from p2p.host.admission.book import AdmissionBook
from p2p.ids import PeerId, TrafficClass
from p2p.membership.view import COMPUTE, Liveness, Member
from p2p.membership.view import STORAGE as STORAGE_ROLE
from p2p.qos.scheduler import ClassStats
from p2p.wire.codec import decode_as
from storage.facade import ObjectHealth
from storage.placement.advert import StorageAdvert
from storage.service import StorageService, StorageStats
from swarmnode.api.schema.node import (
    API_VERSION,
    ComputeStatus,
    PeerLine,
    Status,
    StorageStatus,
)
from swarmnode.edges import Edges, Identity
from swarmnode.home import membership_end
from swarmnode.home.config import Config
from swarmnode.home.membership_end import of_us, removal_words
from swarmnode.market.service import MarketService
from swarmnode.overview.notices import NodeHealth
from swarmnode.overview.peers import carried_counters, peers_status
from swarmnode.overview.troubles import trouble_words
from swarmnode.recovery.finding import notes_of, returned_note
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.settings import lends_compute, lends_storage
from swarmnode.tasks.environments.naming import named_by_owner
from swarmnode.wiring.peers import Peers
from swarmnode.wiring.recovering import Recovering

AdvertT = TypeVar("AdvertT", ResourceAdvert, StorageAdvert)
STARTING: Final = "starting"
JOINING: Final = "joining"
READY: Final = "ready"
STOPPING: Final = "stopping"
REMOVED: Final = "removed"


@cache
def program_version() -> str:
    """The installed version, or `source` when run from a checkout without installation."""
    try:
        return version("swarmpool")
    except PackageNotFoundError:
        return "source"


class NodeProgress(msgspec.Struct):
    """How far a node has come: it and who runs it write this, and whoever tells of it reads."""

    began_s: float | None = None
    """When its parts began to start; None before."""
    runs: bool = False
    """All its parts have started; it stays so."""
    stops: bool = False
    """It has begun to end."""
    stopped: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set by whoever runs it, once `run` has returned."""


class StatusReader(msgspec.Struct):
    """Looks at one node."""

    config: Config
    edges: Edges
    identity: Identity
    peers: Peers
    storage: StorageService
    market: MarketService
    recovering: Recovering
    progress: NodeProgress
    told: str = ""
    """Why we are out, by the last refusal that said so, until somebody lets us in."""

    def state(self) -> str:
        """starting, joining, ready, removed or stopping."""
        if self.progress.stops:
            return STOPPING
        if not self.progress.runs:
            return STARTING
        if self._why_out():
            return REMOVED
        return JOINING if self._waits_for_others() else READY

    def _why_out(self) -> str:
        """Why this machine is out, by what is known here or by what whoever refused it said."""
        known = self.peers.register.out().get(self._me, "")
        if known or not self.progress.runs or not self._waits_for_others():
            self.told = ""
            return known
        told = (of_us(how) for _, _, how in self.peers.discovery.status.failures)
        self.told = next((how for how in told if how), self.told)
        return self.told

    def not_ready(self) -> tuple[str, ...]:
        """Why /readyz says no; empty when the node can serve."""
        state = self.state()
        if state == READY:
            return ()
        if state == REMOVED:
            return (removal_words(self._why_out()),)
        if state != JOINING:
            return (f"the node is {state}",)
        step = self.peers.discovery.status
        return ("no other member has answered yet", *_failure_lines(step.failures))

    @property
    def _me(self) -> PeerId:
        return self.edges.host.peer_id

    def _waits_for_others(self) -> bool:
        return self.peers.waits_for_others()

    def health(self) -> NodeHealth:
        """What is looked at every second, and nothing more than that."""
        return NodeHealth(
            state=self.state(),
            warnings=self._warnings(is_brief=True),
            join_failures=_failure_lines(self.peers.discovery.status.failures),
            members_alive=self._members()[Liveness.ALIVE],
        )

    def _members(self) -> dict[Liveness, int]:
        out = self.peers.register.out()
        members = [
            member for member in self.peers.membership.view().members if member.peer not in out
        ]
        return {
            liveness: sum(member.liveness is liveness for member in members)
            for liveness in Liveness
        }

    def status(self, person: str = "") -> Status:
        """Health first, then everything `swarmnode status` shows.

        To one of several people of this machine what they own is called theirs, and no more.
        """
        papers, began_s = self.edges.papers, self.progress.began_s
        count = self._members()
        joining, storage = self.peers.discovery.status, self.storage.stats()
        return Status(
            v=API_VERSION,
            state=self.state(),
            warnings=self._warnings(person),
            peer=self.edges.host.peer_id,
            name=self.identity.name,
            lab=self.identity.lab_name if papers is None else papers.me.lab_name,
            network=self.edges.network,
            version=program_version(),
            profile=self.config.node.profile,
            pid=os.getpid(),
            uptime_s=0.0 if began_s is None else round(trio.current_time() - began_s, 3),
            join_step=joining.step,
            join_failures=_failure_lines(joining.failures),
            members_alive=count[Liveness.ALIVE],
            members_suspect=count[Liveness.SUSPECT],
            members_dead=count[Liveness.DEAD],
            addresses=self.edges.host.addresses(),
            storage=self._storage(storage, person),
            compute=self._compute(),
            counters=self._counters(storage),
            valid_until_ms=0 if papers is None else papers.me.expires_ms,
            notes=() if person else self._notes(),
            peers=peers_status(self.edges.host, carries=self.config.network.relay),
        )

    def _notes(self) -> tuple[str, ...]:
        names = {member.peer: member.name for member in self.peers.membership.view().members}
        of_lab = () if self.recovering.by_lab is None else self.recovering.by_lab.notes()
        if self.recovering.own is None:
            return of_lab
        taken = self.recovering.own.taken_over
        returned = () if taken is None else (returned_note(taken, names),)
        return (*returned, *notes_of(self.recovering.own.waiting, names), *of_lab)

    def _warnings(self, person: str = "", *, is_brief: bool = False) -> tuple[str, ...]:
        """What is wrong; `is_brief`: without what changes while it goes on."""
        out = self.peers.register.out()
        warnings = [removal_words(why)] if (why := self._why_out()) else []
        if self.state() == JOINING:
            warnings.append("alone: no other member has answered yet")
        warnings += self._membership_warnings()
        warnings += standing_warnings(self.edges.book, self._me, out)
        trouble = self.edges.executor.trouble() if self.progress.runs else ""
        if trouble and lends_compute(self.config, self.identity):
            warnings.append(f"no task can run here: {trouble}")
        if self.progress.runs and self.market.trouble:
            warnings.append(self.market.trouble)
        if self.progress.runs:
            warnings += self._storage_warnings(person, is_brief=is_brief)
        if lends_storage(self.config, self.identity) and self.edges.shards.free_bytes() <= 0:
            warnings.append("no room for more shards: free disk space or raise storage.quota_gib")
        if self.recovering.own is not None and self.recovering.own.warning and not person:
            warnings.append(self.recovering.own.warning)
        return (*warnings, *self._copies())

    def _storage_warnings(self, person: str, *, is_brief: bool) -> list[str]:
        names = {member.peer: member.name for member in self.peers.membership.view().members}
        troubles, now_ms = self.storage.troubles(person), self.edges.wall_ms()
        words = trouble_words(troubles, now_ms, None if is_brief else names)
        return [*words, *self.storage.clock.words(names)]

    def _copies(self) -> tuple[str, ...]:
        """A line for each key with which two machines run."""
        me, view, warnings = self._me, self.peers.membership.view(), {}
        for peer, places in (
            *self.edges.host.copies().items(),
            *self.peers.membership.twins().items(),
        ):
            member = view.find(peer)
            at = f", at {' and '.join(places)}" if places else ""
            named = "this machine" if peer == me else (member.name if member else "") or peer
            warnings[peer] = (
                f"two nodes run with the key of {named} ({peer}){at}: a copied home? "
                "Stop one; let the copy join anew from an empty SWARM_HOME"
            )
        return tuple(warnings[peer] for peer in sorted(warnings))

    def _membership_warnings(self) -> list[str]:
        papers, renewal = self.edges.papers, self.peers.renewal
        if papers is None or renewal is None:
            return []
        now_ms = self.edges.wall_ms()
        ends = membership_end.warning(papers.token, papers.me, now_ms, renewal.trouble)
        barred = [
            f"the certificate of this machine does not let it offer {role}, so nobody asks it for "
            f"that: join again with --role {role}, or take it out of node.roles"
            for role in (COMPUTE, STORAGE_ROLE)
            if role in self.config.node.roles and role not in self.identity.roles
        ]
        return [*([ends] if ends else []), *barred]

    def _storage(self, stats: StorageStats, person: str) -> StorageStatus:
        degraded, unreadable = stats.own_degraded, stats.own_unreadable
        if person:
            own = [trouble.health for trouble in self.storage.troubles(person).own]
            degraded = own.count(ObjectHealth.DEGRADED)
            unreadable = own.count(ObjectHealth.UNREADABLE)
        return StorageStatus(
            used_bytes=stats.used_bytes,
            free_bytes=stats.free_bytes,
            cache_bytes=stats.cache.bytes,
            objects=stats.objects,
            repairs_done=stats.repair.repairs_done,
            bytes_repaired=stats.repair.bytes_repaired,
            kept_degraded=stats.repair.degraded,
            kept_unreadable=stats.repair.unreadable,
            own_degraded=degraded,
            own_unreadable=unreadable,
        )

    def _compute(self) -> ComputeStatus:
        stats = self.market.seller.lending.stats()
        limits = self.edges.executor.enforceable() if self.progress.runs else {}
        return ComputeStatus(
            enabled=lends_compute(self.config, self.identity),
            paused=stats.paused,
            cpu_millis=stats.capacity.cpu_millis,
            cpu_free_millis=stats.free.cpu_millis,
            memory_bytes=stats.capacity.memory_bytes,
            memory_free_bytes=stats.free.memory_bytes,
            gpus=tuple(gpu.model for gpu in stats.capacity.gpus),
            jobs_running=stats.jobs_running,
            environments=self.edges.executor.environments(),
            net=tuple(self.config.compute.net),
            net_others=tuple(self.config.compute.net_others),
            net_trouble=self.edges.executor.net_trouble() if self.progress.runs else "",
            not_enforced={limit.value: why for limit, why in limits.items() if why},
            image_trouble=self.edges.executor.image_trouble() if self.progress.runs else "",
            data=self.edges.executor.data_way() if self.progress.runs else ("", ""),
        )

    def _counters(self, storage: StorageStats) -> dict[str, int]:
        rpc = self.peers.rpc.stats()
        return {
            "storage_lies": storage.lies,
            "storage_degraded": storage.repair.degraded,
            "storage_unreadable": storage.repair.unreadable,
            "storage_own_degraded": storage.own_degraded,
            "storage_own_unreadable": storage.own_unreadable,
            "storage_repairs_failed": storage.repair.repairs_failed,
            "storage_surplus_dropped": storage.repair.dropped_surplus,
            "storage_swept_bytes": storage.swept_bytes,
            "membership_refused": self.peers.membership.refused,
            "membership_dropped": self.peers.membership.dropped,
            "rpc_casts_unknown": rpc.casts_unknown,
            "rpc_casts_dropped": rpc.casts_dropped,
            "keyring_behind": int(
                self.recovering.own is not None and self.recovering.own.is_behind
            ),
            **_traffic(self.edges.host.stats()),
            **carried_counters(self.edges.host),
            **self.market.buyer.counters,
        }

    def peer_lines(self) -> tuple[PeerLine, ...]:
        """Every member we know, with what it says it lends."""
        connected = frozenset(self.edges.host.peers())
        resources = self.peers.gossip.items(RESOURCES)
        stores = self.peers.gossip.items(STORAGE)
        return tuple(
            self._line(
                member,
                member.peer in connected,
                _said(ResourceAdvert, resources.get(member.peer)),
                _said(StorageAdvert, stores.get(member.peer)),
            )
            for member in self.peers.membership.view().members
        )

    def _line(
        self,
        member: Member,
        connected: bool,
        lent: ResourceAdvert | None,
        kept: StorageAdvert | None,
    ) -> PeerLine:
        rtt_s = self.edges.host.rtt_s(member.peer)
        return PeerLine(
            peer=member.peer,
            name=member.name,
            lab=member.lab,
            site=member.site,
            liveness=REMOVED if member.peer in self.peers.register.out() else _name(member),
            me=member.peer == self._me,
            connected=connected,
            rtt_ms=None if rtt_s is None else round(rtt_s * 1000, 3),
            addresses=member.addresses,
            cpu_free_millis=None if lent is None else lent.cpu_free_millis,
            memory_free_bytes=None if lent is None else lent.memory_free_bytes,
            gpus=() if lent is None else tuple(gpu.model for gpu in lent.gpus),
            storage_free_bytes=None if kept is None else kept.free_bytes,
            paused=lent is not None and lent.paused,
            lab_name=member.lab_name,
            relay=self.edges.host.relay_of(member.peer) or "",
            relays=member.relays,
            environments=() if lent is None else named_by_owner(lent.environments),
        )


def _name(member: Member) -> str:
    return member.liveness.name.lower()


def standing_warnings(book: AdmissionBook, me: PeerId, out: Mapping[PeerId, str]) -> list[str]:
    """What is wrong with our list of those out; and who came with an invite used before."""
    warnings = [trouble] if (trouble := book.trouble()) else []
    for peer, why in out.items():
        who = book.admitted(peer)
        if peer != me and who is not None and book.register.is_surplus(who):
            warnings.append(f"{who.person_name} ({who.name}) is kept out: {why}")
    return warnings


def _traffic(stats: tuple[ClassStats, ...]) -> dict[str, int]:
    """What was sent to peers and what was not, per class."""
    counters = {}
    for traffic_class, of_class in zip(TrafficClass, stats, strict=True):
        name = f"net_{traffic_class.name.lower()}"
        counters[f"{name}_sent_bytes"] = of_class.sent_bytes
        counters[f"{name}_sent_frames"] = of_class.sent_frames
        counters[f"{name}_dropped"] = of_class.dropped
        counters[f"{name}_expired"] = of_class.expired
    return counters


def _failure_lines(failures: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
    return tuple(f"{address}: {cause}: {detail}" for address, cause, detail in failures)


def _said(kind: type[AdvertT], item: Item | None) -> AdvertT | None:
    """An advert, or None where a newer peer says something this version cannot read."""
    try:
        return None if item is None else decode_as(kind, item.body)
    except WireError:
        return None
