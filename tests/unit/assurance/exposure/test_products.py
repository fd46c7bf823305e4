"""Which product, which version, what is known of it."""

import pytest

from leadglass.assurance.exposure.products import (
    Product,
    flaws_of,
    numbers_in,
    of_association,
    of_system,
    remedy_for,
)


@pytest.mark.parametrize(
    ("implementation", "version", "product"),
    [
        ("1.2.276.0.7230010.3.0.3.6.7", "OFFIS_DCMTK_367", Product("DCMTK", (3, 6, 7))),
        ("1.2.40.0.13.1.3", "dcm4che-5.33.1", Product("dcm4chee", (5, 33, 1))),
        ("1.2.40.0.13.1.3", "", Product("dcm4chee")),
        ("1.2.826.0.1.3680043.9.3811.3.0.4", "", Product("pynetdicom")),
        ("2.25.1", "NOBODY", None),
    ],
)  # fmt: skip
def test_an_association_tells_the_product(
    implementation: str, version: str, product: Product | None
) -> None:
    assert of_association(implementation, version) == product


def test_orthanc_tells_its_version() -> None:
    told = {"DicomAet": "ORTHANC", "Version": "1.12.10", "Name": "x"}
    assert of_system(told) == Product("Orthanc", (1, 12, 10))
    assert of_system({"Version": "1"}) is None
    # "mainline" has no number: nothing is claimed of it.
    main = of_system({"DicomAet": "O", "Version": "mainline"})
    assert main is not None
    assert flaws_of(main) == ()


def test_flaws_go_by_numbers_not_by_letters() -> None:
    assert {e.below for e in flaws_of(Product("Orthanc", (1, 5, 7)))} == {
        (1, 5, 8),
        (1, 12, 11),
    }
    assert flaws_of(Product("Orthanc", (1, 12, 11))) == ()
    assert flaws_of(Product("DCMTK", (3, 7, 1))) == ()
    assert numbers_in("v10.2.3-beta") == (10, 2, 3)
    assert numbers_in("none") == ()


def test_the_remedy_is_the_products() -> None:
    told = remedy_for((Product("Orthanc"),), "DM-02", "Close it.")
    assert told == 'orthanc.json: "DicomAlwaysAllowFind": false. Close it.'
    assert remedy_for((), "DM-02", "Close it.") == "Close it."
    # DM-09p begins as DM-09 does, and takes the same setting.
    assert "DicomAlwaysAllowStore" in remedy_for((Product("Orthanc"),), "DM-09p", "x")
