"""The words for what a task may reach: how they are read, and what covers what."""

import pytest

from swarmnode import reach


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("PyPI", "pypi"),
        (" Example.ORG. ", "example.org"),
        ("example.org:8443", "example.org:8443"),
        ("*.example.org", "*.example.org"),
        ("8.8.8.8:53", "8.8.8.8:53"),
        ("internet", "internet"),
    ],
)
def test_a_word_is_read_however_it_is_spelt(text: str, word: str) -> None:
    assert reach.word(text) == word


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "*.", "a..b", "-a.org", "a_.-b.org:x", "a.org:0", "a.org:70000", "http://a.org",
        "a.org/x", "ä.org", "a b", "x" * 254, "10.0.0.1", "127.1", "0x7f000001", "2130706433",
        "017700000001", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "[::1]:443",
        "*.8.8.8.8", "8.8.8.8.", "1.2.3.400",
    ],
)  # fmt: skip
def test_what_is_no_word_is_refused(text: str) -> None:
    if text == "8.8.8.8.":
        assert reach.word(text) == "8.8.8.8"
        return
    with pytest.raises(ValueError, match=r"."):
        reach.word(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("pipy", "pypi"), ("huggingface", "A host without"), ("gihub", "github")]
)
def test_a_bare_name_that_a_task_asks_for_is_a_preset_or_refused(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=meant) as refused:
        reach.parse([text])
    assert f"{text}:443" in str(refused.value)
    assert reach.parse([f"{text}:443"]) == (f"{text}:443",)


def test_an_owner_may_name_a_host_without_a_dot_but_no_misspelt_preset() -> None:
    assert reach.owners_word("nas") == "nas"
    with pytest.raises(ValueError, match="did you mean pypi"):
        reach.owners_word("pipy")


def test_none_is_nothing_and_contradicts_all_else() -> None:
    assert reach.parse(["none"]) == reach.parse([]) == ()
    assert reach.parse(["hf", "pypi", "HF"]) == ("hf", "pypi")
    with pytest.raises(ValueError, match="contradict"):
        reach.parse(["none", "pypi"])
    with pytest.raises(ValueError, match="limit 32"):
        reach.parse([f"h{number}.org" for number in range(33)])


@pytest.mark.parametrize(
    ("allowed", "asked", "beyond"),
    [
        (("none", "pypi"), ("pypi",), ()),
        (("none",), (), ()),
        (("none",), ("pypi",), ("pypi",)),
        (("pypi",), ("pypi.org", "pypi.org:443"), ()),
        (("pypi",), ("pypi.org:22", "hf", "internet"), ("pypi.org:22", "hf", "internet")),
        (("pypi.org", "files.pythonhosted.org"), ("pypi",), ()),
        (("*.example.org",), ("a.example.org", "*.b.example.org"), ()),
        (("pypi", "internet"), ("a:b", " pypi"), ("a:b", " pypi")),  # as peers may say
        (("a:b", "[::1]:443", "pypi"), ("pypi", "[::1]:443", "x.org"), ("[::1]:443", "x.org")),
        (("*.example.org",), ("example.org", "badexample.org"), ("example.org", "badexample.org")),
        (("a.example.org",), ("*.example.org",), ("*.example.org",)),
        (("internet",), ("internet", "hf", "a.org:22", "8.8.8.8"), ()),
        (("example.org:8443",), ("example.org",), ("example.org",)),
    ],
)
def test_a_machine_allows_what_its_owner_named_and_what_that_covers(
    allowed: tuple[str, ...], asked: tuple[str, ...], beyond: tuple[str, ...]
) -> None:
    assert reach.beyond(allowed, asked) == beyond


@pytest.mark.parametrize(
    ("words", "host", "port", "may"),
    [
        (("hf",), "cdn-lfs.huggingface.co", 443, True),
        (("hf",), "evilhuggingface.co", 443, False),
        (("hf",), "huggingface.co.evil.org", 443, False),
        (("github",), "raw.githubusercontent.com", 443, True),
        (("wandb",), "api.wandb.ai", 443, True),
        (("pypi",), "pypi.org", 8080, False),
        (("internet",), "anything.example", 6667, True),
        (("8.8.8.8",), "8.8.8.8", 443, True),
        ((), "pypi.org", 443, False),
    ],
)
def test_a_task_reaches_what_it_asked_for(
    words: tuple[str, ...], host: str, port: int, *, may: bool
) -> None:
    assert reach.allows(words, host, port) is may


def test_what_would_allow_a_host_is_said_as_somebody_would_write_it() -> None:
    assert reach.with_host(("pypi",), "huggingface.co", 443) == "pypi,hf"
    assert reach.with_host((), "example.org", 80) == "example.org"
    assert reach.with_host(("pypi",), "example.org", 22) == "pypi,example.org:22"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mirror.lab:443", ("mirror.lab", 443)),
        ("*.lab", ("*.lab", 0)),
        ("10.1.2.3", ("10.1.2.3", 0)),
        ("[fd00::1]:80", ("fd00::1", 80)),
        ("::1", ("::1", 0)),
    ],
)
def test_an_owner_names_private_hosts_by_name_or_address(text: str, host: tuple[str, int]) -> None:
    assert reach.private_host(text) == host


@pytest.mark.parametrize("text", ["", "a b", "0x7f.1", "10.0.0.1:x", "*"])
def test_what_is_no_private_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|no port"):
        reach.private_host(text)
