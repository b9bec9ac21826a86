"""Configuration: which source wins, and how faults are told."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from swarmnode.errors import ConfigError
from swarmnode.home.config import PROFILES, SECTIONS, Config, StorageSection, TimersSection
from swarmnode.home.config_load import load, shown
from swarmnode.settings import market


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def faults(file: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return str(caught.value).splitlines()[1:]


def test_every_key_does_something() -> None:
    not_yet = {"interop"}
    sources = (
        path.read_text()
        for path in (Path(__file__).parents[3] / "swarmnode").rglob("*.py")
        if path.name not in ("config.py", "config_load.py")
    )
    used = set(re.findall(r"\.([a-z_]+)\b", "\n".join(sources)))
    keys = {spec.name for section in SECTIONS.values() for spec in fields(section)}
    assert keys - used <= not_yet


@pytest.mark.parametrize(("sandbox", "has_one"), [("bwrap", True), ("container", False)])
def test_without_namespaces_tasks_have_no_place_for_secrets(
    file: Path, sandbox: str, *, has_one: bool
) -> None:
    config = load(file, {"SWARM_COMPUTE__SANDBOX": sandbox})
    assert market(config).seller.terms.has_secret_place is has_one


def test_a_missing_file_means_defaults(file: Path) -> None:
    config = load(file, {})
    assert config.node.profile == "server"
    assert config.timers == TimersSection()
    assert {row["origin"] for row in shown(config)} == {"default"}


def test_flags_win_over_variables_over_the_file_over_the_profile(file: Path) -> None:
    file.write_text('[node]\nprofile = "test"\n[timers]\nlease_s = 8\n[storage]\nquota_gib = 7\n')
    environ = {"SWARM_TIMERS__LEASE_S": "9", "SWARM_TIMERS__SUSPICION_S": "4"}
    config = load(file, environ, {"timers.lease_s": 10.0})
    assert (config.timers.lease_s, config.timers.suspicion_s) == (10.0, 4.0)
    assert (config.timers.down_after_s, config.storage.quota_gib) == (2.0, 7.0)
    origins = {str(row["key"]): row["origin"] for row in shown(config)}
    assert origins["timers.lease_s"] == "flag"
    assert origins["timers.suspicion_s"] == "env SWARM_TIMERS__SUSPICION_S"
    assert origins["storage.quota_gib"] == f"file {file}"
    assert origins["timers.down_after_s"] == "profile test"
    assert origins["timers.probe_s"] == "default"


def test_every_profile_is_a_valid_configuration(file: Path) -> None:
    for profile in PROFILES:
        assert load(file, {}, {"node.profile": profile}).node.profile == profile


def test_profile_test_changes_the_agreed_timers_and_nothing_else(file: Path) -> None:
    config = load(file, {}, {"node.profile": "test"})
    timers = config.timers
    assert (timers.down_after_s, timers.suspicion_s) == (2.0, 3.0)
    assert (timers.lease_s, timers.lease_renew_s) == (6.0, 2.0)
    assert all(key.startswith("timers.") for key in PROFILES["test"])


def test_all_faults_of_all_sources_are_told_at_once_with_the_nearest_name(file: Path) -> None:
    file.write_text(
        "name = 1\n[storag]\nquota_gib = 1\n[storage]\nquota = 5\nquota_gib = -1\n"
        '[compute]\ntasks_max = "many"\nenabled = 1\ncpu_millis = 1.5\n'
    )
    told = faults(file, {"SWARM_NODE__PROFILE": "tst", "SWARM_TIMERS__LEASE_S": "soon"})
    assert len(told) == 9
    text = "\n".join(told)
    assert "[storag] quota_gib: no such section; did you mean 'storage'?" in text
    assert "[storage] quota: no such key; did you mean 'quota_gib'?" in text
    assert "[storage] quota_gib = -1 must be from 0 to 1e+06" in text
    assert "[compute] tasks_max = 'many' must be a whole number" in text
    assert "[compute] enabled = 1 must be true or false" in text
    assert "[compute] cpu_millis = 1.5 must be a whole number" in text
    assert "SWARM_NODE__PROFILE = 'tst' must be one of server" in text
    assert "SWARM_TIMERS__LEASE_S = 'soon' must be a number" in text
    assert "name stands outside of a [section]" in text


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("LISTEN__ADDRESSES", "foo", "'foo' is not like /ip4/10.0.0.7/tcp/4001"),
        ("LISTEN__ADDRESSES", "/ip4/0.0.0.0/tcp/0,/ip4/0.0.0.0/tcp/70000", "is not a port"),
        ("LISTEN__ADDRESSES", "/dns/host.example/tcp/4850", "not the address of an interface"),
        ("LISTEN__ANNOUNCE", "host.example:4850", "is not like"),
        ("API__TCP", "nonsense", "is not HOST:PORT, such as 127.0.0.1:4851"),
        ("API__TCP", ":4851", "is not HOST:PORT"),
        ("API__TCP", "127.0.0.1:65536", "is not HOST:PORT"),
        ("API__TCP", "127.0.0.1:", "is not HOST:PORT"),
    ],
)
def test_a_place_that_has_not_the_form_of_one_is_refused_with_all_else(
    file: Path, key: str, value: str, words: str
) -> None:
    told = faults(file, {f"SWARM_{key}": value, "SWARM_NODE__PROFILE": "tst"})
    assert len(told) == 2
    assert any(f"SWARM_{key} = {value!r}" in fault and words in fault for fault in told)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen.addresses", "/ip4/127.0.0.1/tcp/0,/ip6/::1/tcp/4850"),
        ("listen.addresses", ""),
        ("listen.announce", "/dns4/host.example/tcp/4850"),
        ("api.tcp", "[::1]:4851"),
        ("api.tcp", "localhost:0"),
        ("api.tcp", ""),
    ],
)
def test_a_place_that_has_the_form_of_one_is_taken(file: Path, key: str, value: str) -> None:
    load(file, {}, {key: value})


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_a_number_that_is_none_is_refused(file: Path, value: str) -> None:
    assert faults(file, {"SWARM_TIMERS__LEASE_S": value})


@pytest.mark.parametrize("content", [b"[storage", b"\xff\xfe", b"a = ", b"[a]\n[a]\n"])
def test_a_file_that_is_no_toml_is_one_fault(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert len(faults(file)) == 1


def test_a_folder_in_place_of_the_file_is_a_fault(tmp_path: Path) -> None:
    assert "Is a directory" in faults(tmp_path)[0]


def test_timers_that_contradict_one_another_are_refused(file: Path) -> None:
    file.write_text("[timers]\nlease_s = 6\nlease_renew_s = 4\n")
    assert faults(file) == ["  [timers] lease_renew_s must be at most half of lease_s"]


def test_environments_are_named_tables_with_an_absolute_path(file: Path) -> None:
    file.write_text('[env.torch]\npath = "/opt/torch"\n[env."py3.12"]\npath = "/opt/py"\n')
    config = load(file, {"SWARM_ENV__JAX__PATH": "/opt/jax"})
    assert {name: one.path for name, one in config.env.items()} == {
        "jax": "/opt/jax",
        "py3.12": "/opt/py",
        "torch": "/opt/torch",
    }
    file.write_text('[env.torch]\npath = "opt"\npth = "/a"\n[env."Bad Name"]\npath = "/a"\n')
    told = "\n".join(faults(file))
    assert "[env.torch] path = 'opt' must be an absolute path" in told
    assert "no such key; did you mean 'path'?" in told
    assert "'Bad Name' is not a valid environment name" in told


def test_lists_come_from_toml_lists_and_comma_separated_variables(file: Path) -> None:
    file.write_text('[node]\nroles = ["storage"]\n')
    assert load(file, {}).node.roles == ("storage",)
    assert load(file, {"SWARM_NODE__ROLES": "compute, relay"}).node.roles == ("compute", "relay")
    assert faults(file, {"SWARM_NODE__ROLES": "compute,king"})


def test_variables_without_a_section_are_not_ours(file: Path) -> None:
    assert load(file, {"SWARM_HOME": "/x", "SWARM_API": "y", "OTHER__KEY": "z"}) == Config()


def test_a_section_built_in_code_is_checked_as_well() -> None:
    with pytest.raises(ConfigError, match="quota_gib = -1"):
        StorageSection(quota_gib=-1)


def test_every_key_is_shown(file: Path) -> None:
    keys = {str(row["key"]) for row in shown(load(file, {}))}
    assert {key.split(".")[0] for key in keys} == set(SECTIONS)
    assert "timers.down_after_s" in keys


def test_a_folder_for_tasks_that_depends_on_where_we_start_is_refused(file: Path) -> None:
    file.write_text('[compute]\ntasks_folder = "tasks"\n')
    assert faults(file) == ["  [compute] tasks_folder = 'tasks' must be an absolute path"]


def test_what_tasks_may_reach_is_read_as_tasks_ask_for_it(file: Path) -> None:
    plain = load(file, {}).compute
    assert (plain.net, plain.net_others, plain.net_private) == (
        ("none", "pypi", "pytorch"),
        ("none",),
        (),
    )
    file.write_text(
        '[compute]\nnet = ["pypi", "mirror.lab:443"]\nnet_others = ["hf"]\n'
        'net_private = ["mirror.lab", "10.0.0.5:80"]\n'
    )
    assert load(file, {}).compute.net == ("pypi", "mirror.lab:443")
    file.write_text('[compute]\nnet = ["10.0.0.5"]\nnet_others = ["everything!"]\n')
    told = "\n".join(faults(file))
    assert "a private address" in told
    assert "'everything!' is no host name" in told
    file.write_text('[compute]\nnet_private = ["not a host"]\n')
    assert "neither a host name nor an address" in faults(file)[0]


def test_what_tasks_may_reach_fits_into_an_advert(file: Path) -> None:
    names = ", ".join(f'"host-{number}.example.org"' for number in range(40))
    file.write_text(f"[compute]\nnet = [{names}]\n")
    assert "use *.HOST, or internet" in faults(file)[0]
