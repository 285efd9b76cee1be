"""What another light costs a token: the readers' light.py and the pretrained tower's."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clips as cases
import pretrained.light as pretrained_light
import pytest
import reading.light as reading_light
import torch
from pretrained_cases import tiny
from reading.looks import Look
from torch import Tensor


class ByLevel:
    """A reader that says how bright a picture is: what is read changes with the light."""

    def read(self, pictures: Any, looks: list[Look]) -> list[str]:
        return [str(int(pictures.rgb(look.frame).float().mean())) for look in looks]


def question(frame: int, answer: str) -> Any:
    look = Look(frame, (0, 0, 4, 4), "text")
    return SimpleNamespace(looks=[look], answer=answer, answer_from=lambda said: said[0])


def test_pictures_are_shown_in_another_light() -> None:
    frames = torch.tensor([100, 200], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    film = SimpleNamespace(rgb=lambda t: frames[t])
    asked, viewer = [question(0, "100"), question(1, "200")], SimpleNamespace(reader=ByLevel())
    assert reading_light.right(viewer, film, asked) == 2
    darker = reading_light.Relit(film, reading_light.scaled(0.5))
    assert reading_light.right(viewer, darker, asked) == 0
    assert reading_light.right(viewer, darker, [question(1, "100")]) == 1
    white = reading_light.Relit(film, reading_light.LIGHTS["towards white, gain 0.7"])
    assert int(white.rgb(0)[0, 0, 0]) == 146  # 0.7 * 100 + 0.3 * 255


def test_shares_are_of_what_is_right_in_the_own_light() -> None:
    lights = dict.fromkeys(reading_light.LIGHTS, 3)
    rows = [{"reader": name, "asked": 10, "own light": 6, **lights} for name in ("a", "a", "b")]
    first, second = reading_light.retained(rows)
    assert (first["reader"], first["asked"], first["right"]) == ("a", 20, 12)
    assert second["right"] == 6
    assert first["gain 0.5"] == second["gain 0.5"] == 0.5


@pytest.mark.slow
def test_the_small_transformer_reads_less_in_the_dark(tmp_path: Path) -> None:
    reading_light.main(["--readers", "vit", "--scenes", "slides", "--processes", "1",
                        "--out", str(tmp_path / "r.json")])  # fmt: skip
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert row["asked"] >= row["right"] > 10
    assert row["gain 0.25"] < row["gain 0.7, the bound"] <= 1.1


def test_features_in_another_light_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cases.write(tmp_path / "clip.mp4", frames=40)
    monkeypatch.setattr(pretrained_light.weights, "load", tiny)
    monkeypatch.setattr(pretrained_light.clips, "paths", lambda wanted: [path])
    out = tmp_path / "f.json"
    pretrained_light.main(["--side", "56", "--out", str(out)])
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["clip"], row["side"]) == ("clip", 56)
    assert set(row) == {"clip", "side", "1 frame later", *pretrained_light.LIGHTS,
                        "25 frames later"}  # fmt: skip
    assert 0 < row["gain 0.9"] < row["gain 0.25"]
    with pytest.raises(SystemExit):
        pretrained_light.main(["--side", "60"])


def test_a_frame_has_no_error_to_itself() -> None:
    features: Tensor = torch.rand(2, 5, 8)
    assert pretrained_light.error(features, features) == pytest.approx(0, abs=1e-6)
    assert pretrained_light.error(features, -features) == pytest.approx(2, abs=1e-6)
