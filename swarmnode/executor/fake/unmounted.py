"""Datasets where nothing can be mounted: they come like inputs."""

from swarmnode.executor.port import DataServer, DataWay, JobId, MirrorServer


class Unmounted:
    """The part of an Executor that has to do with datasets, images and networks."""

    def data_way(self) -> tuple[DataWay, str]:
        """Datasets are fetched like inputs."""
        return DataWay.INSIDE, "jobs in memory have no mounts"

    def image_trouble(self) -> str:
        """None: a program in memory has its image to itself."""
        return ""

    def sources_in_use(self) -> frozenset[str]:
        """None: nothing is mounted here."""
        return frozenset()

    def on_data(self, serve: DataServer) -> None:
        """Nothing is mounted here: nobody is asked."""

    def on_mirror(self, serve: MirrorServer) -> None:
        """Programs in memory have no network."""

    def note(self, job: JobId, words: str) -> None:
        """Programs in memory print what they print."""
