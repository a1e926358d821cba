"""What files of results end in: pictures, and data."""

from __future__ import annotations

from pathlib import Path

from seewhy.errors import ImageError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
DATA = (".npz", ".json")
RESULTS = PICTURES + DATA


def ending_of(path: str | Path, what: str, endings: tuple[str, ...]) -> str:
    """The ending of the file's name in small letters, if it is one of these.

    Args:
        path: the file.
        what: is saved there, in words, for the error.
        endings: those that are possible.

    Raises:
        ImageError: it is none of them; the message lists them.
    """
    ending = Path(path).suffix.lower()
    if ending not in endings:
        came = f"'{ending}' is not one of these" if ending else "the name has no ending"
        *others, last = (one for one in endings if one != ".jpeg")
        raise ImageError(
            f"{Path(path).name}: {what} is saved as {', '.join(others)} or {last}; {came}."
        )
    return ending
