"""What holds in a buyer between two events; simulations ask after each."""

from swarmnode.market.buyer.book import Book
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.guardians.kept import Post
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TaskState


def check_invariants(buyer: Buyer) -> None:
    """Raises AssertionError with what does not hold. It changes nothing."""
    book = buyer._book
    _check_pursuits(book)
    _check_auctions(book)
    book.keeper.check_invariants()
    assert not book.keeper.take_decisions(), "a decision of the keepers was not carried out"
    assert all(seen.failures >= 0 for seen in book.machines.values()), "fewer than no failures"


def _check_pursuits(book: Book) -> None:
    unfinished = {record.task for record in book.ledger.unfinished()}
    assert book.pursuits.keys() == unfinished, "open tasks and pursuits differ"
    for task, pursuit in book.pursuits.items():
        record = book.ledger.get(task)
        is_auctioned = record.state is TaskState.AUCTIONED
        auction = pursuit.search.auction
        assert is_auctioned == (auction is not None), f"{task}: {record.state}, its auction"
        if record.state in HELD_BY_PROVIDER:
            assert record.provider, f"{task} is {record.state} at nobody"
        if record.state is TaskState.RUNNING:
            assert pursuit.watch.award is None, f"{task} runs and is still being awarded"
        if record.submitter:
            acts = book.keeper.custody.post_of(task) is Post.ACTS
            assert acts, f"{task} is another's and we do not act for it"


def _check_auctions(book: Book) -> None:
    is_open = {auction.auction: auction.is_open for auction in book.auctions.values()}
    assert list(is_open) == list(book.auctions), "an auction under another number"
    assert book.auctions_open == sum(is_open.values()), "open auctions are counted wrong"
    dry = [auction.auction for auction in book.auctions.values() if auction.dry_run]
    assert all(is_open[number] for number in dry), "a dry run outlived its end"
    most = book.config.auctions_open_max + len(dry)
    assert book.auctions_open <= most, "more auctions are open than may be"
    known = dict.fromkeys(dry)
    for task, pursuit in book.pursuits.items():
        auction, places = pursuit.search.auction, pursuit.search.places
        assert auction is None or places is None, f"{task} has two auctions"
        if (current := auction or places) is not None:
            is_current = current is auction
            assert is_open.get(current.auction) is is_current, f"{task}: a stale auction"
            known[current.auction] = None
    assert known.keys() == is_open.keys(), "an auction of no task"
