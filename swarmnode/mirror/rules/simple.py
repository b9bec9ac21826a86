"""Index pages: PyPI's as JSON has it, and ours, whose links lead to the mirror. Decides only.

Sources: PEP 503 (HTML), PEP 691 (JSON), PEP 658 and 714 (metadata beside a wheel), PEP 592
(yanked), PEP 700 (sizes, times).
"""

import html
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from swarmnode import reach
from swarmnode.mirror.errors import UpstreamError
from swarmnode.mirror.rules import digest
from swarmnode.mirror.rules.asked import PYPI_PORT

JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = "application/vnd.pypi.simple.v1+html"
_OLD_HTML: Final = "text/html"
MetadataTold = bool | dict[str, str]


class IndexFile(msgspec.Struct, rename="kebab", omit_defaults=True):
    """A file of a project, as the page has it; fields that we do not know are left out."""

    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = None
    core_metadata: MetadataTold = False
    dist_info_metadata: MetadataTold = False
    """The older name of the same."""
    gpg_sig: bool | None = None
    yanked: bool | str = False
    size: int | None = None
    upload_time: str | None = None

    @property
    def sha256(self) -> digest.FileDigest | None:
        """What its bytes are held to; None where the page does not say, or says what is none."""
        return digest.sha256_of(self.hashes.get("sha256", ""))

    @property
    def metadata_sha256(self) -> digest.FileDigest | None:
        """The same of the metadata beside it."""
        for told in (self.core_metadata, self.dist_info_metadata):
            if isinstance(told, dict) and (named := digest.sha256_of(told.get("sha256", ""))):
                return named
        return None


class IndexMeta(msgspec.Struct, rename={"api_version": "api-version"}):
    """Which version of the format it is."""

    api_version: str = "1.0"


class IndexPage(msgspec.Struct):
    """All files of a project."""

    name: str
    files: list[IndexFile]
    meta: IndexMeta = msgspec.field(default_factory=IndexMeta)
    versions: list[str] | msgspec.UnsetType = msgspec.UNSET


_decoder: Final = msgspec.json.Decoder(IndexPage)


def mirrored(data: bytes, base: str, mirror: str) -> bytes:
    """A page of PyPI (JSON) as a page of the mirror. Raises UpstreamError.

    `base` is where it was found, `mirror` our address. A link to a file whose SHA-256 the page does
    not say stays what it is: nothing could be kept of it, and the program goes there itself.
    """
    try:
        page = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamError(f"{base} is no index page: {error}") from error
    for file in page.files:
        _lead_here(file, base, mirror)
    return msgspec.json.encode(page)


def _lead_here(file: IndexFile, base: str, mirror: str) -> None:
    try:
        file.url = urljoin(base, file.url.partition("#")[0])
        place = urlsplit(file.url)
        host, port = place.hostname or "", place.port or PYPI_PORT
    except ValueError:
        return
    is_known = place.scheme == "https" and port == PYPI_PORT and not place.query
    if not is_known or not reach.allows(("pypi",), host, port) or (named := file.sha256) is None:
        return
    metadata = file.metadata_sha256
    beside = metadata.hexadecimal if metadata else "-"
    file.url = f"{mirror}/files/{named.hexadecimal}/{beside}/{host}{place.path}"
    if metadata is None:  # nobody could tell whether it is right
        file.core_metadata = file.dist_info_metadata = False


def as_html(data: bytes) -> bytes:
    """The same page of the mirror as PEP 503 has it."""
    page = _decoder.decode(data)
    lines = [f"<title>Links for {html.escape(page.name)}</title>", *map(_link, page.files)]
    head = '<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.0">'
    return "\n".join([head, lines[0], "</head><body>", *lines[1:], "</body></html>\n"]).encode()


def _link(file: IndexFile) -> str:
    words = {"href": file.url + (f"#sha256={file.sha256.hexadecimal}" if file.sha256 else "")}
    if file.requires_python:
        words["data-requires-python"] = file.requires_python
    if named := file.metadata_sha256:
        told = f"sha256={named.hexadecimal}"
        words |= {"data-core-metadata": told, "data-dist-info-metadata": told}
    if file.yanked is not False:
        words["data-yanked"] = file.yanked if isinstance(file.yanked, str) else ""
    told = " ".join(f'{name}="{html.escape(text)}"' for name, text in words.items())
    return f"<a {told}>{html.escape(file.filename)}</a><br>"


def preferred(accept: str) -> str:
    """Which of both forms a client likes best (RFC 9110, 12.5.1), as a content type."""
    liked = {JSON: 0.0, HTML: 0.0, _OLD_HTML: 0.0}
    for word in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in word.split(";"))
        if kind in liked:
            liked[kind] = max(liked[kind], _quality(parameters))
        elif kind in ("*/*", "text/*", ""):
            liked[_OLD_HTML] = max(liked[_OLD_HTML], _quality(parameters))
    best = max(liked, key=lambda kind: liked[kind])
    return best if liked[best] > 0 else _OLD_HTML


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
