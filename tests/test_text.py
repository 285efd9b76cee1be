"""Names as text."""

import re
from pathlib import Path

import pytest

import patchgate
from patchgate._check.text import a_or_an, nearest_first


@pytest.mark.parametrize(
    ("article", "names"),
    [
        ("a", "Linear SiglipVisionModel CLIPVisionModel UNet UniModel _Private ViT MaxPool2d"),
        ("an", "Identity Attention Embedding Other Unfold Upsample MLP RMSNorm _Own int8"),
    ],
)
def test_a_class_has_the_article_of_how_it_is_spoken(article: str, names: str) -> None:
    for name in names.split():
        assert a_or_an(name) == f"{article} {name}"


def test_no_message_puts_an_article_of_its_own_before_a_class() -> None:
    sources = Path(patchgate.__file__).parent.rglob("*.py")
    own = re.compile(r"\ban? \{(type\(|kind\b|[\w.]*__name__)")
    found = [path.name for path in sources if own.search(path.read_text("utf-8"))]
    assert not found


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("treshold", "threshold"), ("search", "search_radius"), ("Threshold", "threshold"),
     ("max-age", "max_age"), (7, "size")],
)  # fmt: skip
def test_the_nearest_name_comes_first_and_none_is_left_out(name: object, nearest: str) -> None:
    names = ["size", "patch", "max_age", "threshold", "search_radius", "sub_blocks"]
    found = nearest_first(name, names)
    assert found[0] == nearest
    assert sorted(found) == sorted(names)
    assert nearest_first("", names) == names, "where none is nearer, the order stays"
