"""Tasks over HTTP: submit, look, wait, cancel, explain, read the logs as they grow."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from p2p.ids import PeerId
from storage.errors import ManifestError, ObjectUnknownError
from storage.ids import Address
from swarmnode.api.access.asker import Principal, asker_of, lab_reason, shown
from swarmnode.api.face import NodeFace
from swarmnode.api.machines_meant import refuse_other_than_ids, with_lab_ids
from swarmnode.api.reply import Stream, body_as, body_bytes, flag, number, reply
from swarmnode.api.schema.tasks import (
    FilesLine,
    ForgetReply,
    Retried,
    SignalReply,
    SignalRequest,
    SubmitReply,
)
from swarmnode.api.views.tasks import detail_of, explanation_of, left_by, line_of, outputs_of
from swarmnode.errors import (
    AttemptUnknownError,
    SpecError,
    TaskAmbiguousError,
    TaskNotEndedError,
    TaskUnknownError,
    TaskUnreachableError,
)
from swarmnode.estate.inputs import with_own_inputs
from swarmnode.limits import ATTEMPTS_KEPT_MAX
from swarmnode.market.explain import TaskView
from swarmnode.market.guardians.kept import Guarded
from swarmnode.people.sealed_tasks import at_rest, spec_in_clear
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.ids import TaskId, is_task_id
from swarmnode.tasks.spec import PriorityClass, TaskSpec
from swarmnode.tasks.spec_load import is_sound, spec_from_json, spec_from_toml

WAIT_S: Final = 30.0
"""How long a wait lasts when nobody says: below the patience of common clients and proxies."""
WAIT_S_MAX: Final = 600.0
SHOWN_MAX: Final = 5
"""Tasks of one name that are told."""
ELSEWHERE_EVERY_S: Final = 2.0
"""How often a task of another machine of ours is looked at, while somebody waits for it."""


class TaskRoutes:
    """Handlers under /api/v1/tasks."""

    def __init__(self, node: NodeFace) -> None:
        self._node, self._buyer = node, node.market.buyer
        self._machines = node.market.own_machines
        """Tasks of the owner's other machines."""

    def routes(self) -> list[Route]:
        """The table of paths."""
        task = "/api/v1/tasks/{task}"
        return [
            Route("/api/v1/tasks", self.submit, methods=["POST"]),
            Route("/api/v1/tasks", self.ls, methods=["GET"]),
            Route(task, self.show, methods=["GET"]),
            Route(task, self.cancel, methods=["DELETE"]),
            Route(f"{task}/cancel", self.cancel, methods=["POST"]),
            Route(f"{task}/signal", self.signal, methods=["POST"]),
            Route(f"{task}/files", self.files, methods=["POST"]),
            Route(f"{task}/retry", self.retry, methods=["POST"]),
            Route(f"{task}/forget", self.forget, methods=["POST"]),
            Route(f"{task}/wait", self.wait, methods=["GET", "POST"]),
            Route(f"{task}/explain", self.explain, methods=["GET"]),
            Route(f"{task}/logs", self.logs, methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """Submit a task; with `?dry_run=1` only hold the auction and say who would win.

        With `?detach=1` it answers when others would go on with it without this machine.
        """
        spec = await _spec_in(request)
        if spec.require or spec.avoid:
            refuse_other_than_ids(spec, self._node.peer_lines())
        if spec.secret_to:
            spec = with_lab_ids(spec, self._node.peer_lines())
        person = asker_of(request).person
        self._node.household.secrets.check(person, spec.secrets)
        if person and spec.priority_class is PriorityClass.OWNER:
            raise SpecError("class owner is for the owner of this machine: choose another class")
        if flag(request, "dry_run"):
            explanation = await self._buyer.dry_run(spec, person)
            return reply(self._shown(request, explanation_of(explanation)))
        if not flag(request, "detach"):
            values = self._node.household.secrets.values(person, spec.secrets)
            made = await self._buyer.submit(spec, person, secrets=values)
            return reply(SubmitReply(made), 201)
        made, guarded = await self._submit_detached(spec, person)
        return reply(SubmitReply(made, guarded.holders, guarded.note), 201)

    async def _submit_detached(self, spec: TaskSpec, person: str) -> tuple[TaskId, Guarded]:
        values = self._node.household.secrets.values(person, spec.secrets)
        made = await self._buyer.submit(spec, person, detached=True, secrets=values)
        return made, await self._node.market.guardians.guarded(made)

    async def ls(self, request: Request) -> Response:
        """Tasks that were submitted here, oldest first; of some `?state=`, `?name=`, `?since_ms=`.

        `?limit=` keeps the newest; states may be given several times, a name is a part of one.
        """
        states = frozenset(request.query_params.getlist("state"))
        name = request.query_params.get("name", "").casefold()
        since_ms = number(request, "since_ms", 0, 0, 2**53)
        limit = int(number(request, "limit", 0, 0, 2**53))
        person = asker_of(request).person
        views = [
            view
            for view in self._buyer.tasks()
            if view.record.person == person
            and (not states or view.state.value in states)
            and name in view.record.spec.name.casefold()
            and view.record.submitted_ms >= since_ms
        ]
        return reply(self._shown(request, [line_of(view) for view in views[-limit:]]))

    async def show(self, request: Request) -> Response:
        """Everything about one task."""
        return reply(self._shown(request, detail_of(await self._anywhere(request))))

    async def wait(self, request: Request) -> Response:
        """Answer when the task has ended or `?timeout_s=` is over, whichever comes first."""
        timeout_s = number(request, "timeout_s", WAIT_S, 0, WAIT_S_MAX)
        view = await self._anywhere(request)
        with trio.move_on_after(timeout_s):
            while not view.has_ended:
                view = await self._later(request, view)
        if not view.record.submitter:
            with suppress(TaskUnknownError):  # it has just gone: as it was
                view = self._buyer.task(view.task)
        return reply(self._shown(request, detail_of(view)))

    async def _later(self, request: Request, view: TaskView) -> TaskView:
        """The same task at its end here, or after a while where another machine has it."""
        if view.record.submitter:
            await trio.sleep(ELSEWHERE_EVERY_S)
            with suppress(TaskUnknownError):  # who knows it may be away for a moment
                return await self._machines.elsewhere.find(view.task)
            return view
        try:
            return await self._buyer.wait(view.task)
        except TaskUnknownError:  # another machine of ours goes on with it, or it is gone
            return await self._anywhere(request)

    async def cancel(self, request: Request) -> Response:
        """End the task wherever it is; harmless when it has ended.

        With `?as_lab=1` a task of anybody of the lab whose key lies here; `?reason=` says why.
        """
        if flag(request, "as_lab"):
            task, reason = TaskId(request.path_params["task"]), lab_reason(request)
            return reply(detail_of(await self._node.cancel_as_lab(task, reason)))
        view = await self._anywhere(request)
        if view.record.submitter:
            view = await self._machines.elsewhere.find(view.task, cancel=True)
        else:
            view = await self._buyer.cancel(view.task)
        return reply(self._shown(request, detail_of(view)))

    async def signal(self, request: Request) -> Response:
        """Have the programs of a task that runs hear a signal, such as INT or USR1."""
        given = await body_as(SignalRequest, request)
        task = self._view(request).task
        await self._buyer.signal(task, given.signal)
        return reply(SignalReply(task, given.signal))

    async def files(self, request: Request) -> Response:
        """What there is of its outputs: of a task that runs its provider stores them now."""
        told = await self._buyer.files_now(self._view(request).task)
        return reply(self._shown(request, FilesLine(outputs_of(told.files), told.fault)))

    async def retry(self, request: Request) -> Response:
        """Submit an ended task once more, as it was; also one of another machine of ours."""
        view = _ended(await self._anywhere(request))
        record = view.record
        seals = self._node.household.seals
        spec = spec_in_clear(seals, at_rest(seals, record))
        if record.submitter and not is_sound(spec):
            raise SpecError(f"what is told of {record.task} is no task that could be submitted")
        if record.submitter:
            spec = await with_own_inputs(self._node.objects, spec, asker_of(request).person)
        made, guarded = await self._submit_detached(spec, asker_of(request).person)
        return reply(Retried(made, view.task, guarded.holders, guarded.note), 201)

    async def forget(self, request: Request) -> Response:
        """Forget a task that has ended, with its logs; what it left is freed.

        Other machines of its owner that have it forget it, too.
        """
        view = _ended(await self._anywhere(request))
        if view.record.submitter:
            return reply(await self._forget_elsewhere(view))
        gone = [await self._node.objects.forget(address) for address in self._left_by(view)]
        await self._buyer.forget(view.task)
        freed = sum(one is not None for one in gone) + await self._node.estate.forget_log(view.task)
        note = "" if view.record.person else await self._remove_elsewhere(view.task)
        return reply(ForgetReply(view.task, freed, note))

    def _left_by(self, view: TaskView) -> list[Address]:
        """What goes with it: not the environment that it built, as long as that is listed."""
        listed = self._node.environments.addresses()
        return [address for address in left_by(view.record) if address not in listed]

    async def _remove_elsewhere(self, task: TaskId) -> str:
        """At other machines of our owner; which have it still, in words."""
        left = (await self._machines.hand_over.remove(task)).left
        return _still_at([self._called(peer) for peer in left])

    async def _forget_elsewhere(self, view: TaskView) -> ForgetReply:
        """Of what another machine of ours has. Raises TaskUnreachableError: it has it still."""
        removed = await self._machines.hand_over.remove(view.task)
        if view.record.submitter not in removed.at:
            where = self._called(view.record.submitter)
            raise TaskUnreachableError(
                f"{view.task} is kept at {where}, which did not remove it: remove it there"
            )
        freed = 0
        for address in self._left_by(view):
            with suppress(ObjectUnknownError, ManifestError):  # it is gone, or nobody has it now
                freed += await self._node.objects.remove(address) is not None
        note = _still_at([self._called(peer) for peer in removed.left])
        return ForgetReply(view.task, freed, note)

    def _called(self, peer: PeerId) -> str:
        """A machine by its name, where that is known."""
        names = {line.peer: line.name for line in self._node.peer_lines()}
        return names.get(peer) or peer

    async def explain(self, request: Request) -> Response:
        """Every auction with its bids, score parts and refusals."""
        explanation = self._buyer.explain(self._view(request).task)
        return reply(self._shown(request, explanation_of(explanation)))

    async def logs(self, request: Request) -> Response:
        """What the task printed: `?stream=stdout|stderr`, from `?offset=`, on with `?follow=1`.

        With `?attempt=` only what the attempt with that fence printed.
        """
        view = await self._anywhere(request)  # unknown tasks are a problem, not a broken stream
        stream = _stream_in(request)
        offset = int(number(request, "offset", 0, 0, 2**53))
        attempt = _attempt_of(view, int(number(request, "attempt", 0, 0, 2**53)))
        read = self._machines.elsewhere.log
        if not view.record.submitter:
            await self._node.estate.bring_log(view.task)
            read = self._buyer.logs
        pieces = read(view.task, stream, follow=flag(request, "follow"), attempt=attempt)
        return Stream(_from(pieces, offset), media_type="application/octet-stream")

    def _shown(self, request: Request, value: object) -> object:
        return shown(request, value, self._node.household.seals)

    async def _anywhere(self, request: Request) -> TaskView:
        """The task asked for, also one that another machine of this node's owner submitted."""
        try:
            return self._theirs(request)
        except TaskUnknownError:
            if asker_of(request).person:
                raise
            moved = self._machines.hand_over.moved(request.path_params["task"])
            task = _only_one(moved, request.path_params["task"])
            if not is_task_id(task):
                raise
        return await self._elsewhere(task, moved)

    async def _elsewhere(self, task: TaskId, moved: Mapping[TaskId, PeerId]) -> TaskView:
        try:
            return await self._machines.elsewhere.find(task)
        except TaskUnknownError as error:
            if not moved.get(task):
                raise
            where = f"{task} went on at {self._called(moved[task])}"
            raise TaskUnknownError(f"{where}, which does not know it now, or is away") from error

    def _view(self, request: Request) -> TaskView:
        """The task asked for, if it is kept here. Raises TaskUnknownError."""
        try:
            return self._theirs(request)
        except TaskUnknownError:
            moved = self._machines.hand_over.moved(request.path_params["task"])
            if asker_of(request).person or len(moved) != 1:
                raise
            ((task, by),) = moved.items()
            where = self._called(by) if by else "another machine of yours"
            raise TaskUnknownError(f"{task} goes on at {where}: ask for that there") from None

    def _theirs(self, request: Request) -> TaskView:
        """The task asked for. Raises TaskUnknownError, also for another person's."""
        view = self._buyer.task(TaskId(request.path_params["task"]))
        return _theirs(view, asker_of(request))


def _stream_in(request: Request) -> str:
    stream = request.query_params.get("stream", "stdout")
    if stream not in STREAMS:
        raise msgspec.ValidationError(f"stream is one of {', '.join(STREAMS)}")
    return stream


def _only_one(moved: Mapping[TaskId, PeerId], text: str) -> TaskId:
    """Which is meant; none went on elsewhere: what was said. Raises TaskAmbiguousError."""
    if len(moved) > 1:
        shown = ", ".join(sorted(moved)[:SHOWN_MAX])
        raise TaskAmbiguousError(f"give the id of one, such as {shown}") from None
    return next(iter(moved), TaskId(text))


def _ended(view: TaskView) -> TaskView:
    if not view.has_ended:
        raise TaskNotEndedError(f"{view.task} is {view.state}: wait for it, or cancel it first")
    return view


def _attempt_of(view: TaskView, number: int) -> int:
    """The fence of one of its attempts, or 0 for all. Raises AttemptUnknownError."""
    fences = [attempt.fence for attempt in view.record.attempts]
    was_left_out = len(fences) >= ATTEMPTS_KEPT_MAX and 0 < number < view.record.fence
    if number and number not in fences and not was_left_out:
        which = f"it has {', '.join(map(str, fences))}" if fences else "it has none yet"
        raise AttemptUnknownError(f"{view.task} has no attempt {number}: {which} (task show)")
    return number


def _still_at(machines: Sequence[str]) -> str:
    where = " and ".join(machines)
    return f"it is on the list of {where} still: remove it there, too" if machines else ""


def _theirs(view: TaskView, asker: Principal) -> TaskView:
    """The view, if its task is the asker's: another person's is as good as none."""
    if view.record.person != asker.person:
        raise TaskUnknownError(f"no task {view.task} was submitted here")
    return view


async def _spec_in(request: Request) -> TaskSpec:
    """The body as a spec: JSON, or TOML when the content type says so. Raises SpecError."""
    body = await body_bytes(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/toml":
        return spec_from_toml(body.decode(errors="replace"))
    return spec_from_json(body)


async def _from(pieces: AsyncGenerator[bytes, None], offset: int) -> AsyncIterator[bytes]:
    """The pieces without their first `offset` bytes."""
    async with aclosing(pieces) as stream:
        async for piece in stream:
            if len(piece) > offset:
                yield piece[offset:]
            offset = max(0, offset - len(piece))
