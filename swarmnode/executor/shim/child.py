"""What a shim's child does between fork and exec. The standard library only, and little of it."""

import os
import resource

from swarmnode.executor.shim import stage

CODE_CANNOT_START, CODE_CANNOT_EXECUTE, CODE_NOT_FOUND = 125, 126, 127  # as docker run


def become_staged(uid: int, sources: "list[str]") -> None:
    """Lay out what the job may see, then be its user."""
    try:
        stage.lay_out(sources)
        stage.become(uid)
    except OSError as exc:
        say_and_exit(f"swarm: the sandbox: {exc.strerror}", CODE_CANNOT_START)


def execute(argv: "list[str]", env: "dict[str, str]") -> None:
    """As os.execvpe, which imports a module that the job's user may not be allowed to read."""
    folders = [""] if "/" in argv[0] else [f + "/" for f in env.get("PATH", "").split(":")]
    failure: OSError = FileNotFoundError(2, "No such file or directory")
    for folder in folders:
        try:
            os.execve(folder + argv[0], argv, env)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as exc:
            failure = exc
    raise failure


def lower(which: int, soft: int, hard: int) -> None:
    """Lower a limit; never ask for more than we were given ourselves."""
    _, ceiling = resource.getrlimit(which)
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
    resource.setrlimit(which, (min(soft, hard), hard))


def use_cpus(cpus: "list[int]") -> None:
    """Run on these processors, as far as they are still there."""
    try:  # noqa: SIM105
        os.sched_setaffinity(0, cpus or os.sched_getaffinity(0))
    except OSError:
        pass


def say_and_exit(words: str, code: int) -> None:
    """Last words in the job's stderr."""
    os.write(2, words.encode(errors="replace") + b"\n")
    os._exit(code)


def code_of_failure(stderr: str) -> int:
    """bubblewrap itself gave up; its last words say why."""
    with open(stderr, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        words = file.read().rsplit(b"bwrap: ", 1)[-1]
    if not words.startswith(b"execvp "):
        return CODE_CANNOT_START
    return CODE_NOT_FOUND if b"No such file" in words else CODE_CANNOT_EXECUTE


def number_after(text: bytes, key: bytes) -> int:
    """A number in what bubblewrap reports as JSON, by what stands before it; 0 if none."""
    _, found, rest = text.partition(key)
    digits = rest.strip().split(b",")[0].split(b"}")[0].strip() if found else b""
    return int(digits) if digits.isdigit() else 0
