"""Every error the swarmnode package raises: whose fault it is and what to do next."""


class SwarmError(Exception):
    """Base of all errors in this package."""


class ConfigError(SwarmError):
    """The configuration cannot be used; the text lists every fault with its remedy."""

    def __init__(self, text: str, variables: tuple[str, ...] = (), *, is_file: bool = True) -> None:
        super().__init__(text)
        self.variables = variables
        """Of the environment, whose values are wrong or whose keys are unknown."""
        self.is_file = is_file
        """Whether something is wrong elsewhere, too: in the file, as a rule."""


class AlreadyRunningError(SwarmError):
    """Another node has this home: stop it, or choose another SWARM_HOME."""


class SpecError(SwarmError):
    """A task spec is wrong; the text lists every fault at once."""


class LimitNotEnforceableError(SwarmError):
    """A limit was insisted on that this machine cannot enforce."""


class EnvironmentUnknownError(SwarmError):
    """No environment of that name on this machine: `[env.NAME] path` defines one."""


class NetUnavailableError(SwarmError):
    """No task can have a network on this machine; the text says why, and the remedy."""


class NetRefusedError(SwarmError):
    """A task may not talk to that host; the text is for its log, and says what would allow it."""


class HostUnreachedError(SwarmError):
    """A task may talk to that host, which cannot be reached just now; the text is for its log."""


class EnvironmentDamagedError(SwarmError):
    """The bytes of an environment are not those that its builder signed: build it again."""


class JobUnknownError(SwarmError):
    """No job with that id is here."""


class JobDamagedError(SwarmError):
    """A job's crash record cannot be read: the text names the file; the job is given up here."""


class DataFailedError(SwarmError):
    """A dataset cannot be had or kept here: another machine may."""


class OutputUnsafeError(SwarmError):
    """A file or folder of a task cannot be had or kept; the text names it and says why."""


class ExecutorUnavailableError(SwarmError):
    """No task can run on this machine as it is; the text names the remedy."""


class JobRunningError(SwarmError):
    """The job has not ended: stop it first."""


class SupersededAttemptError(SwarmError):
    """A newer attempt of the task owns its state: this one must stop."""


class SubjectUnknownError(SwarmError):
    """Nobody and nothing of that name or id is known to this node: see `swarmnode member ls`."""


class SubjectAmbiguousError(SwarmError):
    """Several go by that name: say the id of one."""


class RemovalRefusedError(SwarmError):
    """It cannot be removed from here; the text says by whom, or what to say first."""


class PhraseError(SwarmError):
    """What was typed is no recovery phrase; the text names the fault."""


class SnapshotError(SwarmError):
    """The copy of the keyring in the pool cannot be used here; the text says why."""


class RecoveryRefusedError(SwarmError):
    """The lab's key does not bring that person back from here; the text says why."""


class PersonUnknownError(SwarmError):
    """Nobody of that name is let in to this node: see `swarmnode person ls`."""


class PersonRefusedError(SwarmError):
    """Somebody cannot be let in; the text says why."""


class PersonLockedError(SwarmError):
    """It is sealed, and its person's key is not unlocked here; the text says what they can do."""


class PersonKeyError(SwarmError):
    """A key was brought that is not the one this node knows of the person; the text says more."""


class TokenUnknownError(SwarmError):
    """No token of the asker's has that id or name: see `swarmnode token ls`."""


class NotAllowedError(SwarmError):
    """Whoever asked may not do that; the text says who may."""


class SecretUnknownError(SwarmError):
    """A task wants a secret that its person has not here; the text says how to bring it."""


class SecretRefusedError(SwarmError):
    """A value or name that cannot be a secret; the text says why, and never tells the value."""


class SecretSealedError(SwarmError):
    """What was sealed cannot be opened, or is nothing that was sealed: the peer is at fault."""


class TaskUnknownError(SwarmError):
    """No task with that id is known to this node."""


class TaskAmbiguousError(SwarmError):
    """Several tasks are called that."""


class AttemptUnknownError(SwarmError):
    """The task has no attempt of that number."""


class TaskUnreachableError(SwarmError):
    """The task is somebody's here, but nobody can act for it just now: try again."""


class IllegalTransitionError(SwarmError):
    """A bug: a lifecycle was asked for a step it does not have."""


class GpuUnknownError(SwarmError):
    """A granted GPU is not on this machine any more: the attempt is given back."""


class LogStaleError(SwarmError):
    """A newer attempt of the task writes its log: this one need not send the rest."""


class TaskNotRunningError(SwarmError):
    """The task has no program that could hear anything: it waits, or has ended."""


class ProjectError(SwarmError):
    """A project's folder cannot go along with a task as it is; the text says what to do."""


class TaskNotEndedError(SwarmError):
    """Only a task that has ended can be submitted again or forgotten."""


class TooManyTasksError(SwarmError):
    """This node has as many unfinished tasks as it may: wait for some, or cancel them."""


class NameRefusedError(OutputUnsafeError, ValueError):
    """A file's name or a pattern cannot be one inside a folder; the text says which and why."""


class TreeRefusedError(OutputUnsafeError):
    """A folder cannot be one object, or bytes are not a folder we would make; nothing was left."""


class FolderNewerError(TreeRefusedError):
    """A folder is in a format that this version does not know: another machine, or upgrade."""


class TreeChangedError(OutputUnsafeError):
    """Files changed while they were read: read them again when their program has rested."""


class FolderStaleError(SwarmError):
    """What a folder was to refer to has gone since it was asked what is missing: ask again."""
