"""Every environment that a task may have on this machine, and how its sandbox shows it."""

import filecmp
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from swarmnode.errors import EnvironmentUnknownError
from swarmnode.executor.environments.building import Building
from swarmnode.executor.environments.driver import LIBRARIES, PROGRAMS, driver_of
from swarmnode.executor.environments.image import ROOT, about_in, image_binds, variables_in
from swarmnode.executor.environments.named import checked_environment, environment_options
from swarmnode.executor.environments.prefix import is_prefix, prefix_shown
from swarmnode.executor.environments.shown import PLACE, BindSources, Shown
from swarmnode.executor.environments.stand_in import PROGRAMS as STAND_INS
from swarmnode.executor.environments.stand_in import lay_out, stand_in
from swarmnode.executor.environments.store import EnvironmentStore
from swarmnode.executor.port import JobSpec
from swarmnode.executor.sandbox.capability import CONTAINER, ExecutorConfig
from swarmnode.tasks.environments.naming import BUILD, BUILT

_LIBC_FOLDERS: Final = (
    "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib", "/lib",
)  # fmt: skip
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"


_HOST: Final = Path("/")
"""Where this machine's driver is looked for."""


class Environments:
    """Of one executor."""

    def __init__(
        self,
        named: Mapping[str, Path],
        store: EnvironmentStore,
        building: Building,
        *,
        is_shown: bool,
    ) -> None:
        """`is_shown`: sandboxes have a view of their own; else only named ones can be had."""
        self.named, self.store, self._building = named, store, building
        self._is_shown = is_shown
        self._pip = Path()
        """What stands in for it, once it is laid out."""

    def open(self) -> None:
        """Find what is here. Blocking."""
        if self._is_shown:
            self.store.open()
            self._pip = lay_out(self.store.folder)
            self._building.look()

    def names(self) -> tuple[str, ...]:
        """What a task may ask for now."""
        if not self._is_shown:
            return tuple(self.named)
        built = (f"{BUILT}{name}" for name in self.store.names())
        return (*self.named, *built, *self._building.names())

    @property
    def is_shown(self) -> bool:
        """Whether those that were built for the pool can be had here at all."""
        return self._is_shown

    def check(self, name: str | None) -> None:
        """Raises EnvironmentUnknownError."""
        if name is not None and name not in self.names():
            have = ", ".join(self.named) or "none"
            raise EnvironmentUnknownError(f"no environment {name!r} here; have: {have}")

    def look(self, spec: JobSpec) -> None:
        """Before anything is made for a job. Blocking; raises EnvironmentUnknownError."""
        if (spec.environment or "").startswith(BUILT):
            self.shown(spec, "", _Where())

    def in_place(self, name: str | None) -> Shown:
        """How a task has one that sees the machine's own paths: a named one, where it lies."""
        return _named(self.named[name], _Where()) if name else Shown()

    def shown(self, spec: JobSpec, work: str, sources: BindSources) -> Shown:
        """How to show a job's; `work` is where its work folder is bound from.

        A build without a network takes what lies on this machine. Raises EnvironmentUnknownError
        for an image that cannot be shown.
        """
        name = spec.environment
        if not name:
            return Shown()
        if name.startswith(BUILD):
            options = self._building.options(name, work, sources)
            variables = self._building.variables(has_network=bool(spec.net))
            return Shown(tuple(options), variables=tuple(variables.items()))
        if name.startswith(BUILT):
            root = self.store.use(name.removeprefix(BUILT))
            if is_prefix(root):
                shown = prefix_shown(root, sources)
            elif (root / ROOT).exists():
                shown = _image(root, sources, [one.target for one in spec.data])
            else:
                shown = _built(root, sources, self._pip)
            return _with_driver(shown, sources) if spec.gpus else shown
        return _named(self.named[name], sources)


class _Where:
    """Where everything is, for who only looks whether it can be shown."""

    def __call__(self, path: Path, /) -> str:
        """As it is."""
        return str(path)

    def writable(self, path: Path, /) -> tuple[str, str]:
        """As it is."""
        return "--ro-bind", str(path)


def environments_of(
    folder: Path, config: ExecutorConfig, named: Mapping[str, Path]
) -> Environments:
    """Those of the executor with that folder. Raises ConfigError."""
    checked = {
        name: checked_environment(name, path, folder) for name, path in sorted(named.items())
    }
    store = EnvironmentStore(folder / "environments", config.environments_bytes_max)
    return Environments(checked, store, Building(), is_shown=config.sandbox != CONTAINER)


def _named(root: Path, sources: BindSources) -> Shown:
    options, settings = tuple(environment_options(root, sources)), root / "pip.conf"
    own = (("PIP_CONFIG_FILE", str(settings)),) if settings.is_file() else ()  # as with images
    return Shown(options, (str(root / "bin"),), own)


def _with_driver(shown: Shown, sources: BindSources) -> Shown:
    """Libraries and programs of the driver that is loaded; of another no task would see a GPU."""
    options = driver_of(_HOST).options(sources)
    if not options:
        return shown
    return replace(
        shown,
        options=(*shown.options, *options),
        bins=(*shown.bins, PROGRAMS),
        libraries=":".join(filter(None, (shown.libraries, LIBRARIES))),
    )


def _image(folder: Path, sources: BindSources, laid_over: Sequence[str]) -> Shown:
    """Raises EnvironmentUnknownError for one that no build of ours would have made."""
    system = image_binds(folder / ROOT, sources.writable(folder / ROOT), laid_over)
    variables = variables_in(about_in(folder))
    if os.path.lexists(folder / ROOT / "etc/pip.conf"):  # an index of its own: nobody sets another
        variables = (*variables, ("PIP_CONFIG_FILE", "/etc/pip.conf"))
    return Shown(variables=variables, has_own_system=True, system=system)


def _built(root: Path, sources: BindSources, pip: Path) -> Shown:
    bind = ("--ro-bind", sources(root), PLACE, *stand_in(pip, sources))
    programs = (f"{PLACE}/venv/bin", STAND_INS)
    own = (("VIRTUAL_ENV", f"{PLACE}/venv"),)
    if _has_the_same_libc(root / "py/lib/libc.so.6"):
        return Shown(bind, programs, own, libraries=f"{PLACE}/py/lib")
    certificates = () if os.path.exists(_CERTIFICATES) else f"{PLACE}/base/etc/ca.crt"
    found = (("SSL_CERT_FILE", certificates),) if certificates else ()
    bins = (*programs, f"{PLACE}/base/bin")
    return Shown((*bind, *_own_system()), bins, (*own, *found), has_own_system=True)


def _own_system() -> list[str]:
    """Links at the places where programs name their loader, their libraries and each other."""
    options = []
    for name, target in (
        ("lib", "py/lib"), ("lib64", "py/lib"), ("bin", "base/bin"), ("usr/bin", "base/bin"),
    ):  # fmt: skip
        options += ["--symlink", f"{PLACE}/{target}", f"/{name}"]
    return options


def _has_the_same_libc(carried: Path) -> bool:
    """Then the machine's programs and the environment's libraries go together.

    Where not, a program of either kind would find libraries of the other and end before it begins.
    """
    compare = partial(filecmp.cmp, carried, shallow=False)
    paths = (f"{folder}/libc.so.6" for folder in _LIBC_FOLDERS)
    return any(compare(path) for path in paths if os.path.exists(path))
