"""Asks one registry, as the distribution specification says. Blocking; by the standard library.

A login is sent to the registry itself, or, where it gives tokens, to who gives them; both over TLS
unless they are on this machine. Where a registry sends us to another host for a layer, nothing that
tells who we are goes along: such places refuse a request with two proofs.
"""

import http.client
import json
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import IO, Final
from urllib.parse import urlencode, urlsplit

from swarmnode.errors import ProjectError
from swarmnode.project.registry.logins import Login
from swarmnode.project.registry.reference import Reference, is_loopback

_TIMEOUT_S: Final = 60.0
"""For one answer, and between two pieces of one."""
_TOKEN_BYTES_MAX: Final = 64 << 10
_SAID_CHARS_MAX: Final = 300
_AFTER_S_MAX: Final = 60
"""So long a registry is waited for that has had too many requests; docker.io's limit is hours."""
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_BASIC, _BEARER = "basic", "bearer"
Answer = http.client.HTTPResponse


Wait = Callable[[float], None]
"""Lets seconds pass before another try."""


def pause(seconds: float) -> None:
    """Let them pass: who broke off is given time."""
    threading.Event().wait(seconds)


class CutError(Exception):
    """The line or the registry broke off: it may be tried again, after `after_s` at the soonest."""

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


class _Redirects(urllib.request.HTTPRedirectHandler):
    """From TLS to TLS only, and a few times."""

    max_redirections = 5

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _is_safe(newurl, from_here=req.type == "http"):
            raise ProjectError(f"{urlsplit(req.full_url).netloc} leads to a place without TLS")
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        proof = req.unredirected_hdrs.get("Authorization")
        if new is not None and proof and _is_same_place(newurl, req.full_url):
            new.add_unredirected_header("Authorization", proof)
        return new


def _is_safe(url: str, *, from_here: bool) -> bool:
    """`from_here`: it is asked for by what is on this machine, without TLS."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_plain = parts.scheme == "http" and from_here and is_loopback(parts.netloc)
    return (parts.scheme == "https" or is_plain) and "@" not in parts.netloc


def _is_same_place(url: str, other: str) -> bool:
    return urlsplit(url)[:2] == urlsplit(other)[:2]


class Registry:
    """One, for one image of it."""

    def __init__(self, reference: Reference, login: Login) -> None:
        self._reference, self._login = reference, login
        proxies = [urllib.request.ProxyHandler({})] if reference.is_loopback else []
        self._opener = urllib.request.build_opener(_Redirects, *proxies)
        self._opener.addheaders = [("User-Agent", "swarm")]
        self._base = f"https://{reference.place}"
        self._is_found = not reference.is_loopback
        """Whether it is known to speak TLS, or not to."""
        self._authorization = ""

    def manifest(self, which: str, kinds: Sequence[str], *, head: bool = False) -> Answer:
        """The manifest of a tag or digest; closed by who asked. Raises ProjectError, CutError."""
        return self._ask(f"manifests/{which}", {"Accept": ", ".join(kinds)}, head=head)

    def blob(self, digest: str, start: int = 0) -> Answer:
        """Bytes by their digest, from `start` on where it can; else all of them."""
        return self._ask(f"blobs/{digest}", {"Range": f"bytes={start}-"} if start else {})

    def _ask(self, path: str, headers: dict[str, str], *, head: bool = False) -> Answer:
        if not self._is_found:
            self._find()
        url = f"{self._base}/v2/{self._reference.name}/{path}"
        try:
            return self._open(url, headers, head=head)
        except urllib.error.HTTPError as error:
            if error.code != http.client.UNAUTHORIZED or not _is_same_place(error.url, url):
                # Who a registry leads to may ask for a login as well: it is none of theirs.
                raise self._refusal(error, path) from error
            challenges = error.headers.get_all("WWW-Authenticate") or []
            error.close()
        # It wants to know who asks, or the token that it gave us is over.
        self._authorization = self._proof(challenges)
        try:
            return self._open(url, headers, head=head)
        except urllib.error.HTTPError as error:
            raise self._refusal(error, path) from error

    def _open(self, url: str, headers: dict[str, str], *, head: bool = False) -> Answer:
        """Raises HTTPError for what is refused, CutError for what broke off."""
        request = urllib.request.Request(  # noqa: S310  (https, or this machine)
            url, headers=headers, method="HEAD" if head else "GET"
        )
        if self._authorization:  # not for places that it leads to
            request.add_unredirected_header("Authorization", self._authorization)
        return self._opened(request)

    def _opened(self, request: urllib.request.Request) -> Answer:
        try:
            answer: Answer = self._opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code < http.client.INTERNAL_SERVER_ERROR:
                raise
            error.close()
            raise CutError(f"{request.host} answers {error.code}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise ProjectError(
                    f"{request.host} proves by a certificate that is not trusted here "
                    f"({error.reason.verify_message}); SSL_CERT_FILE names others"
                ) from error
            raise CutError(f"{request.host} cannot be reached ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise CutError(f"{request.host} broke off ({error})") from error
        except ValueError as error:  # of an address that none is
            raise ProjectError(f"{request.host} leads nowhere ({error})") from error
        return answer

    def _find(self) -> None:
        """Of one on this machine: TLS if it speaks that, else plain, as docker does it."""
        for base in (f"https://{self._reference.host}", f"http://{self._reference.host}"):
            self._base = base
            request = urllib.request.Request(f"{base}/v2/")  # noqa: S310
            try:
                self._opened(request).close()
            except urllib.error.HTTPError as error:
                error.close()  # it answers
            except CutError:
                continue
            break
        self._is_found = True  # what is wrong with it, the next question shows

    def _proof(self, challenges: Sequence[str]) -> str:
        """A header that says who we are, as the registry wants to hear it."""
        for challenge in challenges:
            kind, _, rest = challenge.strip().partition(" ")
            if kind.lower() == _BEARER:
                return self._token(dict(_PARAMETER.findall(rest)))
            if kind.lower() == _BASIC:
                if not self._login.header:
                    raise ProjectError(self._denied("it wants a login"))
                return self._login.header
        raise ProjectError(
            f"{self._reference.host} asks for a login in a way that is not known here"
        )

    def _token(self, told: dict[str, str]) -> str:
        """For reading this image, whatever else the registry would have us ask for."""
        realm = told.get("realm", "")
        if not _is_safe(realm, from_here=self._base.startswith("http:")):
            raise ProjectError(
                f"{self._reference.host} has its tokens given without TLS: {realm[:80]}"
            )
        request = self._token_request(realm, told.get("service", ""))
        try:
            with self._opened(request) as answer:
                given = json.loads(answer.read(_TOKEN_BYTES_MAX))
            token = given.get("token") or given.get("access_token") or ""
        except urllib.error.HTTPError as error:
            if error.code == http.client.TOO_MANY_REQUESTS:
                raise self._refusal(error, "token") from error
            error.close()
            raise ProjectError(self._denied(f"the login is refused ({error.code})")) from error
        except (OSError, http.client.HTTPException) as error:
            raise CutError(f"{request.host} broke off ({error})") from error
        except (ValueError, AttributeError, RecursionError) as error:
            raise ProjectError(f"{request.host} gives a token that is none") from error
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ProjectError(f"{request.host} gives a token that is none")
        return f"Bearer {token}"

    def _token_request(self, realm: str, service: str) -> urllib.request.Request:
        """With what proves who we are: a password, or an identity token, which is in the body.

        Source: https://distribution.github.io/distribution/spec/auth/oauth/
        """
        asked = {"service": service, "scope": f"repository:{self._reference.name}:pull"}
        if token := self._login.identity_token:
            asked |= {"grant_type": "refresh_token", "client_id": "swarm", "refresh_token": token}
            return urllib.request.Request(realm, data=urlencode(asked).encode())  # noqa: S310
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
        request = urllib.request.Request(url)  # noqa: S310
        if self._login.header:
            request.add_unredirected_header("Authorization", self._login.header)
        return request

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> ProjectError | CutError:
        with error:
            said = _said_in(error)
        if error.code == http.client.TOO_MANY_REQUESTS:
            return self._too_many(error, said)
        place = urlsplit(error.url).netloc
        if place != urlsplit(self._base).netloc:
            return ProjectError(
                f"{self._reference.host} leads to {place}, which answers {error.code} for "
                f"{self._named()}{said}"
            )
        if error.code == http.client.NOT_FOUND:
            what = "no" if path.startswith("manifests/") else "not all of"
            return ProjectError(f"{self._reference.host} has {what} {self._named()}{said}")
        if error.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            return ProjectError(self._denied(f"it is refused{said}"))
        return ProjectError(
            f"{self._reference.host} answers {error.code} for {self._named()}{said}"
        )

    def _too_many(self, error: urllib.error.HTTPError, said: str) -> ProjectError | CutError:
        """Tried again where it says when, and that is soon."""
        text = (
            f"{self._reference.host} has had too many requests from here: try later, or with a "
            f"login, which may have more{said}"
        )
        after = error.headers.get("Retry-After", "")
        if after.isascii() and after.isdigit() and len(after) < 9 and int(after) <= _AFTER_S_MAX:
            return CutError(text, float(after))
        return ProjectError(text)

    def _named(self) -> str:
        return f"{self._reference.name}:{self._reference.asked}"

    def _denied(self, why: str) -> str:
        host = self._reference.host
        has_login = self._login.header or self._login.identity_token
        whom = "your login" if has_login else "everybody"
        remedy = self._login.note or f"`docker login {host}` keeps one that is read here"
        return (
            f"{host} gives no {self._named()}: {why}. Either there is none, or it is not for "
            f"{whom} ({remedy})"
        )


def _said_in(error: urllib.error.HTTPError) -> str:
    """What a registry says of a refusal, for people; others' words, so only plain ones."""
    try:
        told = json.loads(error.read(_TOKEN_BYTES_MAX))["errors"][0]["message"]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, RecursionError):
        return ""
    text = "".join(char for char in str(told) if char.isprintable())
    return f" ({text[:_SAID_CHARS_MAX]})" if text else ""
