"""Every sentence of the pages is translated, and each reader gets the right one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from leadglass.servers import web
from leadglass.servers.web.menu import MENU
from leadglass.servers.web.texts import Text, Texts

PACKAGE = Path(web.__file__).parent
# The pages for who has not logged in yet.
BESIDE = PACKAGE.parent / "pages"
FIELD = re.compile(r"\{[a-z_]*\}")


def of_templates() -> Iterator[str]:
    for path in (*(PACKAGE / "templates").glob("*.html"), *BESIDE.rglob("*.html")):
        tree = Environment(autoescape=True).parse(path.read_text("utf-8"))
        for _, _, sentence in extract_from_ast(tree, ("_",)):
            # One with values to fill in comes as a tuple.
            first = sentence[0] if isinstance(sentence, tuple) else sentence
            if isinstance(first, str):  # else it is marked where it is written
                yield first


def of_handlers() -> Iterator[str]:
    """Yield what is marked in Python: ``text("…")`` and ``N_("…")``."""
    for path in (*PACKAGE.glob("*.py"), *BESIDE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in {"text", "N_"} and isinstance(
                node.args[0], ast.Constant
            ):
                yield str(node.args[0].value)


WRITTEN = {*of_templates(), *of_handlers(), *(each.text for each in MENU)}
TEXTS = Texts()
OTHERS = TEXTS.languages[1:]


def sentences(language: str) -> dict[str, str]:
    return dict(TEXTS.of(language)._sentences)


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_and_no_other(language: str) -> None:
    assert WRITTEN
    assert set(sentences(language)) == WRITTEN


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_fills_in_what_the_sentence_does(language: str) -> None:
    for english, translated in sentences(language).items():
        assert sorted(FIELD.findall(english)) == sorted(FIELD.findall(translated))


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("de;q=0.2, en;q=0.8", "en"),
        ("fr, de;q=0.3", "de"),
        ("fr", "en"),
        ("de;q=x", "en"),
        ("../../etc/passwd", "en"),
    ],
)
def test_a_browser_gets_what_it_wants_most(wanted: str, given: str) -> None:
    assert TEXTS.wanted(wanted).language == given


def test_what_is_not_translated_is_said_in_english() -> None:
    assert Text("de", {})("{count} studies", count=3) == "3 studies"
