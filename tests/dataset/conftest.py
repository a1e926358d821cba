from __future__ import annotations

import PIL.ImageFile
import pytest


@pytest.fixture
def no_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pictures no more than the first bytes may be read."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", refuse)
