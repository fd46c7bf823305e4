"""``leadglass audit forward``: the record on its way to receivers."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from leadglass.app import Node
from leadglass.archive.forwarding import Backlog, kind
from leadglass.cli.answers import Answer, counted, time_text
from leadglass.cli.session import Session


def status(session: Session) -> Answer:
    """Tell how far each receiver is; no patient is in it."""
    config = session.config
    with Node.open(config) as node:
        backlog = node.forwarding.backlog(config.record_receivers)
        size = node.audit.size()
    text = list(lines(backlog)) or [
        "no receivers; name some in syslog.receivers or feed.receivers"
    ]
    return Answer(
        data={"records": size, "receivers": [_item(each) for each in backlog]},
        text=(f"audit: {counted(size, 'record')}", *text),
    )


def lines(backlog: Iterable[Backlog]) -> Iterator[str]:
    """Yield a line for each receiver, and for what is wrong with it."""
    for each in backlog:
        name = f"{kind(each.receiver)} {each.receiver}"
        told = f"{name}: {counted(each.waiting, 'record')} waiting"
        if each.waiting_since is not None:
            told += f" since {time_text(each.waiting_since)}"
        yield told
        if each.error and each.error_at is not None:
            yield f"{name}: {each.error}, {time_text(each.error_at)}"


def _item(backlog: Backlog) -> dict[str, Any]:
    return {
        "receiver": backlog.receiver,
        "sent": backlog.sent,
        "certain": backlog.certain,
        "waiting": backlog.waiting,
        "waiting_since": _moment(backlog.waiting_since),
        "error": backlog.error,
        "error_at": _moment(backlog.error_at),
    }


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
