"""All attacks, as one table: what is done, and which rules ought to find it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from leadglass.assurance.simulation.attacks import doors, looking, quiet
from leadglass.assurance.simulation.attacks.scene import Scene
from leadglass.assurance.simulation.draft import Draft

Act = Callable[[Scene], Iterator[Draft]]


@dataclass(frozen=True, slots=True)
class Script:
    """One kind of attack.

    Attributes:
        name: Its name.
        rules: Ids of the rules that ought to find it, the one it was written for first.
        act: Yields what is done.
        is_quiet: Whether who does it takes care not to be seen.
    """

    name: str
    rules: tuple[str, ...]
    act: Act
    is_quiet: bool = False

    @property
    def title(self) -> str:
        """What is done, in a line."""
        return (self.act.__doc__ or "").split("\n")[0]


def _script(act: Act, *rules: str) -> Script:
    return Script(act.__name__.replace("_", "-"), rules, act)


def _quiet(act: Act, *rules: str) -> Script:
    return Script(act.__name__.replace("_", "-"), rules, act, is_quiet=True)


SCRIPTS: Final = (
    _script(looking.snooping_colleague, "R-01"),
    _script(looking.own_record, "R-02"),
    _script(looking.family, "R-03"),
    _script(looking.colleague_as_patient, "R-04"),
    _script(looking.public_figure, "R-05"),
    _script(looking.neighbour, "R-06"),
    _script(looking.long_gone, "R-07"),
    _script(looking.at_night, "R-08"),
    _script(looking.rummaging, "R-09"),
    _script(doors.copies_everything, "R-09"),
    _script(doors.bulk_query, "R-10"),
    _script(doors.enumeration, "R-11"),
    _script(looking.harvester, "R-12"),
    _script(looking.moves_to_another_archive, "R-13"),
    _script(doors.stolen_certificate, "R-14"),
    _script(doors.twins, "R-15"),
    _script(looking.stolen_session, "R-15"),
    _script(looking.password_guessing, "R-16"),
    _script(looking.password_spray, "R-16"),
    _script(doors.guessing_titles, "R-17"),
    _script(doors.scanner, "R-18"),
    _script(doors.partial_gets, "R-19"),
    _script(doors.more_left_than_began, "R-19"),
    _script(looking.dormant_account, "R-20"),
    _script(looking.former_employee, "R-21"),
    _script(looking.gives_itself_rights, "R-22"),
    _script(looking.reads_the_record, "R-23"),
    _script(looking.silences_the_record, "R-23"),
    _script(doors.overwriting, "R-24"),
    _script(doors.another_patient, "R-25"),
    _script(looking.deletes_many, "R-26"),
    _script(looking.glass_without_review, "R-27"),
    _script(looking.takes_home, "R-28"),
    _script(doors.link_from_abroad, "R-28"),
    _script(looking.with_names, "R-29"),
    _script(doors.downgrade, "R-30"),
    _script(doors.other_issuer, "R-31"),
    _script(looking.decoy_patient, "R-32"),
    _script(doors.polyglot, "R-33"),
    _script(looking.in_the_news, "R-34"),
    _script(looking.wide_narrow_take, "R-35"),
    _script(looking.service_account, "R-36"),
    _script(doors.clock_set_back, "R-37"),
    _quiet(quiet.one_a_day, "R-01"),
    _quiet(quiet.neighbour_in_the_house, "R-06"),
    _quiet(quiet.trickle, "R-09"),
    _quiet(quiet.slow_enumeration, "R-11"),
    _quiet(quiet.slow_spray, "R-16"),
    _quiet(quiet.slow_titles, "R-17"),
    _quiet(quiet.few_deletions, "R-26"),
)
