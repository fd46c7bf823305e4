"""Person names: groups, and how they are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.personname import PersonName, fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MÜLLER", "muller"),
        ("Weiß", "WEISS"),
        ("STRAẞE", "strasse"),
        ("İpek", "ipek"),  # Turkish: capital I with a dot
        ("IŞIK", "ışık"),  # noqa: RUF001  # and small i without one
        ("Łukasz", "lukasz"),
        ("ŁÓDŹ", "lodz"),
        ("Nguyễn", "NGUYEN"),
        ("Đặng", "dang"),
        ("Ngu\u0079\u0302n", "Nguyn"),
        ("Œuvre", "oeuvre"),
        ("Ærø", "aero"),
        ("ＹＡＭＡＤＡ", "yamada"),  # noqa: RUF001  # full width
        ("ﾔﾏﾀﾞ", "ヤマダ"),  # half-width kana
        ("Διονύσιος", "ΔΙΟΝΥΣΙΟΣ"),  # Greek, final sigma
        ("Ёлкин", "елкин"),
        ("קָבָּנִי", "קבני"),  # vowel points
        ("Doe^John^^", "DOE^JOHN"),
        ("Doe  Smith ^ John", "doe smith^john"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ヤマタ", "ヤマダ"),  # a voicing mark makes another syllable
        ("ハ", "パ"),
        ("Doe^John", "Doe John"),
        ("Doe^^John", "Doe^John"),
        ("山田", "山本"),
        ("김", "길"),
    ],
)
def test_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text(max_size=40))
def test_folding_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=40))
def test_case_does_not_matter(text: str) -> None:
    assert fold(text.upper()) == fold(text.upper().casefold())


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", ("", "", "")),
        ("Doe^Jane", ("Doe^Jane", "", "")),
        (
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ("Yamada^Tarou", "山田^太郎", "やまだ^たろう"),
        ),
        ("=山田", ("", "山田", "")),
        ("==やまだ", ("", "", "やまだ")),
        ("a = b = c = d", ("a", "b", "c")),
    ],
)
def test_groups(text: str, groups: tuple[str, str, str]) -> None:
    name = PersonName.parse(text)
    assert (name.alphabetic, name.ideographic, name.phonetic) == groups
    assert name.folded == tuple(fold(group) for group in groups)
