"""Which product it is, and what is known of it."""

from collections.abc import Iterator
from typing import Any, Final

from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.products import (
    DEFAULT_TITLES,
    SUPPORTED,
    Product,
    flaws_of,
    of_association,
    of_header,
    of_system,
)
from leadglass.assurance.exposure.service import Service
from leadglass.assurance.finding import Severity

_P: Final = Level.PASSIVE


def products_of(service: Service) -> tuple[Product, ...]:
    """Return what this service tells of itself, the product before its toolkit."""
    found: list[Product | None] = []
    if service.web is not None:
        system: Any = service.web.get("/system").json()
        found.append(of_system(system) if isinstance(system, dict) else None)
        found.append(of_header(service.web.root.headers.get("server", "")))
    if service.dicom is not None and service.dicom.door is not None:
        door = service.dicom.door
        found.append(of_association(door.implementation, door.version))
    return tuple(dict.fromkeys(each for each in found if each is not None))


def all_products_of(service: Service) -> tuple[Product, ...]:
    """Return also what other ports of the same host tell: it is one product there."""
    own = products_of(service)
    if service.dicom is not None or service.web is not None:
        for other in service.host.services:
            if other is not service and other.web is not None:
                own += products_of(other)
    # The most telling first: Orthanc is made with DCMTK, not the other way round.
    return tuple(sorted(dict.fromkeys(own), key=lambda each: each.name == "DCMTK"))


def _known(service: Service) -> Iterator[Sighting]:
    for product in products_of(service):
        for flaw in flaws_of(product):
            yield Sighting(
                f"{product.text} by its number: {', '.join(flaw.ids)}",
                severity=flaw.severity,
                details={"product": product.text, "cve": list(flaw.ids)},
            )


def _old(service: Service) -> Iterator[Sighting]:
    for product in products_of(service):
        least = SUPPORTED.get(product.name)
        if least is not None and product.version and product.version < least:
            shown = ".".join(map(str, least))
            yield Sighting(
                f"{product.text}; mended is {shown} and later",
                details={"product": product.text},
            )


def _default_title(service: Service) -> Iterator[Sighting]:
    titles = set()
    if service.dicom is not None and service.dicom.door is not None:
        titles.add(str(service.dicom.door.called))
    if service.web is not None:
        system = service.web.get("/system").json()
        if isinstance(system, dict):
            titles |= {str(system.get("DicomAet")), str(system.get("Name"))}
    if found := sorted(titles & DEFAULT_TITLES):
        yield Sighting(f"the name is the product's: {', '.join(found)}")


PRODUCT: Final = (
    Check(
        "VUL-01", _P, Severity.HIGH, "Flaws of this version are known",
        "what AE-09, WEB-07 and WEB-17 sent", "Upgrade.", ("NVD",), _known,
    ),
    Check(
        "VUL-02", _P, Severity.MEDIUM, "Nobody mends this version any more",
        "what AE-09, WEB-07 and WEB-17 sent", "Upgrade.", ("45 CFR 164.308(a)(1)",),
        _old,
    ),
    Check(
        "VUL-03", _P, Severity.LOW, "The AE title is the product's default",
        "what AE-01 and WEB-07 sent", "Choose another, and do not rely on it.",
        ("PS3.8 §9.3.4",), _default_title,
    ),
)  # fmt: skip
