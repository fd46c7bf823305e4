"""The pictures are what the script draws, and show the house as it is."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"
# How wide a letter of the two sizes is at most, on average.
NAME_PX, SMALL_PX = 9.0, 6.6


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("draw", PICTURES / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["house.svg", "arrival.svg", "doors.svg"])
def test_pictures_are_as_drawn(name: str, script: ModuleType) -> None:
    drawn = script.PICTURES[name]()
    assert (PICTURES / name).read_text("utf-8") == drawn, (
        "run: python docs/pictures/draw.py"
    )


def test_the_house_has_the_folders_of_the_source(script: ModuleType) -> None:
    shown = {name for _, _, folders in script.HOUSE for name, _ in folders}
    source = ROOT / "src" / "leadglass"
    there = {
        path.stem
        for path in source.iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }
    assert shown == there


@pytest.mark.parametrize("name", ["house.svg", "arrival.svg", "doors.svg"])
def test_texts_fit_their_boxes(name: str) -> None:
    boxes = []
    for element in ET.parse(PICTURES / name).getroot():
        if element.tag == f"{SVG}rect" and "x" in element.attrib:
            boxes.append((float(element.attrib["x"]), float(element.attrib["width"])))
        elif element.tag == f"{SVG}text" and element.attrib.get("text-anchor"):
            letter = NAME_PX if element.attrib["class"] == "name" else SMALL_PX
            _, width = boxes[-1]
            assert len(element.text or "") * letter <= width, element.text
