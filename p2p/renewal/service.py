"""Renews our certificates in time, and signs those of others where a key for that lies here."""

from collections.abc import Callable
from typing import Final

import trio

from p2p.buckets import Buckets
from p2p.errors import (
    AdmissionError,
    CallTimeoutError,
    IdentityError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
    WireError,
)
from p2p.host.admission.book import AdmissionBook
from p2p.host.port import Host
from p2p.host.rpc.service import Rpc
from p2p.identity.admission import Admitted, Clocks, check_token
from p2p.identity.caller import Caller
from p2p.identity.issue import Keys
from p2p.identity.papers import Papers
from p2p.identity.records import MembershipToken, decode_token, encode_token
from p2p.identity.renew import Applicant, Renewer, complete, half_life_ms, renew_own
from p2p.ids import PeerId, TrafficClass
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.renewal.limits import (
    ASK_EVERY_S_MAX,
    ASK_EVERY_S_MIN,
    ASK_S,
    ASKED_MAX,
    ASKS_PER_LIFE,
    SERVED_BURST,
    SERVED_PER_S,
)
from p2p.renewal.messages import Renewed, RenewRequest, TokenShown
from p2p.wire.envelope import Signer

_NOT_NOW: Final = (CallTimeoutError, PeerUnreachableError, RemoteRefusalError)

_NOBODY_SIGNS: Final = (
    "no machine that answers holds a key that may sign: the lab's, of whoever invited, or of "
    "this person"
)


class RenewalService:
    """One node's part in keeping everybody's certificates alive."""

    def __init__(
        self,
        papers: Papers,
        book: AdmissionBook,
        rpc: Rpc,
        host: Host,
        signer: Signer,
        *,
        wall_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._papers, self._book, self._rpc, self._host = papers, book, rpc, host
        self._signer, self._wall_ms, self._entropy = signer, wall_ms, entropy
        self._buckets = Buckets(SERVED_BURST, SERVED_PER_S)
        """How many requests and shown tokens of each peer are still looked at."""
        self.trouble = ""
        """Why the last try failed; empty when none was needed or it did not."""
        rpc.serve(RenewRequest, self._on_request)
        rpc.listen(TokenShown, self._on_token)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Renew in time until cancelled."""
        task_status.started()
        while True:
            if self._wall_ms() >= half_life_ms(self._papers.token):
                await self._renew()
            await trio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        token = self._papers.token
        first = min(token.certificates, key=lambda cert: cert.expires_ms)
        share_s = (first.expires_ms - first.sequence) / 1000 / ASKS_PER_LIFE
        return min(max(share_s, ASK_EVERY_S_MIN), ASK_EVERY_S_MAX)

    # -- ours

    async def _renew(self) -> None:
        if self._would_misdate():
            self.trouble = "this machine's clock differs from most others': set it"
            return
        try:
            token = await self._renewed()
            if token is not None:
                self.adopt(token)
        except (IdentityError, AdmissionError) as exc:
            self.trouble = str(exc)
        else:
            self.trouble = _NOBODY_SIGNS if token is None else ""

    async def _renewed(self) -> MembershipToken | None:
        """By a key that lies here, or by who answers; None where neither can."""
        keys = self._papers.keys()
        old = Applicant(self._papers.token, self._papers.me, keys.lab is not None)
        token = renew_own(self._papers.anchor, old, keys, self._wall_ms(), self._entropy)
        return await self._ask(old) if token is None else token

    def adopt(self, token: MembershipToken) -> None:
        """Keep and show these certificates of ours. Raises AdmissionError, IdentityError."""
        self._papers.replace(token)
        shown = TokenShown(encode_token(token))
        for peer in self._host.peers():
            self._rpc.cast(peer, shown)

    async def _ask(self, old: Applicant) -> MembershipToken | None:
        """Ask those who may hold a key, one after another."""
        request = RenewRequest(encode_token(old.token), old.lab_key)
        for peer in self._likeliest(old)[:ASKED_MAX]:
            try:
                reply, _ = await self._rpc.call(
                    peer, request, Renewed, traffic_class=TrafficClass.CONTROL, timeout_s=ASK_S
                )
            except _NOT_NOW:
                continue
            keys, now_ms = self._papers.keys(), self._wall_ms()
            token = complete(reply.certificates, old, self._papers.anchor, keys, now_ms)
            if token is not None:
                return token
        return None

    def _likeliest(self, old: Applicant) -> list[PeerId]:
        """Machines of this person, of the inviter, of the lab, then others."""
        places = {old.who.person: 0, old.inviter: 1}

        def place(peer: PeerId) -> tuple[int, str]:
            who = self._book.admitted(peer)
            if who is None:
                return 4, peer
            return places.get(who.person, 2 if who.lab == old.who.lab else 3), peer

        return sorted(self._host.peers(), key=place)

    def _would_misdate(self) -> bool:
        return self._book.would_misdate(self._host.peers())

    # -- those of others

    async def _on_request(
        self, caller: Caller, request: RenewRequest, body: bytes
    ) -> tuple[Renewed, bytes]:
        await trio.lowlevel.checkpoint()
        if not self._buckets.take(caller.peer, 1, trio.current_time()):
            raise RefusalError("busy", "ask again in a second")
        keys = self._signing_keys()
        old = self._applicant(caller.peer, request.token, is_with_lab=request.lab_key)
        self._check_due(old)
        papers = self._papers
        renewer = Renewer(papers.anchor, papers.token, papers.me, keys)
        certificates = renewer.renew(old, self._wall_ms(), self._entropy)
        if not certificates:
            raise RefusalError("no-key", "no key that may sign that lies here")
        return Renewed(certificates), b""

    def _check_due(self, old: Applicant) -> None:
        """Raises RefusalError when it is too early, or we cannot say what time it is."""
        if self._wall_ms() + CLOCK_SKEW_MAX_MS < half_life_ms(old.token):
            raise RefusalError("early", "certificates are renewed from half of their life")
        if self._would_misdate():
            raise RefusalError("clock", "this machine's clock is wrong")

    def _signing_keys(self) -> Keys:
        """Raises RefusalError where none lies here that signs for others."""
        try:
            keys = self._papers.keys()
        except IdentityError as exc:
            raise RefusalError("no-key", "no key can be read here") from exc
        if keys.person is None and keys.lab is None and keys.network is None:
            raise RefusalError("no-key", "no key that signs lies here")
        return keys

    def _applicant(self, peer: PeerId, token: bytes, *, is_with_lab: bool) -> Applicant:
        """Raises RefusalError unless the peer is who it says, and is not out."""
        try:
            shown = decode_token(token)
            who = self._checked(peer, shown)
        except WireError as exc:
            raise RefusalError("malformed", str(exc)) from exc
        except AdmissionError as exc:
            raise RefusalError("out", exc.detail) from exc
        return Applicant(shown, who, is_with_lab)

    def _checked(self, peer: PeerId, token: MembershipToken) -> Admitted:
        """Raises AdmissionError."""
        clocks = Clocks(self._wall_ms())
        revoked = self._book.revoked()
        who = check_token(token, peer, self._papers.anchor, self._signer, clocks, revoked)
        why = self._book.register.why_out(who)
        if why is not None:
            raise why
        return who

    def _on_token(self, caller: Caller, message: TokenShown) -> None:
        before = self._book.admitted(caller.peer)
        if before is None or not self._buckets.take(caller.peer, 1, trio.current_time()):
            return
        try:
            who = self._checked(caller.peer, decode_token(message.token))
        except (WireError, AdmissionError):
            return  # the connection ends with what was shown before
        if (who.lab, who.person) == (before.lab, before.person):
            self._book.renew(who)
