"""Where a node keeps things."""

from pathlib import Path

import pytest

from p2p.errors import IdentityError
from swarmnode.home.folders import locate, read_addresses, read_revoked, write_addresses


def test_swarm_home_holds_everything(tmp_path: Path) -> None:
    home = locate({"SWARM_HOME": str(tmp_path / "n"), "XDG_RUNTIME_DIR": "/run/user/1"})
    home.make()
    for path in (home.config_file, home.machine_key, home.api_socket, home.cache, home.segments):
        assert path.is_relative_to(tmp_path / "n")
    for folder in (home.config, home.keys, home.runtime, home.cache):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_without_it_the_xdg_folders_are_used_and_never_tmp() -> None:
    home = locate({"HOME": "/home/ann"})
    assert home.config_file == Path("/home/ann/.config/swarm/config.toml")
    assert home.state == Path("/home/ann/.local/state/swarm")
    assert home.runtime == Path("/home/ann/.local/state/swarm/run")
    home = locate(
        {
            "HOME": "/home/ann",
            "XDG_CONFIG_HOME": "/etc/ann",
            "XDG_STATE_HOME": "relative",
            "XDG_RUNTIME_DIR": "/run/user/7",
        }
    )
    assert home.config == Path("/etc/ann/swarm")
    assert home.state == Path("/home/ann/.local/state/swarm")
    assert home.api_socket == Path("/run/user/7/swarm/api.sock")


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"SWARM_HOME": "relative/path"}])
def test_no_usable_folder_is_an_error_that_names_swarm_home(environ: dict[str, str]) -> None:
    with pytest.raises(IdentityError, match="SWARM_HOME"):
        locate(environ)


def test_a_path_too_long_for_a_socket_is_noticed_before_it_matters(tmp_path: Path) -> None:
    locate({"SWARM_HOME": "/srv/swarm"}).check_socket_paths()
    with pytest.raises(IdentityError, match="shorter path"):
        locate({"SWARM_HOME": "/" + "x" * 110}).check_socket_paths()


def test_the_running_nodes_addresses_are_kept_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    home = locate({"SWARM_HOME": str(tmp_path / "n")})
    home.make()
    assert read_addresses(home) == ()
    write_addresses(home, ["/ip4/192.0.2.1/tcp/1"])
    assert read_addresses(home) == ("/ip4/192.0.2.1/tcp/1",)
    for damage in ("{", "{}", "[1]", "\udcff"):
        home.addresses_file.write_bytes(damage.encode(errors="surrogateescape"))
        with pytest.raises(IdentityError, match="is damaged"):
            read_addresses(home)


def test_revoked_ids_are_lines_with_comments(tmp_path: Path) -> None:
    home = locate({"SWARM_HOME": str(tmp_path / "n")})
    home.make()
    assert read_revoked(home) == frozenset()
    home.revoked_file.write_text("# left the lab\n12D3KooWa # carol\n\n  12D3KooWb\n")
    home.revoked_file.chmod(0o600)
    assert read_revoked(home) == {"12D3KooWa", "12D3KooWb"}
