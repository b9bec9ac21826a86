"""Puts waiting tasks to auction: whom to ask, when to close, when to try again."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from p2p.effects import Notify, Rng, Send, WakeAt
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from swarmnode.limits import AUCTIONS_CLOSED_MAX, UNFIT_KEPT_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.attempts import Attempts
from swarmnode.market.buyer.bidding.auction import Asked, Auction
from swarmnode.market.buyer.bidding.fit import Lack, Requirement, Seen, has_room, unfit_because
from swarmnode.market.buyer.bidding.nobody import Lacks, nobody_words, reasons_of
from swarmnode.market.buyer.book import WAITING, Book, Pursuit
from swarmnode.market.buyer.verdicts.once import NOBODY_KNOWS, UNHEARD, may_have_begun
from swarmnode.market.messages import Bid, BidKind, Release
from swarmnode.market.pricing import FAILED_HERE, slack_ms
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskFact
from swarmnode.tasks.records import RoundRecord, TaskRecord, failed_on
from swarmnode.tasks.secrets.wants import SECRET_REASON, lost_words
from swarmnode.tasks.spec import Repeatability, TaskSpec

Unfit = tuple[tuple[PeerId, str], ...]


class Auctions:
    """The auctions of one buyer."""

    def __init__(self, book: Book, attempts: Attempts, rng: Rng) -> None:
        self._book, self._attempts, self._rng = book, attempts, rng
        self._custody = book.keeper.custody
        self._ready: list[tuple[tuple[int, int, int, TaskId], TaskId]] = []
        """Heap of tasks that wait for an auction to end, most urgent first."""
        self._winners: dict[int, PeerId] = {}
        """Of those awarded lately, AUCTIONS_CLOSED_MAX at most: a winner's room is not released."""
        self._last_auction = 0
        """Number of the newest auction; only grows, and exceeds those of earlier lives."""

    def begin(self) -> None:
        """Number auctions from the clock on, so that no answer to an earlier life is mistaken."""
        self._last_auction = self._book.wall_ms() * 1000

    def on_retry_due(self, event: e.RetryDue, now_s: float) -> list[e.Effect]:
        """A waiting task's turn has come."""
        pursuit = self._book.pursuits.get(event.task)
        if pursuit is None or pursuit.search.retry_due_s != event.due_s:
            return []
        pursuit.search.retry_due_s = None
        self.enqueue(event.task)
        return []

    def enqueue(self, task: TaskId) -> None:
        """Let a task be put to auction as soon as there may be another one."""
        urgency = self._book.urgency(self._book.ledger.get(task))
        heapq.heappush(self._ready, (urgency, task))

    def pump(self, now_s: float) -> list[e.Effect]:
        """Open auctions for tasks whose turn has come, as many as may be open."""
        effects: list[e.Effect] = []
        while self._ready and self._book.auctions_open < self._book.config.auctions_open_max:
            record = self._book.ledger.find(heapq.heappop(self._ready)[1])
            if record is None or record.state not in WAITING:
                continue
            effects += self._turn(record, now_s)
        return effects

    def _turn(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        book, task = self._book, record.task
        if (wait_s := book.pursuits[task].search.not_before_s - now_s) > 0:
            return book.retry(task, now_s, wait_s)
        if not self._custody.may_act(task, now_s):  # perhaps another machine acts for it
            return book.retry(task, now_s, book.config.renew_s)
        if may_have_begun(record):
            return book.fail_once(record, NOBODY_KNOWS)
        is_once = record.spec.effects is Repeatability.ONCE
        if is_once and not self._custody.may_judge(task, now_s):
            is_said = record.why == UNHEARD
            told = [] if is_said else book.ledger.set_why(task, UNHEARD, book.wall_ms())
            return [*told, *book.retry(task, now_s, book.config.award_repeat_s)]
        if record.lost_secrets:
            return book.give_up(task, SECRET_REASON, lost_words(record.lost_secrets))
        return self._open(record, now_s)

    def on_dry_run(self, event: e.DryRunAsked, now_s: float) -> list[e.Effect]:
        """Ask, score and release."""
        chosen, lacks = self._choose(event.spec, Pursuit(), now_s)
        if not chosen:
            at_ms, why = self._book.wall_ms(), self._nobody_words(event.spec, lacks)
            record = RoundRecord(0, at_ms, 0, why, (), _kept(lacks))
            return [Notify(e.DryRunEnded(event.number, record))]
        made = self._made(TaskId(""), event.spec, chosen, _kept(lacks), now_s)
        made.dry_run = event.number
        return self._call(made, now_s)

    def on_bid(self, peer: PeerId, bid: Bid, now_s: float) -> list[e.Effect]:
        """An answer, or a later offer of a machine that was busy."""
        auction = self._book.auctions.get(bid.auction)
        if auction is None or peer not in auction.asked:
            is_wanted = bid.kind is BidKind.REFUSED or self._winners.get(bid.auction) == peer
            return [] if is_wanted else [Send(peer, Release(bid.auction))]
        if auction.is_open and peer not in auction.bids:
            self._book.machine(peer).measured(now_s - auction.opened_s)
        if not auction.take(peer, bid):
            return []
        if auction.is_open:
            return self._close(auction, now_s) if auction.all_answered() else []
        return self._on_late_offer(auction, now_s)

    def on_window_over(self, event: e.WindowOver, now_s: float) -> list[e.Effect]:
        """Decide with the answers that have come."""
        auction = self._book.auctions.get(event.auction)
        return self._close(auction, now_s) if auction is not None and auction.is_open else []

    def on_room(self, peer: PeerId, now_s: float) -> list[e.Effect]:
        """A machine may have room: waiting tasks need not wait until they would ask again."""
        seen = self._book.machine(peer)
        if seen.advert is None or seen.liveness is not Liveness.ALIVE:
            return []
        advert, ledger = seen.advert, self._book.ledger
        could = (
            task
            for task, pursuit in self._book.pursuits.items()
            if _waits_for(pursuit, peer, now_s)
            and has_room(ledger.get(task).spec.shape, advert)
            and not unfit_because(ledger.get(task).spec, peer, seen, self._book.own_lab)
        )
        kicked = list(islice(could, self._book.config.kicked_max))
        return [effect for task in kicked for effect in self._book.retry(task, now_s)]

    # -- one auction

    def _open(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        book, pursuit = self._book, self._book.pursuits[record.task]
        effects = book.drop_auctions(pursuit)
        chosen, lacks = self._choose(record.spec, pursuit, now_s)
        if not chosen:
            return [*effects, *self._nobody_fits(record, pursuit, lacks, now_s)]
        unfit = _kept(lacks)
        pursuit.search.last_auction_s = now_s
        made = pursuit.search.auction = self._made(record.task, record.spec, chosen, unfit, now_s)
        made.number = book.ledger.count_round(record.task)
        why = "asking 1 machine" if len(chosen) == 1 else f"asking {len(chosen)} machines"
        opened = book.step(record.task, TaskFact.BIDDING_OPENED, why)
        return [*effects, *opened, *self._call(made, now_s)]

    def _call(self, made: Auction, now_s: float) -> list[e.Effect]:
        self._book.auctions[made.auction] = made
        self._book.auctions_open += 1
        timer = WakeAt(now_s + made.window_s, e.WindowOver(made.auction))
        return [*made.call(self._book.config.hold_s), timer]

    def _made(
        self, task: TaskId, spec: TaskSpec, chosen: Sequence[PeerId], unfit: Unfit, now_s: float
    ) -> Auction:
        book, config = self._book, self._book.config
        seen = {peer: book.machine(peer) for peer in chosen}
        slow_s = max(machine.slow_rtt_s(config.rtt_unknown_s) for machine in seen.values())
        window_s = min(max(config.window_rtts * slow_s, config.window_min_s), config.window_max_s)
        record = book.ledger.find(task)
        left = None if record is None else book.deadline_left_ms(spec, record.submitted_ms)
        self._last_auction += 1
        return Auction(
            auction=self._last_auction,
            task=task,
            spec=spec,
            number=0,
            opened_s=now_s,
            opened_ms=book.wall_ms(),
            window_s=window_s,
            slack_ms=slack_ms(spec.priority_class, left),
            asked=self._asked(record, seen),
            unfit=unfit,
        )

    def _asked(self, record: TaskRecord | None, seen: Mapping[PeerId, Seen]) -> dict[PeerId, Asked]:
        """What is known of each callee now."""
        unknown_s = self._book.config.rtt_unknown_s
        failed_at = {} if record is None else Counter(failed_on(record))
        return {
            peer: Asked(
                round((unknown_s if machine.rtt_s is None else machine.rtt_s) * 1000),
                machine.failures + FAILED_HERE * failed_at.get(peer, 0),
            )
            for peer, machine in seen.items()
        }

    def _choose(self, spec: TaskSpec, pursuit: Pursuit, now_s: float) -> tuple[list[PeerId], Lacks]:
        fit, lacks = list[PeerId](), list[tuple[PeerId, Lack]]()
        for peer in sorted({*self._book.machines, *spec.require}):
            if lack := self._unfit_because(spec, pursuit, peer, now_s):
                lacks.append((peer, lack))
            else:
                fit.append(peer)
        if not fit:  # better an image that is only read than none: the log of its task says so
            fit = [peer for peer, lack in lacks if lack.want is Requirement.IMAGE]
            lacks = [(peer, lack) for peer, lack in lacks if lack.want is not Requirement.IMAGE]
        myself = self._book.me
        me = [peer for peer in fit if peer == myself]
        others = [peer for peer in fit if peer != myself]
        count = min(self._book.config.callees - len(me), len(others))
        return [*me, *self._rng.sample(others, count)], lacks

    def _unfit_because(
        self, spec: TaskSpec, pursuit: Pursuit, peer: PeerId, now_s: float
    ) -> Lack | None:
        if out := self._book.out_because(peer):
            return Lack(out)
        seen = self._book.machines.get(peer) or Seen()
        lack = unfit_because(spec, peer, seen, self._book.own_lab)
        may_do = lack is None or lack.want is Requirement.IMAGE
        if may_do and pursuit.search.shuns(peer, now_s):
            return Lack("could not do it a moment ago")
        return lack

    def _nobody_words(self, spec: TaskSpec, lacks: Lacks) -> str:
        adverts = (seen.advert for _, seen in sorted(self._book.machines.items()) if seen.advert)
        return nobody_words(spec, lacks, adverts)

    def _nobody_fits(
        self, record: TaskRecord, pursuit: Pursuit, lacks: Lacks, now_s: float
    ) -> list[e.Effect]:
        task, ledger, search = record.task, self._book.ledger, pursuit.search
        why, reasons = self._nobody_words(record.spec, lacks), reasons_of(lacks)
        effects: list[e.Effect] = []
        was_told = search.told == record.why and search.told_of == reasons and search.told
        is_said = record.why == why or was_told
        if not is_said:  # said once, and not again while amounts change alone
            number = ledger.count_round(task)
            at_ms = self._book.wall_ms()
            entry = RoundRecord(number, at_ms, 0, why, (), _kept(lacks))
            effects = [*ledger.note_round(task, entry), *ledger.set_why(task, why, at_ms)]
            search.told, search.told_of = why, reasons
        return [*effects, *self._back_off(task, pursuit, now_s)]

    def _back_off(self, task: TaskId, pursuit: Pursuit, now_s: float) -> list[e.Effect]:
        config = self._book.config
        pursuit.search.idle_auctions += 1
        plain_s = config.auction_every_s * 2.0 ** min(pursuit.search.idle_auctions - 1, 16)
        if pursuit.search.places is not None and pursuit.search.places.places():
            plain_s = config.place_s
        delay_s = min(plain_s, config.backoff_max_s) * self._rng.uniform(0.9, 1.1)
        return self._book.retry(task, now_s, delay_s)

    def _close(self, auction: Auction, now_s: float) -> list[e.Effect]:
        auction.is_open = False
        self._book.auctions_open -= 1
        winner = auction.winner() if self._may_award(auction, now_s) else None
        if auction.dry_run:
            return self._end_dry_run(auction, winner)
        pursuit = self._book.pursuits[auction.task]
        pursuit.search.auction = None
        if winner is not None:
            return self._award(auction, winner, now_s)
        pursuit.search.places, why = auction, auction.words()
        noted = self._book.ledger.note_round(auction.task, auction.record(why, None))
        stepped = self._book.step(auction.task, TaskFact.NOBODY_HELD, why)
        return [*noted, *stepped, *self._back_off(auction.task, pursuit, now_s)]

    def _end_dry_run(self, auction: Auction, winner: PeerId | None) -> list[e.Effect]:
        del self._book.auctions[auction.auction]
        outcome = auction.words() if winner is None else "would be awarded"
        told = e.DryRunEnded(auction.dry_run, auction.record(outcome, winner))
        return [Notify(told), *auction.release(None)]

    def _on_late_offer(self, auction: Auction, now_s: float) -> list[e.Effect]:
        winner = auction.winner()
        if winner is None or not self._may_award(auction, now_s):
            return []
        self._book.pursuits[auction.task].search.retry_due_s = None
        opened = self._book.step(auction.task, TaskFact.BIDDING_OPENED, "a machine offered itself")
        return [*opened, *self._award(auction, winner, now_s)]

    def _may_award(self, auction: Auction, now_s: float) -> bool:
        """Of what must not run twice others have to know where it runs."""
        custody, once = self._custody, auction.spec.effects is Repeatability.ONCE
        return custody.may_act(auction.task, now_s) and (
            not once or custody.may_judge(auction.task, now_s)
        )

    def _award(self, auction: Auction, winner: PeerId, now_s: float) -> list[e.Effect]:
        del self._book.auctions[auction.auction]
        self._book.pursuits[auction.task].search.places = None
        self._winners[auction.auction] = winner
        if len(self._winners) > AUCTIONS_CLOSED_MAX:
            del self._winners[next(iter(self._winners))]
        entry = auction.record("awarded", winner)
        return [
            *self._book.ledger.note_round(auction.task, entry),
            *self._attempts.award(auction.task, winner, auction.bids[winner], now_s),
            *auction.release(winner),
        ]


def _waits_for(pursuit: Pursuit, peer: PeerId, now_s: float) -> bool:
    """It waits until it would ask again, and that machine neither keeps a place nor is shunned."""
    if pursuit.search.retry_due_s is None or pursuit.search.retry_due_s <= now_s:
        return False
    has_place = pursuit.search.places is not None and peer in pursuit.search.places.places()
    return not has_place and not pursuit.search.shuns(peer, now_s)


def _kept(lacks: Lacks) -> Unfit:
    """As a record of an auction has them."""
    return tuple((peer, lack.words) for peer, lack in lacks[:UNFIT_KEPT_MAX])
