"""Rows of Postgres → items of the front table, while their resource is closed.

Afterwards the table has an item for each row, claims of its unique values, and nothing else of the
resource. What is right is left as it is, so this may be stopped anywhere and run again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import Damaged, Entry
from chalicelib.buffer.dynamodb.naming import claims_of, item_of
from chalicelib.contract.json_text import TOO_DEEP, Scanner
from chalicelib.contract.resources import Resource
from chalicelib.messages.questions import ListQuestion, Page, RowsQuestion
from decanter.deployment import fronts
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import DeploymentError
from decanter.deployment.front_entries import RowEntries, Unfit, is_right, row_entries
from decanter.deployment.front_writer import FrontWriter
from decanter.deployment.fronts import DeployedStage
from decanter.deployment.invocation import RowsTooLarge, ask

PAGE_ROWS = 1_000
MOST_NAMED = 100
"""So many rows that no item can hold are named, however many there are."""

_SCANNED_AT_ONCE = 1_000  # entries whose rows one question reads
_WAIT_SECONDS = 300.0
_QUIET_SECONDS = 15.0  # SQS counts messages only about
_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Hydrated:
    """How far it has come.

    rows: of Postgres that were looked at. written: entries that were missing or wrong. removed:
    entries without a row. unfit: rows that no item can hold. named: the first of them, and why.
    """

    rows: int = 0
    written: int = 0
    removed: int = 0
    unfit: int = 0
    named: tuple[str, ...] = ()

    def plus(self, unfit: Sequence[Unfit] = (), **more: int) -> "Hydrated":
        named = (*self.named, *map(str, unfit))[:MOST_NAMED]
        sums = {name: getattr(self, name) + n for name, n in {**more, "unfit": len(unfit)}.items()}
        return replace(self, named=named, **sums)


def prepare(
    aws: Aws, deployed: DeployedStage, name: str, say: Callable[[str], None] = lambda _line: None
) -> None:
    """Wait until all writes of a closed resource are in Postgres. Raises DeploymentError if it is
    not closed, or if they are not in time."""
    require_closed(aws, deployed, name)
    fronts.await_requests(aws, deployed.api)
    quiet = 0.0 if is_local(aws) else _QUIET_SECONDS
    _await(lambda: _on_queue(aws, deployed, name), name, say, quiet)
    _await(lambda: _in_stream(aws, deployed, name), name, say)


def _await(
    unfinished: Callable[[], str], name: str, say: Callable[[str], None], quiet: float = 0.0
) -> None:
    """Wait until nothing has been unfinished for so many seconds. Raises DeploymentError if that
    takes too long."""
    began = last = time.monotonic()
    while True:
        now = time.monotonic()
        if why := unfinished():
            if now > began + _WAIT_SECONDS:
                raise DeploymentError(
                    f"{name} cannot be hydrated yet: {why}. Run this again when they are in"
                    " Postgres."
                )
            say(f"waiting: {why}")
            last = now
        elif now >= last + quiet:
            return
        time.sleep(_LOOK_SECONDS)


def require_closed(aws: Aws, deployed: DeployedStage, name: str) -> None:
    """Raises DeploymentError unless a resource is deployed as closed, now."""
    state = fronts.state(aws, deployed.api, name)
    if state != "closed" or deployed.table is None:
        raise DeploymentError(
            f"{name} is deployed with the front {state!r}, and may be written to while its rows are"
            ' loaded. Set its front to "closed" in chalicelib/models.py, deploy that, and run this'
            " again."
        )


def _on_queue(aws: Aws, deployed: DeployedStage, name: str) -> str:
    """Which messages may be writes of a resource; empty for none. Raises DeploymentError for those
    that do not come by themselves."""
    if dead := fronts.queued(aws, deployed.queues[1:]):
        raise DeploymentError(
            f"{dead} dead letters of the ordered queue may be writes of {name}. Redrive them"
            " (docs/operating.md says how), or delete what is not wanted, and run this again."
        )
    count = fronts.older_messages(aws, deployed)
    return f"{count} messages are on the ordered queue" if count else ""


def _in_stream(aws: Aws, deployed: DeployedStage, name: str) -> str:
    """Which writes of a resource the front table's stream has, or the database; empty for none."""
    missing, waiting = fronts.unpoured(aws, deployed, name)
    if not missing and not waiting:
        return ""
    return f"{missing} writes are in the front table's stream, {waiting} wait in the database"


def hydrate(
    aws: Aws,
    table: str,
    reader: str,
    resource: Resource,
    require: Callable[[], None] = lambda: None,
) -> Iterator[Hydrated]:
    """Make the entries of a resource equal to its rows; yields how far it has come after each step,
    and at the end.

    table, reader: names of the front table, and of the deployed reader. require: called before each
    step, raises if the resource is not closed any more. Raises DeploymentError.
    """
    done = Hydrated()
    mark = {"pk": {"S": entries.hydrated_pk(resource.name)}}
    with FrontWriter(aws("dynamodb"), table) as writer:
        writer.write([], [mark["pk"]["S"]])
        for batch in _batches(fronts.scan(aws, table, *entries.prefixes(resource.name))):
            require()
            stale = _stale(aws, reader, resource, batch)
            writer.write([], stale)
            done = done.plus(removed=len(stale))
            yield done
        for page in _pages(aws, reader, resource):
            require()
            done = _load(writer, resource, page, done)
            yield done
        if not done.unfit:
            require()
            writer.write([mark], [])
    yield done


# Entries without a row


def _batches(found: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in found:
        batch.append(entry)
        if len(batch) == _SCANNED_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _stale(aws: Aws, reader: str, resource: Resource, batch: Sequence[Entry]) -> list[str]:
    """The names of entries that no row of Postgres has."""
    owners = {entry["pk"]["S"]: _owner(resource, entry) for entry in batch}
    keys = [*dict.fromkeys(key for key in owners.values() if key)]
    rows = dict(zip(keys, _rows(aws, reader, resource, keys), strict=True))
    return [
        entry["pk"]["S"]
        for entry in batch
        if not _is_tombstone(entry)
        and entry["pk"]["S"] not in _names(resource, rows.get(owners[entry["pk"]["S"]]))
    ]


def _owner(resource: Resource, entry: Entry) -> str:
    """The key, as JSON text, of the row that an item or claim is of; empty if it names none."""
    pk = entry["pk"]["S"]
    owner = pk if pk.startswith(entries.ITEM) else entry.get("owner", {}).get("S", "")
    try:
        texts = entries.split_item_pk(owner)[1]
    except Damaged:
        return ""
    names = [column.name for column in resource.key]
    is_key = len(texts) == len(names) and all(isinstance(text, str) for text in texts)
    return json.dumps(dict(zip(names, texts, strict=True))) if is_key else ""


def _is_tombstone(entry: Entry) -> bool:
    try:
        return entries.read_item(entry).row is None
    except Damaged:
        return False


def _names(resource: Resource, text: str | None) -> set[str]:
    """The names of the entries of a row."""
    if text is None:
        return set()
    try:
        _, members = Scanner(text).value(text)
    except (ValueError, RecursionError):
        return set()
    return {str(item_of(resource, members)), *claims_of(resource, members)}


def _rows(aws: Aws, reader: str, resource: Resource, keys: Sequence[str]) -> list[str | None]:
    """The rows with these keys; None for one that is missing or too large."""
    if not keys:
        return []
    try:
        question = RowsQuestion(resource.name, f"[{','.join(keys)}]")
        return [*ask(aws, reader, question).rows]
    except RowsTooLarge:
        if len(keys) == 1:
            return [None]
        middle = len(keys) // 2
        first = _rows(aws, reader, resource, keys[:middle])
        return first + _rows(aws, reader, resource, keys[middle:])


# Rows


def _pages(aws: Aws, reader: str, resource: Resource) -> Iterator[list[str | Unfit]]:
    """The rows by key, as JSON texts of Postgres; or why one cannot be read."""
    order = [(column.name, "asc") for column in resource.key]
    start: str | None = None
    singly = 0  # rows to read one by one
    while True:
        question = ListQuestion(resource.name, "{}", order, 1 if singly else PAGE_ROWS, start)
        try:
            page = ask(aws, reader, question)
        except RowsTooLarge as error:
            if error.next is None:
                raise
            yield [Unfit(error.next, "the row is too large")]
            start, singly = error.next, max(0, singly - 1)
            continue
        if not isinstance(page, Page):
            raise DeploymentError(f"{resource.name} cannot be listed: {vars(page)}")
        try:
            texts: list[str | Unfit] = [*_texts(page.body)]
        except RecursionError:
            if not singly:
                singly = page.rows
                continue
            texts = [_too_deep(aws, reader, question)]
        yield texts
        if page.next is None:
            return
        start, singly = page.next, max(0, singly - 1)


def _texts(body: str) -> list[str]:
    """The texts of the objects in an array. Raises RecursionError for one that is so deep that its
    end cannot be found."""
    decoder = json.JSONDecoder(parse_int=len, parse_float=len)
    found, at = [], 1
    while at < len(body) and body[at] == "{":
        _, end = decoder.raw_decode(body, at)
        found.append(body[at:end])
        at = end + 1  # behind a comma, or the bracket
    return found


def _too_deep(aws: Aws, reader: str, question: ListQuestion) -> Unfit:
    """The only row of a question, by its key."""
    page = ask(aws, reader, replace(question, select=[name for name, _ in question.order]))
    return Unfit(page.body[1:-1] if isinstance(page, Page) else "", TOO_DEEP)


def _load(
    writer: FrontWriter, resource: Resource, page: Sequence[str | Unfit], done: Hydrated
) -> Hydrated:
    """Write what the rows of a page lack."""
    unfit = [each for each in page if isinstance(each, Unfit)]
    rows: list[RowEntries] = []
    for text in page:
        if isinstance(text, str):
            made = row_entries(resource, text)
            (unfit if isinstance(made, Unfit) else rows).append(made)  # type: ignore[arg-type]
    wanted = {pk: entry for row in rows for pk, entry in row.entries.items()}
    found = writer.read([*wanted])
    rows, taken = _without_conflicts(rows, found)
    puts = [
        entry
        for row in rows
        for pk, entry in row.entries.items()
        if not is_right(found.get(pk), entry)
    ]
    writer.write(puts, [])
    return done.plus([*unfit, *taken], rows=len(page), written=len(puts))


def _without_conflicts(
    rows: Sequence[RowEntries], found: Mapping[str, Any]
) -> tuple[list[RowEntries], list[Unfit]]:
    """The rows whose claims no other row has, and the others. found: entries of the table, which
    are of rows."""
    owners = {pk: entry["owner"]["S"] for pk, entry in found.items() if "owner" in entry}
    free: list[RowEntries] = []
    unfit: list[Unfit] = []
    for row in rows:
        others = [owners[pk] for pk in row.claims if owners.get(pk, row.pk) != row.pk]
        if others:
            unfit.append(Unfit(row.key, f"{others[0]} has the same unique value"))
        elif row.pk in owners:
            unfit.append(Unfit(row.key, "another row has the same key, as DynamoDB compares it"))
        else:
            free.append(row)
            owners |= dict.fromkeys((*row.claims, row.pk), row.pk)
    return free, unfit
