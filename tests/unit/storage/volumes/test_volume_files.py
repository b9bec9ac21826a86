"""The volumes themselves: what is durable when a sync returns."""

import threading
from pathlib import Path

import pytest

from storage.volumes.files import VolumeFiles
from storage.volumes.space import Extent

WAIT_S = 0.2


def test_a_sync_returns_once_its_files_have_their_names_also_while_another_one_is_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = VolumeFiles(tmp_path)
    begun, may_end, second_ended = threading.Event(), threading.Event(), threading.Event()
    sync_folder = files.sync_folder

    def slow_sync_folder() -> None:
        begun.set()
        assert may_end.wait(10)
        sync_folder()

    monkeypatch.setattr(files, "sync_folder", slow_sync_folder)
    for number in (1, 2):
        files.write(Extent(number, 0, 4096), [b"bytes"])
    first = threading.Thread(target=files.sync, args=([1],))

    def sync_second() -> None:
        files.sync([2])
        second_ended.set()

    second = threading.Thread(target=sync_second)
    first.start()
    assert begun.wait(10)
    second.start()
    assert not second_ended.wait(WAIT_S), "a power cut now would cost the name of its file"
    may_end.set()
    first.join(10)
    second.join(10)
    assert second_ended.is_set()
    files.close()
