"""Where a task may see a dataset, and where it has its own things."""

import pytest

from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.errors import SpecError
from swarmnode.tasks.spec_load import is_sound, spec_as_dict, spec_from_dict
from swarmnode.tree.mount_points import data_place, refuse_nested

CAP = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("/data", "/data"),
        ("/data//train/", "/data/train"),
        ("/mnt/./x y", "/mnt/x y"),
        ("/home/me/data", "/home/me/data"),
        ("/usrdata", "/usrdata"),
        ("data/train", "data/train"),
        ("./data", "data"),
        ("/work/data", "data"),
    ],
)
def test_a_place_is_written_in_one_way(given: str, place: str) -> None:
    assert data_place(given) == place


@pytest.mark.parametrize(
    "given",
    [
        "/", "//", "/work", "/work/", "/usr", "/usr/lib/x", "/proc", "/proc/self", "/dev/shm",
        "/etc/passwd", "/run/swarm", "/tmp", "/tmp/x", "/sys", "/lib64", "/env/x", "/a/../usr",
        "..", "../x", "a/../..", ".", "", "/x\0y", "/x\ny", "/" + "x" * 5000,
    ],
)  # fmt: skip
def test_what_a_task_has_there_already_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"task|work|path|name|up|has"):
        data_place(given)


def test_no_dataset_lies_in_another() -> None:
    refuse_nested(["/data", "/database", "data"])
    for places in (["/d", "/d"], ["/d/e/f", "/d/e"], ["a", "a/b"]):
        with pytest.raises(ValueError, match="would lie in"):
            refuse_nested(places)


def test_a_spec_with_datasets_is_read_and_written_as_it_was() -> None:
    spec = spec_from_dict({"run": ["x"], "data": {"/work/sub": CAP, "/data": CAP}})
    assert spec.data == (("/data", CAP), ("sub", CAP))
    assert spec_from_dict(spec_as_dict(spec)) == spec
    assert is_sound(spec)


def test_what_is_wrong_with_datasets_is_said_all_at_once() -> None:
    many = {f"/d{n}": CAP for n in range(17)}
    for data, why in (
        ({"/usr": CAP}, "/usr is the task's own"),
        ({"/d": "imagenet"}, "/d: "),
        (many, "17 datasets, limit 16"),
        (["/d"], "is not a table"),
    ):
        with pytest.raises(SpecError, match=why):
            spec_from_dict({"run": ["x"], "data": data})
