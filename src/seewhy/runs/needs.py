"""What a run needs beside the package, imported where it is first used."""

from __future__ import annotations

import importlib
from typing import Any

from seewhy.errors import DataError


def needed(module: str, what: str, extra: str) -> Any:
    """The module.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise DataError(
            f"{what} needs the package {package}, which is not installed; install it with: "
            f'pip install "seewhy[{extra}]".'
        ) from None
