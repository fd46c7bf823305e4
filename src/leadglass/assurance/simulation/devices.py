"""What has a certificate: modalities, workstations, other nodes and programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from leadglass.assurance.review.knowledge import Person
from leadglass.assurance.simulation.chance import fingerprint, stream
from leadglass.assurance.simulation.draft import DAY_S
from leadglass.assurance.simulation.scale import Scale

CALLED: Final = "LEADGLASS"
# Of all modalities, those with an exception for plaintext since they know no TLS.
LEGACY: Final = 0.12
# Versions of programs that devices announce; invented, as their makers are.
_VERSIONS: Final = ("VEXIM_41", "ORBITA_7.2", "NUBO_XR_12", "KELDA_3T_5", "PIXARO_2.8")


@dataclass(frozen=True, slots=True)
class Make:
    """A kind of device.

    Attributes:
        kind: Modality, or what it is for.
        per_bed: How many there are for each bed.
        least: How many there are at least.
        images: Instances of an ordinary study of it; 0 if it makes none.
    """

    kind: str
    per_bed: float
    least: int
    images: int = 0


MODALITIES: Final = (
    Make("CR", 1 / 120, 2, 2),
    Make("CT", 1 / 150, 1, 300),
    Make("MR", 1 / 200, 1, 400),
    Make("US", 1 / 100, 2, 25),
    Make("XA", 1 / 400, 1, 60),
    Make("MG", 1 / 500, 1, 4),
    Make("NM", 1 / 600, 1, 10),
)
_OTHERS: Final = (
    Make("read", 1 / 60, 3),  # workstations that radiologists move studies to
    Make("ward", 1 / 120, 2),  # viewers of other departments
    Make("robot", 1 / 1_000, 1),  # burns media
    Make("ai", 1 / 1_000, 1),  # finds things, and stores what it found
    Make("monitor", 1 / 5_000, 1),  # asks every ten minutes who is there
)
# Programs with an account: the second archive, the information system, research.
PROGRAMS: Final = ("archive-copy", "ris", "research-pipeline")


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        person: What is known of it.
        kind: Modality, or what it is for.
        images: Instances of an ordinary study of it.
        base: Who, in fields of ``Fact``.
    """

    person: Person
    kind: str
    images: int
    base: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that trails know."""
        return self.person.name

    @property
    def ae_title(self) -> str:
        """What it calls itself."""
        return str(self.base["ae_title"])


def install(scale: Scale) -> tuple[Device, ...]:
    """Return all devices."""
    chance = stream(scale.seed, "devices")
    devices: list[Device] = []
    for make in (*MODALITIES, *_OTHERS):
        for number in range(1, max(make.least, round(scale.beds * make.per_bed)) + 1):
            at = len(devices)
            is_legacy = make.images > 0 and chance.random() < LEGACY
            name = f"{make.kind.lower()}-{number}"
            base = {
                "who": name,
                "who_kind": "device",
                "ae_title": f"{make.kind}_{number}".upper(),
                "called": CALLED,
                "address": f"10.{20 + at // 240}.{at % 240 // 60}.{at % 60 + 11}",
                "certificate": "" if is_legacy else fingerprint(scale.seed, name),
                "implementation": chance.choice(_VERSIONS),
                "channel": "plaintext" if is_legacy else "TLSv1.3",
            }
            person = Person(
                name=name,
                kind="device",
                department="radiology",
                created=scale.moment(-chance.uniform(200, 2_000) * DAY_S),
            )
            devices.append(Device(person, make.kind, make.images, base))
    return tuple(devices)


def programs(scale: Scale) -> tuple[Device, ...]:
    """Return programs that come by a token."""
    made = []
    for number, name in enumerate(PROGRAMS):
        base = {
            "who": name,
            "who_kind": "program",
            "address": f"10.30.0.{20 + number}",
            "implementation": f"{name}/{number + 2}.1",
            "channel": "TLSv1.3",
        }
        person = Person(
            name=name,
            kind="program",
            department="it",
            created=scale.moment(-400 * DAY_S),
        )
        made.append(Device(person, "program", 0, base))
    return tuple(made)
