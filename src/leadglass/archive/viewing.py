"""Looking at a series, image by image: recorded as one, before the first byte.

A viewer asks for hundreds of frames in a few seconds, each in a request of its own.
Two records for each would say no more than one pair for the series, would bury what
matters, and would cost more than the frames. So the first request opens a *viewing*:
the record says that the instances of this series, as far as the caller may see them,
are about to leave (Begin Transferring). What follows within the viewing is decided
anew each time, and counted. When nobody has asked for some time the viewing ends, and
the record says which instances really left (Instances Transferred).

As everywhere, the record may say too much and never too little. The crash story: the
first record is durable before the first byte; a crash loses the second, as it loses
that of any transfer under way, and the first stands for all that may have left.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller
from leadglass.archive.fetch import Fetch, Retrieval, named
from leadglass.archive.parts import Parts
from leadglass.archive.studies import studies_of
from leadglass.audit.builders import Result, Service, Study
from leadglass.audit.codes import Outcome
from leadglass.dicom.attributes import Level
from leadglass.errors import LeadglassError
from leadglass.index.query import Selection
from leadglass.index.records import InstanceLocation

_LOG = logging.getLogger(__name__)

# After this nobody is looking any more: a reader who thinks about one image is still
# at the same viewing.
IDLE_S: Final = 60.0
# Nor does one go on for longer than this, so that what left is soon told.
LENGTH_S: Final = 600.0
# How long what was looked up may stand while the database changes. A change of rules,
# or an erasure, counts at once; one of what a scope covers within this: all changes do
# within two seconds.
_LOOKED_UP_S: Final = 1.0
# Larger series are looked up one instance at a time, and recorded so.
_INSTANCES_MAX: Final = 2_000
# Viewings at once; one more ends that which was used the longest ago.
_VIEWINGS_MAX: Final = 1_000


@dataclass(slots=True)
class _Viewing:
    """One series that somebody looks at; whoever holds its lock may change it."""

    caller: Caller
    service: Service
    began_s: float
    scopes: tuple[Scope, ...] = ()
    looked_up_s: float = 0.0
    used_s: float = 0.0
    version: int = -1
    locations: dict[str, InstanceLocation] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)
    is_recorded: bool = False  # all of ``locations``
    sent: dict[str, InstanceLocation] = field(default_factory=dict)
    requests: int = 0
    failures: int = 0
    is_ended: bool = False
    lock: Lock = field(default_factory=Lock)


@dataclass(slots=True)
class _Look(Retrieval):
    """One request within a viewing: counted, not recorded by itself."""

    viewing: _Viewing | None = None

    def finish(self, *, was_cancelled: bool = False) -> None:
        """Note what left; a look that outlasted its viewing is recorded by itself."""
        assert self.viewing is not None  # it is made with one
        with self.viewing.lock:
            if not self.viewing.is_ended:
                self.viewing.requests += 1
                self.viewing.failures += self._counts["failed"] + was_cancelled
                self.viewing.sent.update(
                    (each.instance_uid, each) for each in self._sent
                )
                return
        Retrieval.finish(self, was_cancelled=was_cancelled)


class Viewings:
    """The use case of whoever looks at single instances.

    Args:
        parts: The collaborators.
        fetch: What is not a look at one instance goes there.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        parts: Parts,
        fetch: Fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.parts = parts
        self._fetch = fetch
        self._clock = clock
        self._lock = Lock()
        self._open: OrderedDict[Hashable, _Viewing] = OrderedDict()

    def begin(
        self, caller: Caller, right: Right, selection: Selection, service: Service
    ) -> Retrieval:
        """Find what is asked for and make sure that it is on the record.

        A look at one instance belongs to a viewing; all else is ``Fetch.begin``.
        What is not there for this caller is not found: there are no locations.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: The node cannot record, so nothing leaves.
        """
        location = viewing = None
        if right is Right.VIEW and _names_one_instance(selection):
            scopes = self.parts.require(caller, right, service)
            viewing = self._viewing(caller, selection, service)
            with viewing.lock:
                # It may have ended between being found and being ours.
                if not viewing.is_ended:
                    location = self._location(viewing, selection, scopes)
        if location is None or viewing is None:
            # What is not there is asked for on the record, too.
            return self._fetch.begin(caller, right, selection, service)
        return _Look(
            self.parts,
            caller,
            service,
            destination=None,
            medium=None,
            locations=(location,),
            studies=viewing.studies,
            viewing=viewing,
        )

    def _viewing(
        self, caller: Caller, selection: Selection, service: Service
    ) -> _Viewing:
        """Return the viewing that a look belongs to, or begin one."""
        now_s = self._clock()
        key = (caller, service, selection.study_uids, selection.series_uids)
        with self._lock:
            found = self._open.get(key)
            over = found
            if found is None or self._is_over(found, now_s):
                found = self._open[key] = _Viewing(caller, service, now_s)
            else:
                over = None
            self._open.move_to_end(key)
            found.used_s = now_s
            oldest = None
            if len(self._open) > _VIEWINGS_MAX:
                _, oldest = self._open.popitem(last=False)
        for each in (over, oldest):
            if each is not None:
                self._end(each)
        return found

    def _location(
        self, viewing: _Viewing, selection: Selection, scopes: tuple[Scope, ...]
    ) -> InstanceLocation | None:
        """Return where the instance is, once that it leaves is on the record.

        ``None``: it is not there, or the series is too large to be a viewing.

        Raises:
            Unavailable: It cannot be looked up, or recorded.
        """
        (instance_uid,) = selection.instance_uids
        if not self._stands(viewing, scopes, instance_uid):
            self._look_up(viewing, selection, scopes)
        known = viewing.locations
        found = known.get(instance_uid)
        if found is None or len(known) > _INSTANCES_MAX:
            return None
        if not viewing.is_recorded:
            parts = self.parts
            news = [each for uid, each in known.items() if uid not in viewing.recorded]
            parts.record(
                *parts.events.begin_transferring(
                    parts.actor(viewing.caller),
                    tuple(named(viewing.studies, news)),
                    service=viewing.service,
                    right=Right.VIEW,
                )
            )
            viewing.recorded.update(known)
            viewing.is_recorded = True
        return found

    def _stands(
        self, viewing: _Viewing, scopes: tuple[Scope, ...], instance_uid: str
    ) -> bool:
        """Tell whether what was looked up is still what may be seen."""
        if viewing.scopes != scopes or viewing.version < 0:
            return False
        if self.parts.database.version() == viewing.version:
            return True
        if self._clock() - viewing.looked_up_s >= _LOOKED_UP_S:
            return False
        found = viewing.locations.get(instance_uid)
        return found is not None and self.parts.index.stands(self.parts.database, found)

    def _look_up(
        self, viewing: _Viewing, selection: Selection, scopes: tuple[Scope, ...]
    ) -> None:
        parts = self.parts
        series = replace(selection, level=Level.SERIES, instance_uids=())
        now_s, version = self._clock(), parts.database.version()
        with parts.database.read() as connection:
            found: dict[str, InstanceLocation] = {}
            for each in parts.index.instances(connection, series, scopes):
                found[each.instance_uid] = each
                if len(found) > _INSTANCES_MAX:
                    break
            uids = {each.study_uid for each in found.values()}
            viewing.studies = studies_of(parts.index, connection, uids, scopes)
        viewing.locations, viewing.scopes = found, scopes
        viewing.looked_up_s, viewing.version = now_s, version
        viewing.is_recorded = viewing.recorded.issuperset(found)

    # ── their end ────────────────────────────────────────────────────────────

    def _is_over(self, viewing: _Viewing, now_s: float) -> bool:
        return now_s - viewing.used_s > IDLE_S or now_s - viewing.began_s > LENGTH_S

    def close(self) -> None:
        """End all of them; may be repeated."""
        self.end(everything=True)

    def end(self, *, everything: bool = False) -> None:
        """Record what left in the viewings that are over; a job of the node."""
        now_s = self._clock()
        with self._lock:
            over = {
                key: each
                for key, each in self._open.items()
                if everything or self._is_over(each, now_s)
            }
            for key in over:
                del self._open[key]
        for viewing in over.values():
            self._end(viewing)

    def _end(self, viewing: _Viewing) -> None:
        """Record what left, if anything was asked for and found."""
        with viewing.lock:
            viewing.is_ended = True
            if not viewing.recorded:
                return
            sent = viewing.sent.values()
            studies = tuple(named(viewing.studies, sent)) or tuple(
                viewing.studies.values()
            )
            counts = {
                "requests": viewing.requests,
                "succeeded": len(viewing.sent),
                "failed": viewing.failures,
            }
            outcome = Outcome.MINOR_FAILURE if viewing.failures else Outcome.SUCCESS
            events = self.parts.events.transferred(
                self.parts.actor(viewing.caller),
                studies,
                Result(outcome, "", counts),
                service=viewing.service,
            )
        try:
            self.parts.record(*events)
        except LeadglassError as error:
            _LOG.error("the end of a viewing could not be recorded: %s", error)


def _names_one_instance(selection: Selection) -> bool:
    uids = (selection.study_uids, selection.series_uids, selection.instance_uids)
    return not selection.patient_ids and all(len(each) == 1 for each in uids)
