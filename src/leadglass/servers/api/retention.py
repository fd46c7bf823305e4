"""Orders and legal holds over HTTPS, where two people can be told apart.

What is asked for at the command line of the node is confirmed here by somebody who has
logged in. A patient is named in a body, never in a URL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPMethod, HTTPStatus
from typing import Annotated, Final

from msgspec import Meta

from leadglass.access.rights import Right
from leadglass.archive.emergency import PATIENT_ID_CHARACTERS_MAX
from leadglass.archive.orders import Held, Order, Orders
from leadglass.archive.retention import (
    NAME_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    REASON_CHARACTERS_MIN,
    Hold,
    Retention,
    Subject,
)
from leadglass.errors import NotFound
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.documents import Document, answer, giving, taking
from leadglass.servers.http.routes import Call, Route

ROOT: Final = "/api/audit"
# A 64-bit number has 19 digits.
_DIGITS_MAX: Final = 19
_Reason = Annotated[
    str, Meta(min_length=REASON_CHARACTERS_MIN, max_length=REASON_CHARACTERS_MAX)
]
_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class PersonToErase(Document, frozen=True):
    """Whose data is to be erased from the audit record, and why."""

    patient_id: Annotated[str, Meta(min_length=1, max_length=PATIENT_ID_CHARACTERS_MAX)]
    reason: _Reason


class ReasonOnly(Document, frozen=True):
    """Why."""

    reason: _Reason


class HoldToPlace(Document, frozen=True):
    """Which records must stay, and why; what is left out does not matter."""

    reason: _Reason
    since: datetime | None = None
    until: datetime | None = None
    patient_id: _Name | None = None
    study_uid: _Name | None = None
    person: _Name | None = None


class OneHold(Document, frozen=True):
    """A legal hold; whom it is about is on the record."""

    number: int
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str | None
    released_at: datetime | None


class AllHolds(Document, frozen=True):
    """Several of them."""

    items: tuple[OneHold, ...]


class OneOrder(Document, frozen=True):
    """What somebody asks for and somebody else confirms."""

    number: int
    kind: str
    state: str
    hold: int | None
    person_sha256: str | None
    reason: str
    asked_by: str
    asked_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    records: int
    kept_for_others: int


class AllOrders(Document, frozen=True):
    """Several of them."""

    items: tuple[OneOrder, ...]


class ErasureReceipt(Document, frozen=True):
    """An order of erasure, and what shows whom it was about; kept nowhere else."""

    order: OneOrder
    salt: str
    records: int


@dataclass(frozen=True, slots=True)
class RetentionRoutes:
    """Orders and holds over HTTPS.

    Attributes:
        retention: Places holds.
        orders: Asks, confirms, refuses.
    """

    retention: Retention
    orders: Orders

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield from self._of_holds()
        yield giving(
            f"{ROOT}/orders",
            Right.AUDIT,
            "The newest orders to erase or release",
            gives=AllOrders,
            handler=lambda call: AllOrders(
                items=tuple(map(self._order, self.orders.latest(call.caller)))
            ),
        )
        yield taking(
            f"{ROOT}/orders",
            Right.AUDIT,
            "Ask that a patient's data be erased from the audit record",
            takes=PersonToErase,
            gives=ErasureReceipt,
            reader=self._ask,
            statuses=(HTTPStatus.CREATED,),
        )
        yield giving(
            f"{ROOT}/orders/{{number}}/confirm",
            Right.AUDIT,
            "Confirm what somebody else asked for; it is carried out",
            gives=OneOrder,
            handler=self._confirm,
            method=HTTPMethod.POST,
        )
        yield giving(
            f"{ROOT}/orders/{{number}}/refuse",
            Right.AUDIT,
            "Refuse an order, or take back one's own",
            gives=OneOrder,
            handler=lambda call: self._order(
                self.orders.refuse(call.caller, number_of(call))
            ),
            method=HTTPMethod.POST,
        )

    def _of_holds(self) -> Iterator[Route]:
        yield giving(
            f"{ROOT}/holds",
            Right.AUDIT,
            "All legal holds, the newest first",
            gives=AllHolds,
            handler=lambda call: AllHolds(
                items=tuple(map(_hold, self.retention.show(call.caller).holds))
            ),
        )
        yield taking(
            f"{ROOT}/holds",
            Right.AUDIT,
            "Keep audit records, whatever their age",
            takes=HoldToPlace,
            gives=OneHold,
            reader=self._place,
            statuses=(HTTPStatus.CREATED,),
        )
        yield taking(
            f"{ROOT}/holds/{{number}}/release",
            Right.AUDIT,
            "Ask that a legal hold be released",
            takes=ReasonOnly,
            gives=OneOrder,
            reader=lambda call, asked: self._order(
                self.orders.ask_release(call.caller, number_of(call), asked.reason)
            ),
        )

    def _confirm(self, call: Call) -> OneOrder:
        try:
            return self._order(self.orders.confirm(call.caller, number_of(call)))
        except Held as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from None

    def _ask(self, call: Call, asked: PersonToErase) -> Answer:
        try:
            receipt = self.orders.ask_erasure(
                call.caller, asked.patient_id, asked.reason
            )
        except Held as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from None
        given = ErasureReceipt(
            order=self._order(receipt.order), salt=receipt.salt, records=receipt.records
        )
        return answer(given, HTTPStatus.CREATED)

    def _place(self, call: Call, asked: HoldToPlace) -> Answer:
        subject = Subject(
            since=asked.since,
            until=asked.until,
            patient=asked.patient_id,
            study=asked.study_uid,
            person=asked.person,
        )
        placed = self.retention.place(call.caller, subject, asked.reason)
        return answer(_hold(placed), HTTPStatus.CREATED)

    def _order(self, order: Order) -> OneOrder:
        return OneOrder(
            number=order.id,
            kind=str(order.kind),
            state=str(order.state(self.retention.clock())),
            hold=order.hold,
            person_sha256=order.digest or None,
            reason=order.reason,
            asked_by=order.asked_by,
            asked_at=order.asked_at,
            decided_by=order.decided_by or None,
            decided_at=order.decided_at,
            records=order.records,
            kept_for_others=order.kept_for_others,
        )


def _hold(hold: Hold) -> OneHold:
    return OneHold(
        number=hold.id,
        reason=hold.reason,
        placed_by=hold.placed_by,
        placed_at=hold.placed_at,
        released_by=hold.released_by or None,
        released_at=hold.released_at,
    )


def number_of(call: Call) -> int:
    """Return the number that a path names.

    Raises:
        NotFound: It is none, so there is nothing of that number.
    """
    text = call.path["number"]
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX:
        raise NotFound("no such order or hold")
    return int(text)
