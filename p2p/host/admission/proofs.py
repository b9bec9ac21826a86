"""Who machines are of whom others tell: by the tokens that came along, or by the book.

A token is checked once, as at the door: signatures, times, removals. What was found is remembered,
as a machine shows the same token in every presence until its membership is renewed.
"""

from hashlib import blake2b
from typing import Final

from p2p.errors import AdmissionError, WireError
from p2p.host.admission.book import ids_of
from p2p.host.admission.exchange import TokenAdmission
from p2p.identity.admission import Admitted, Clocks, check_token
from p2p.identity.caller import Caller, caller_of
from p2p.identity.records import decode_token, encode_token
from p2p.ids import PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS, PROOFS_KEPT_MAX

_NOT_NOW: Final = frozenset({"expired", "clock", "revoked", "used"})
"""What may be wrong with a token that was good, or will be by another's clock."""


class TokenProofs:
    """Satisfies p2p.identity.proofs.Proofs."""

    def __init__(self, admission: TokenAdmission) -> None:
        self._admission = admission
        self._known: dict[bytes, Admitted] = {}
        """Tokens that were good, by a hash of peer and token; the one used last at the end."""

    def token(self) -> bytes:
        """Ours."""
        return encode_token(self._admission.token)

    def me(self) -> Caller:
        """Who we are."""
        return caller_of(self._admission.me, is_me=True)

    def whose(self, peer: PeerId, token: bytes) -> Caller | None:
        """See Proofs."""
        who = self._checked(peer, token) if token else self._admission.book.admitted(peer)
        if who is None or not self._holds(who):
            return None
        return caller_of(who)

    def _checked(self, peer: PeerId, token: bytes) -> Admitted | None:
        key = blake2b(peer.encode() + b"\0" + token, digest_size=16).digest()
        known = self._known.pop(key, None)
        if known is None:
            known = self._check(peer, token)
            if known is None:
                return None
            self._admission.book.hear_of(known)
        self._known[key] = known
        if len(self._known) > PROOFS_KEPT_MAX:
            del self._known[next(iter(self._known))]
        return known

    def _check(self, peer: PeerId, token: bytes) -> Admitted | None:
        admission = self._admission
        clocks = Clocks(admission.wall_ms())
        try:
            return check_token(
                decode_token(token), peer, admission.anchor, admission.signer, clocks
            )
        except AdmissionError as exc:
            if exc.code in _NOT_NOW:
                return None
            raise WireError(f"the token of {peer}: {exc.detail}") from exc

    def _holds(self, who: Admitted) -> bool:
        """Whether it would be let in now."""
        book, now_ms = self._admission.book, self._admission.wall_ms()
        if now_ms > who.expires_ms + CLOCK_SKEW_MAX_MS:
            return False
        revoked = book.revoked()
        if any(subject in revoked for subject in ids_of(who)):
            return False
        return book.register.why_out(who) is None
