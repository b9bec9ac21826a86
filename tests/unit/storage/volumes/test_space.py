"""Where the next shard goes."""

from storage.volumes.space import Extent, Space


def test_shards_are_appended_until_the_file_is_full() -> None:
    space = Space(file_bytes=100)
    taken = [space.take(40) for _ in range(3)]
    assert taken == [Extent(1, 0, 40), Extent(1, 40, 40), Extent(2, 0, 40)]


def test_a_file_is_forgotten_once_empty_and_never_used_again() -> None:
    space = Space(file_bytes=100)
    first, second, third = (space.take(50) for _ in range(3))
    assert space.give([first]) == []
    assert space.give([second]) == [1]
    assert space.take(50) == Extent(2, 50, 50)
    assert space.take(50).file == 3
    assert third.file == 2


def test_the_file_being_filled_stays_though_it_is_empty() -> None:
    space = Space(file_bytes=100)
    assert space.give([space.take(50)]) == []
    assert space.take(50) == Extent(1, 50, 50)


def test_a_shard_larger_than_a_file_has_one_of_its_own() -> None:
    space = Space(file_bytes=100)
    space.take(10)
    assert space.take(500) == Extent(2, 0, 500)
    assert space.take(10).file == 3


def test_what_could_not_be_punched_is_used_again_first_fit() -> None:
    space = Space(file_bytes=100)
    first, _ = space.take(50), space.take(50)
    space.give([first])
    space.reuse([first])
    assert space.take(60) == Extent(2, 0, 60)
    assert space.take(30) == Extent(1, 0, 30)
    assert space.take(20) == Extent(1, 30, 20)
    assert space.take(20) == Extent(2, 60, 20)


def test_spare_places_go_with_their_file() -> None:
    space = Space(file_bytes=100)
    first, second = space.take(50), space.take(50)
    space.take(50)
    space.give([first])
    space.reuse([first])
    assert space.give([second]) == [1]
    space.reuse([second])
    assert space.take(50).file == 2


def test_after_a_start_the_last_file_is_filled_on() -> None:
    space = Space(file_bytes=100)
    space.know(3, end=100, taken=50, spare=[])
    space.know(7, end=60, taken=60, spare=[])
    assert space.take(40) == Extent(7, 60, 40)
    assert space.take(40) == Extent(8, 0, 40)
