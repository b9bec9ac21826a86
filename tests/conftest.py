"""What holds for every test."""

import signal


def pytest_configure() -> None:
    """Hear Ctrl-C even where the run was started in the background, which ignores it.

    An ignored signal is inherited: tests that interrupt a program would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
