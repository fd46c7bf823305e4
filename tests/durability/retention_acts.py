"""Pruning and erasing in processes of their own that are killed at any statement.

    python -m tests.durability.retention_acts FOLDER STEP

makes a node with old records in FOLDER, and again and again copies it and lets a child
prune and erase there, which is killed (SIGKILL) before its first, its STEP-th, its
2*STEP-th … statement, until a child comes to its end. After each, the log of the copy
is verified, the work is begun again without being killed, and verified once more. What
was found is printed as JSON.

A program of its own, because it forks: there is one thread in it.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from sqlalchemy import event

from leadglass.access.policy import Kind, Rule, Subject
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.orders import Orders
from leadglass.archive.retention import Retention
from leadglass.audit.events import from_us
from leadglass.audit.search import Search
from leadglass.config import Limits
from leadglass.database.engine import Transaction
from tests.unit.archive.conftest import OPERATOR, Home, open_home
from tests.unit.archive.test_retention import OLD, STEP, STEPS, close, log_of
from tests.unit.audit.surroundings import SetClock, stored

PATIENT = "PAT-MANY"
MANY = 300
PIA = Caller(Subject(Kind.OPERATOR, "pia"), ip_address("10.4.0.7"))
REASON = "ordered by the court of the county"


def opened(folder: Path, clock: SetClock) -> tuple[Home, Orders]:
    """Open the node, for the time that the clock shows."""
    home = open_home(folder, Limits())
    home.rules.rules = (
        *home.rules.rules,
        Rule(
            name="pia",
            subjects=frozenset({PIA.subject}),
            rights=frozenset({Right.AUDIT}),
            networks=(ip_network("10.4.0.0/24"),),
        ),
    )
    parts = replace(home.parts, audit=log_of(home, clock))
    retention = Retention(parts, clock=lambda: from_us(clock.wall), rest=lambda _: None)
    return replace(home, parts=parts), Orders(retention, rest=lambda _: None)


def make(folder: Path) -> SetClock:
    """Make the node, with an order that waits for its second person."""
    folder.mkdir()
    clock = SetClock()
    home, orders = opened(folder, clock)
    log = home.parts.audit

    def work(tx: Transaction) -> None:
        for number in range(OLD + 512):
            log.append(tx, stored(number))
        for number in range(STEPS):
            clock.passes(STEP.total_seconds())
            log.append(tx, stored(number))
        for number in range(MANY):
            log.append(tx, stored(9000 + number // 50 * 10, PATIENT))

    home.parts.database.write(work)
    orders.ask_erasure(OPERATOR, PATIENT, REASON)
    close(home)
    return clock


def act(orders: Orders) -> None:
    """Prune, and confirm the order or go on with it."""
    orders.retention.run(OPERATOR)
    if orders.latest(OPERATOR)[0].decided_at is None:
        orders.confirm(PIA, 1)
    orders.finish_all(OPERATOR)


def in_child(work: Callable[[], None]) -> int:
    """Do something in another process; return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is told
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed_at(folder: Path, clock: SetClock, statement: int) -> Callable[[], None]:
    """Return the work that ends before this statement of the writer."""

    def work() -> None:
        home, orders = opened(folder, clock)
        seen = 0

        def count(*_: object) -> None:
            nonlocal seen
            seen += 1
            if seen == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(home.parts.database._writers, "before_cursor_execute", count)
        act(orders)

    return work


def checked(folder: Path, clock: SetClock, *, go_on: bool) -> dict[str, Any]:
    """Return what a verification finds, after the work was ended if it is to be."""
    home, orders = opened(folder, clock)
    if go_on:
        act(orders)
    report = home.parts.audit.verify()
    order = orders.latest(OPERATOR)[0]
    named = list(home.parts.audit.list(Search(patient=PATIENT)))
    found = {
        "findings": [each.text for each in report.findings],
        "pruned": len(home.parts.audit.pruned().numbers),
        "named": len(named),
        "erased": order.records,
        "is_done": order.done_at is not None,
    }
    close(home)
    return found


def main() -> None:
    """Kill, look, go on, look again; from the first statement to the last."""
    folder, step = Path(sys.argv[1]), int(sys.argv[2])
    clock = make(folder / "first")
    found = []
    statement, status = 1, signal.SIGKILL.value
    while status == signal.SIGKILL:
        copy = folder / "copy"
        shutil.copytree(folder / "first", copy)
        status = in_child(killed_at(copy, clock, statement))
        result = copy.with_name("result.json")

        def look(copy: Path = copy, result: Path = result) -> None:
            found = [checked(copy, clock, go_on=each) for each in (False, True)]
            result.write_text(json.dumps(found))

        looked = in_child(look)
        killed, ended = json.loads(result.read_text()) if looked == 0 else ({}, {})
        found.append(
            {
                "statement": statement,
                "status": status,
                "looked": looked,
                "killed": killed,
                "ended": ended,
            }
        )
        shutil.rmtree(copy)
        statement += step
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
