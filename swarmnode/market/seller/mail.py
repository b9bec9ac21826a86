"""What buyers say to this machine, checked before the core hears of it, and results for them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from p2p.errors import RefusalError, WireError
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.mesh import Mesh
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed, open_signed, seal
from storage.records.names.messages import GRANT_DOMAIN, NameGrant
from swarmnode.market.guardians.messages import CLAIM_DOMAIN, Claim, ClaimTerms
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    CallForBids,
    Release,
)
from swarmnode.market.seller import events as e
from swarmnode.market.seller.jobs import Jobs
from swarmnode.tasks.choices import JobSignal
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    AskFiles,
    CancelJob,
    FilesTold,
    GiveSignal,
    Query,
    ReceiptTerms,
    Renew,
    Result,
    ResultReceipt,
    ResultTerms,
    SignalGiven,
)
from swarmnode.tasks.records import JobRecord

RecordT = TypeVar("RecordT", bound=Record)


class BuyerMail:
    """Opens what is sealed, throws out what is forged or late, and seals results."""

    def __init__(
        self,
        mesh: Mesh,
        jobs: Jobs,
        post: Callable[[e.Event], None],
        is_full: Callable[[], bool],
        files_of: Callable[[JobRecord], Awaitable[FilesTold]],
        signal: Callable[[JobRecord, JobSignal], bool],
        keep_s: float,
    ) -> None:
        """`post` hands the core an event; `is_full`: nothing is taken on; `files_of` stores what a
        job has of its outputs; a result waits `keep_s` for its buyer."""
        self._rpc, self._signer, self._network = mesh.rpc, mesh.signer, mesh.network
        self._wall_ms, self._jobs, self._post = mesh.wall_ms, jobs, post
        self._is_full, self._files_of, self._keep_s = is_full, files_of, keep_s
        self._signal = signal
        self._listen()

    def _listen(self) -> None:
        rpc = self._rpc
        rpc.listen(CallForBids, self._on_call)
        rpc.listen(Award, self._on_award)
        rpc.listen(Release, self._on_release)
        rpc.listen(ResultReceipt, self._on_receipt)
        rpc.listen(Claim, self._on_claim)
        rpc.listen(Renew, self._on_job_message)
        rpc.listen(Query, self._on_job_message)
        rpc.listen(CancelJob, self._on_job_message)
        rpc.serve(AskFiles, self._on_ask_files)
        rpc.serve(GiveSignal, self._on_give_signal)

    def send_result(self, record: JobRecord) -> None:
        """To whoever acts for the task, of a job that has ended."""
        assert record.outcome is not None
        terms = ResultTerms(
            record.task, record.fence, record.buyer, record.outcome, record.checkpoint
        )
        expires_ms = self._wall_ms() + int(self._keep_s * 1000)
        sealed = seal(
            self._signer,
            self._network,
            RESULT_DOMAIN,
            terms,
            sequence=record.fence,
            expires_ms=expires_ms,
        )
        self._rpc.cast(record.buyer, Result(sealed))

    def _on_call(self, caller: Caller, call: CallForBids) -> None:
        if self._is_full():
            self._rpc.cast(caller.peer, _no_room(call))
            return
        is_ours = caller.is_me or caller.lab == self._rpc.me.lab
        is_owner = caller.is_me or caller.person == self._rpc.me.person
        self._post(e.CallHeard(caller.peer, caller.lab, is_ours, call, is_owner))

    def _on_release(self, caller: Caller, message: Release) -> None:
        self._post(e.ReleaseHeard(caller.peer, message.auction))

    def _on_award(self, caller: Caller, message: Award) -> None:
        terms = self._opened(caller.peer, AWARD_DOMAIN, AwardTerms, message.sealed)
        if terms is not None:
            self._check_grant(terms)
            self._post(e.AwardHeard(caller.peer, terms))

    def _on_receipt(self, caller: Caller, message: ResultReceipt) -> None:
        terms = self._opened(caller.peer, RECEIPT_DOMAIN, ReceiptTerms, message.sealed)
        if terms is not None and terms.seller == self._rpc.peer_id:
            self._post(e.ReceiptHeard(caller.peer, terms))

    def _on_claim(self, caller: Caller, message: Claim) -> None:
        sealed = message.sealed
        terms = open_signed(self._signer, self._network, CLAIM_DOMAIN, ClaimTerms, sealed)
        if task_id_of(sealed.sender) != terms.task or terms.machine != caller.peer:
            raise WireError(f"{caller.peer} claims what it was not given")
        if sealed.expires_ms + CLOCK_SKEW_MAX_MS >= self._wall_ms():
            self._post(e.ClaimHeard(caller.peer, terms))

    def _on_job_message(self, caller: Caller, message: Renew | Query | CancelJob) -> None:
        self._post(e.JobHeard(caller.peer, message))

    async def _on_ask_files(
        self, caller: Caller, asked: AskFiles, _body: bytes
    ) -> tuple[FilesTold, bytes]:
        return await self._files_of(self._running(caller, asked)), b""

    async def _on_give_signal(
        self, caller: Caller, asked: GiveSignal, _body: bytes
    ) -> tuple[SignalGiven, bytes]:
        await trio.lowlevel.checkpoint()
        record = self._running(caller, asked)
        known = asked.signal in JobSignal.__members__
        if not known or not self._signal(record, JobSignal(asked.signal)):
            raise RefusalError("unknown", "no such signal, or the attempt has just ended")
        return SignalGiven(), b""

    def _running(self, caller: Caller, asked: AskFiles | GiveSignal) -> JobRecord:
        """The job of an attempt that the caller acts for. Raises RefusalError."""
        record = self._jobs.find(asked.task, asked.fence)
        if record is None or record.buyer != caller.peer or record.state is not JobState.RUNNING:
            raise RefusalError("unknown", "that attempt does not run here")
        return record

    def _opened(
        self, peer: PeerId, domain: str, kind: type[RecordT], sealed: Signed
    ) -> RecordT | None:
        """The terms; None when they are late. A forgery ends the connection by WireError."""
        if sealed.sender != peer:
            raise WireError(f"{peer} sends what {sealed.sender} signed")
        terms = open_signed(self._signer, self._network, domain, kind, sealed)
        return terms if sealed.expires_ms + CLOCK_SKEW_MAX_MS >= self._wall_ms() else None

    def _check_grant(self, terms: AwardTerms) -> None:
        """Raises WireError for a grant that the task's own key did not sign for this award."""
        sealed = terms.names_grant
        if sealed is None:
            return
        grant = open_signed(self._signer, self._network, GRANT_DOMAIN, NameGrant, sealed)
        if task_id_of(sealed.sender) != terms.task:
            raise WireError(f"{sealed.sender} is not the key of task {terms.task}")
        if (grant.machine, grant.fence) != (terms.seller, terms.fence):
            raise WireError("an award with a grant for another attempt")


def _no_room(call: CallForBids) -> Bid:
    words = "no room: the disk of this machine is full"
    return Bid(call.auction, 0, BidKind.REFUSED, reason="disk", detail=words)
