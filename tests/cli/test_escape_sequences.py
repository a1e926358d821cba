"""Names of files, classes and layers may hold what a terminal obeys; none of it reaches one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_networks import TINY

# A window's title, a colour in one character, writing from right to left. (Colours that begin with
# escape and bracket would prove nothing: click itself takes them out where there is no terminal.)
HARM = "\x1b]0;mine\x07\x9b31m\u202e"
ESCAPED = r"\x1b]0;mine\x07\x9b31m\u202e"


@pytest.fixture
def harmful_labels(tmp_path: Path) -> Path:
    path = tmp_path / "harmful.txt"
    path.write_text(f"red{HARM}\ngreen\nblue\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "--target", "0"),
        ("compare", "--target", "0", "--method", "grad-cam,hires-cam"),
        ("features", "--sort", "contribution", "--target", "0"),
        ("concepts", "--count", "2"),
        ("label", "--target", "0", "--all-components"),
    ],
    ids=lambda words: words[0],
)
def test_results_are_printed_without_controls(seewhy, picture, harmful_labels, words):
    path = picture(f"in/a{HARM}.png")
    path = path.parent if words[0] == "label" else path
    result = seewhy(words[0], path, *TINY, "--labels", harmful_labels, *words[1:])
    assert result.exit_code == 0, result.output
    for text in (result.stdout, result.stderr):
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    # What a data set is written with has no control characters in the first place.
    shown = "red ]0;mine" if words[0] == "label" else rf"red{ESCAPED}"[:20]
    assert shown in result.stdout.replace("\n", "")


def test_errors_and_warnings_are_printed_without_controls(seewhy, picture, harmful_labels):
    for words in (
        ("explain", f"missing{HARM}.png"),
        ("explain", picture(), "--layer", f"layer{HARM}"),
        ("explain", picture(), "--target", f"class{HARM}"),
        ("explain", picture(f"grey{HARM}.png", "black"), "--target", "0"),
        ("compare", picture(), "--out", f"a{HARM}.gif"),
        ("explain", picture(), "--model", f"nothing{HARM}"),
    ):
        result = seewhy(*words[:2], *TINY, "--labels", harmful_labels, *words[2:])
        said = result.stderr
        assert said, words
        assert all(line.isprintable() for line in said.split("\n")), ascii(said)
        assert "0;mine" in said or "layer" in said, ascii(said)
