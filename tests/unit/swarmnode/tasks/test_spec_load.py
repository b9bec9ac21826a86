import pytest
from msgspec.structs import replace

from p2p.ids import PeerId
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.cli.task.commands import submit
from swarmnode.errors import SpecError
from swarmnode.limits import SPEC_BYTES_MAX
from swarmnode.tasks.choices import Limit
from swarmnode.tasks.ids import is_task_id
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.sizes import parse_bytes, parse_cores, parse_duration_ms
from swarmnode.tasks.spec import GpuWant, NetWant, PriorityClass, Repeatability, TaskSpec
from swarmnode.tasks.spec_load import (
    is_sound,
    spec_as_dict,
    spec_from_dict,
    spec_from_json,
    spec_from_toml,
)

WHOLE = """
name = "digits"
run = ["python", "train.py"]
env = "torch"
class = "critical"
priority = 3
timeout = "2h"
deadline = "3d"
retries = 2
effects = "once"
enforce = ["wall", "memory"]
outputs = ["out/*.bin"]
avoid = ["bob"]
require = ["carol"]

[variables]
SEED = "1"

[shape]
cpu = "1500m"
mem = "2GiB"
disk = "10GB"
gpu = {count = 2, vram = "8GiB", model = "a100"}
net = {up = "2MB", down = "10MB"}

[checkpoint]
dir = "save"
every_s = 5
keep = 3
"""


def test_a_whole_toml_task_is_read() -> None:
    spec = spec_from_toml(WHOLE)
    assert spec.run == ("python", "train.py")
    assert spec.priority_class is PriorityClass.CRITICAL
    assert spec.effects is Repeatability.ONCE
    assert spec.enforce == ("memory", "wall")
    assert spec.shape.cpu_millis == 1500
    assert spec.shape.memory_bytes == 2 * 1024**3
    assert spec.shape.disk_bytes == 10 * 1000**3
    assert spec.shape.gpu == GpuWant(2, 8 * 1024**3, "a100")
    assert spec.shape.net == NetWant(2_000_000, 10_000_000)
    assert spec.timeout_ms == 7_200_000
    assert spec.deadline_ms == 3 * 86_400_000
    assert spec.checkpoint is not None
    assert (spec.checkpoint.folder, spec.checkpoint.every_ms) == ("save", 5000)


def test_what_is_written_out_is_read_back_the_same() -> None:
    spec = spec_from_toml(WHOLE)
    assert spec_from_dict(spec_as_dict(spec)) == spec
    plain = TaskSpec(("true",))
    assert spec_as_dict(plain) == {"run": ["true"]}
    assert spec_from_json(b'{"run": ["true"]}') == plain


def test_every_fault_is_told_at_once_with_the_nearest_key() -> None:
    with pytest.raises(SpecError) as caught:
        spec_from_dict({"rum": ["x"], "priority": 11, "shape": {"cpu": 0, "memory": "1G"}})
    text = str(caught.value)
    assert "did you mean 'run'?" in text
    assert "run: give the program" in text
    assert "priority: 11 is not a number from 0 to 9" in text
    assert "shape.cpu: a task needs some CPU" in text
    assert "shape.memory: no such key" in text


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"outputs": ["../secret"]}, "not a name inside the folder"),
        ({"outputs": ["/etc/passwd"]}, "is absolute"),
        ({"inputs": {"a": "not a capability"}}, "inputs: a:"),
        ({"variables": {"A=B": "c"}}, "not a valid variable name"),
        ({"kind": "wasm"}, "the only kind is 'exec'"),
        ({"enforce": ["vram"]}, "no limit 'vram'"),
        ({"timeout": "soon"}, "'soon' is not a valid duration: write 90s, 5m, 2h or 3d"),
        ({"shape": {"cpu": "-1"}}, "'-1' is not a valid number of cores: write 2, 0.5 or 500m"),
        ({"shape": {"mem": "much"}}, "'much' is not a valid size: write 512M or 2GiB"),
        ({"name": "x" * 300}, "'" + "x" * 40 + "' is not printable text of at most 128 characters"),
        ({"class": "urgent"}, "none of owner"),
        ({"run": "true"}, "is not a list of strings"),
        ({"run": ["a\0b"]}, "is not a text"),
        ({"run": ["a\udc80"]}, "is not a text"),
        ({"variables": {"A": "\ud800"}}, "is not a text"),
        ({"checkpoint": {"dir": "\ud800"}}, "a byte that is not UTF-8"),
        ({"outputs": ["x" * 2000]}, "more than 1024 characters"),
        ({"timeout": "9999999999999d"}, "9999999999999d is too much: at most 104249991d"),
        ({"deadline": 10**400}, "0... is too much: at most"),
        ({"shape": {"mem": 4}}, "is 4 bytes, too little for any program: write 4G"),
        ({"shape": {"mem": 10**400}}, "0... is too much: at most 8191T"),
        ({"shape": {"mem": "99999999999T"}}, "shape.mem: 99999999999T is too much: at most 8191T"),
        ({"shape": {"cpu": 10**400}}, "0... is too much: at most 999999999"),
        ({"shape": {"disk": "8192T"}}, "8192T is too much: at most 8191T"),
        ({"shape": {"mem": "9.5.1G"}}, "is not a valid size: write 512M or 2GiB"),
        ({"shape": {"gpu": {"vram": -1}}}, "is not a valid size"),
    ],
)
def test_a_bad_value_is_named(given: dict[str, object], fault: str) -> None:
    with pytest.raises(SpecError, match="(?s).*" + fault.replace("'", ".")):
        spec_from_dict({"run": ["true"]} | given)


@pytest.mark.parametrize("text", ["run = ", "\0", "[[run]]\n[run]"])
def test_broken_toml_is_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        spec_from_toml(text)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, b"\xff"])
def test_broken_json_is_a_spec_error(text: str | bytes) -> None:
    with pytest.raises(SpecError):
        spec_from_json(text)


def test_a_task_too_large_for_an_award_is_refused() -> None:
    with pytest.raises(SpecError, match=f"limit {SPEC_BYTES_MAX}"):
        spec_from_dict({"run": ["true", "x" * SPEC_BYTES_MAX]})
    with pytest.raises(SpecError, match="too many values"):
        spec_from_dict({"run": ["x"] * 2000})


def test_a_task_may_insist_on_each_limit_and_its_flag_offers_the_same() -> None:
    every = [limit.value for limit in Limit]
    assert spec_from_dict({"run": ["x"], "enforce": every[::-1]}).enforce == tuple(every)
    options = {one.name: one.type for one in submit.params}
    for name, kind in (
        ("enforce", Limit),
        ("priority_class", PriorityClass),
        ("effects", Repeatability),
    ):
        assert tuple(kind) == getattr(options[name], "choices", ())


def test_an_input_is_a_capability() -> None:
    cap = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
    assert spec_from_dict({"run": ["x"], "inputs": {"a/b": cap}}).inputs == (("a/b", cap),)


def test_what_a_task_reaches_is_a_list_of_words_or_what_the_flag_takes() -> None:
    for given in (["PyPI", "a.org:22"], "pypi,a.org:22"):
        spec = spec_from_dict({"run": ["x"], "net": given})
        assert spec.net == ("pypi", "a.org:22")
        assert spec_from_dict(spec_as_dict(spec)) == spec
        assert is_sound(spec)
    assert spec_from_dict({"run": ["x"], "net": ["none"]}).net == ()
    assert not is_sound(TaskSpec(("x",), net=("10.0.0.1",)))
    with pytest.raises(SpecError, match=r"net: 'http://a.org' is none of none, pypi"):
        spec_from_dict({"run": ["x"], "net": ["http://a.org"]})


def test_a_spec_of_the_wire_is_taken_as_it_is_read_and_in_no_other_way() -> None:
    cap = text_of_cap(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
    built = {"cap": cap, "digest": "00" * 32, "bytes": 1, "machine": "x86_64"}
    spec = spec_from_dict({"run": ["x"], "built": built, "data": {"/data/a": cap}})
    assert is_sound(spec)
    needy = spec_from_dict({"run": ["x"], "built": {**built, "glibc": "2.38"}})
    assert needy.built is not None
    assert needy.built.glibc == "2.38"
    assert spec_from_dict(spec_as_dict(needy)) == needy
    image = spec_from_dict({"run": ["x"], "built": built | {"image": True}})
    assert image.built is not None
    assert image.built.is_image
    assert spec_from_dict(spec_as_dict(image)) == image
    of_others = "@" + "0" * (len(spec.env) - 1)
    assert not is_sound(replace(spec, env=of_others))
    assert not is_sound(replace(spec, env=spec.env[:-1], data=(("/data//a", cap),)))
    named = spec_from_dict({"run": ["x"], "secrets": ["hf=TOKEN"]})
    assert is_sound(named)
    assert not is_sound(replace(named, secrets=(("h", "f=TOKEN"),)))
    assert not is_sound(replace(named, secrets=(("hf=TOK", "EN"),)))


def test_sizes_cores_and_durations_are_read_as_people_write_them() -> None:
    assert [parse_bytes(x) for x in (0, "512M", "2GiB", "2GB", "1k")] == [
        0,
        512 * 1024**2,
        2 * 1024**3,
        2 * 1000**3,
        1024,
    ]
    assert [parse_cores(x) for x in (2, 0.5, "500m", "1.5")] == [2000, 500, 500, 1500]
    assert [parse_duration_ms(x) for x in (90, "90s", "500ms", "5m", "1d")] == [
        90_000,
        90_000,
        500,
        300_000,
        86_400_000,
    ]
    for parse in (parse_bytes, parse_cores, parse_duration_ms):
        for bad in (True, "-1", "1 parsec", None, "", "1e9"):
            with pytest.raises(ValueError, match=r"write|number"):
                parse(bad)


def test_task_ids_are_safe_as_file_names() -> None:
    task = task_id_of(PeerId("key"))
    assert is_task_id(task)
    assert not is_task_id("../" + task[3:])
    assert not is_task_id(task + "a")
