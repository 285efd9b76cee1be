"""What a loader says beside the frames."""

import pytest

from patchgate.serving.times import Beside, ChunkName, middle, tubelet_times


def test_times_of_tubelets():
    assert tubelet_times([0.0, 0.1, 0.9], 2, 2) == [[0.0, 0.1], [0.9, 0.9]]
    assert tubelet_times([0.0, 0.1, 0.9, 2.0], 2, 2) == [[0.0, 0.1], [0.9, 2.0]]
    with pytest.raises(ValueError, match="5 times are those of 3 tubelets"):
        tubelet_times([0.0, 1, 2, 3, 4], 2, 2)


def test_a_sum_of_floats_does_not_lose_a_tenth():
    assert f"{middle([1.7, 1.8]):.2f}" == "1.75"
    assert middle([0.1 + 0.2, 0.1 + 0.2]) == 0.3


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"threshold": 2}, ValueError, "a request cannot set threshold: the server's settings"),
        ({"stream": "cam"}, TypeError, "number: expected a whole number, got None"),
        ({"number": 3}, TypeError, "stream: expected a name, got None"),
        ({"stream": "cam", "number": -1}, ValueError, "number: expected at least 0, got -1"),
        ([1], TypeError, "expected patchgate settings by name"),
        ({"pts_seconds": "now"}, TypeError, "expected a list of seconds"),
        ({"pts_seconds": []}, ValueError, "at least one frame, got none"),
        ({"pts_seconds": [0, 2, 1]}, ValueError, "times that do not go back"),
        ({"pts_seconds": [0, float("nan")]}, ValueError, "pts_seconds"),
    ],
)
def test_what_a_request_cannot_say(given, kind, words):
    with pytest.raises(kind) as error:
        Beside.of(given)
    assert words in str(error.value)


def test_what_it_can_say():
    assert Beside.of(None) == Beside()
    assert Beside.of({"pts_seconds": [0, 1.5]}).pts_seconds == [0.0, 1.5]


def test_names_of_chunks():
    assert ChunkName.read("stream:cam 1:12") == ChunkName("cam 1", 12)
    assert ChunkName.read("stream:rtsp://host:554/a:0") == ChunkName("rtsp://host:554/a", 0)
    for other in (None, "", "cam:3", "stream:cam", "stream::1", "stream:cam:-1", "my stream:a:1"):
        assert ChunkName.read(other) is None
    given = {"stream": "cam", "number": 2, "begun": "x"}
    assert Beside.of(given).chunk == ChunkName("cam", 2, "x")


def test_the_length_of_a_video():
    assert Beside.of(None, 2.5).seconds == 2.5
    assert Beside.of(None, 0).seconds is None
    assert Beside.of({"pts_seconds": [1, 2, 3]}, 99).seconds == 3  # of true times, if there are
