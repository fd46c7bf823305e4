"""What the use cases share: the decision and its record, the room, the studies."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from leadglass.access.policy import Kind, Rule, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive import studies as studies_module
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Room
from leadglass.archive.studies import studies_of
from leadglass.errors import Refused, Unavailable
from tests.unit.archive.conftest import OPERATOR, Home, Rules, make_instance
from tests.unit.archive.rig import events, on, quiet_disk, send

DEVICE = Caller(
    subject=Subject(Kind.DEVICE, "CT1"),
    address=ip_address("10.4.0.7"),
    ae_title="CT1",
    certificate="a" * 64,
    channel="TLSv1.3",
)


def rule(scope: str = "all", network: str = "10.4.0.0/24") -> Rule:
    return Rule(
        name=scope,
        subjects=frozenset({DEVICE.subject}),
        rights=frozenset({Right.FIND}),
        networks=(ip_network(network),),
        scope=EVERYTHING if scope == "all" else Scope.parse(scope),
    )


class TestGate:
    def test_scopes_are_those_of_all_rules_that_permit(self) -> None:
        rules = (rule("modality=CT"), rule("modality=MR"), rule("all", "10.5.0.0/24"))
        found = Gate(lambda _subject: rules).scopes(DEVICE, Right.FIND)
        assert set(found) == {Scope.parse("modality=CT"), Scope.parse("modality=MR")}

    @pytest.mark.parametrize(
        "caller",
        [
            replace(DEVICE, address=ip_address("10.6.0.7")),
            replace(DEVICE, address=None),
            replace(DEVICE, subject=Subject(Kind.EXCEPTION, "CT1")),
            replace(DEVICE, subject=Subject(Kind.OPERATOR, "CT1")),
        ],
    )
    def test_another_address_or_kind_is_another_caller(self, caller: Caller) -> None:
        with pytest.raises(Refused):
            Gate(lambda _subject: (rule(),)).scopes(caller, Right.FIND)

    def test_without_a_rule_nothing(self) -> None:
        with pytest.raises(Refused):
            Gate(lambda _subject: ()).scopes(DEVICE, Right.ECHO)

    def test_a_change_of_the_rules_is_seen_at_once(self, rules: Rules) -> None:
        gate = Gate(rules)
        rules.rules = (rule(),)
        assert gate.scopes(DEVICE, Right.FIND) == (EVERYTHING,)
        rules.rules = ()
        with pytest.raises(Refused):
            gate.scopes(DEVICE, Right.FIND)


class TestRequire:
    def test_the_caller_hears_no_reason_the_record_does(
        self, home: Home, rules: Rules
    ) -> None:
        rules.rules = (rule(network="10.5.0.0/24"),)
        with pytest.raises(Refused) as caught:
            home.parts.require(DEVICE, Right.FIND, "C-FIND")
        assert str(caught.value) == "not authorized"
        assert caught.value.__cause__ is None
        (event,) = events(home)
        assert event.outcome_description != "not authorized"
        facts = dict(event.objects[0].details)
        assert facts["function"] == "C-FIND"
        assert facts["Alert Description"] == event.outcome_description
        participant = event.participants[0]
        assert (participant.user_id, participant.access_point) == ("CT1", "10.4.0.7")
        assert participant.alternative_id == "AETITLES=CT1"
        assert event.details["certificate"] == "a" * 64
        assert event.details["channel"] == "TLSv1.3"

    def test_it_stays_a_refusal_when_it_cannot_be_recorded(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            rig.database.fail_before = 1
            with pytest.raises(Refused):
                rig.parts.require(DEVICE, Right.FIND, "C-FIND")

    def test_events_of_one_act_are_recorded_together_or_not(self, home: Home) -> None:
        parts = home.parts
        echo = parts.events.echo(parts.actor(OPERATOR))
        with on(home, quiet_disk()) as rig:
            rig.database.fail_before = 1
            assert not rig.parts.try_to_record(echo, echo)
            assert not events(home)
            assert rig.parts.try_to_record(echo, echo)
        assert len(events(home)) == 2


class TestRoom:
    def test_there_is_some(self, tmp_path: Path) -> None:
        Room(tmp_path, free_bytes_min=1).check()

    @pytest.mark.parametrize("folder", ["", "gone"])
    def test_there_is_none_or_nobody_can_say(self, tmp_path: Path, folder: str) -> None:
        with pytest.raises(Unavailable) as caught:
            Room(tmp_path / folder, free_bytes_min=1 << 62).check()
        assert caught.value.dimse_status == 0xA700


class TestStudies:
    def test_within_the_scopes_and_in_parts(
        self, home: Home, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(studies_module, "_PER_QUERY", 2)
        uids = [f"1.2.3.{number}" for number in range(5)]
        for number, uid in enumerate(uids):
            send(ingest, make_instance(study=uid, patient=f"P{number}"))
        with home.parts.database.read() as connection:
            found = studies_of(
                home.parts.index, connection, [*uids, *uids, "1.2.9"], (EVERYTHING,)
            )
            one = studies_of(
                home.parts.index, connection, uids, (Scope.parse("patient_id=P3"),)
            )
            none = studies_of(home.parts.index, connection, uids, ())
        assert {each.patient_id for each in found.values()} == {
            f"P{number}" for number in range(5)
        }
        assert found["1.2.3.1"].patient_name == "Müller^Zoë"
        assert found["1.2.3.1"].accession == "ACC-1.2.3.1"
        assert list(one) == ["1.2.3.3"]
        assert none == {}

    def test_what_a_study_does_not_say_is_empty(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance(study="1.2.3.1", PatientID=None, PatientName=None))
        with home.parts.database.read() as connection:
            found = studies_of(home.parts.index, connection, ["1.2.3.1"], (EVERYTHING,))
        assert (found["1.2.3.1"].patient_id, found["1.2.3.1"].patient_name) == ("", "")
