"""The folder for what can be made or downloaded again: compiled code and data sets."""

from __future__ import annotations

from pathlib import Path


def cache_folder() -> Path:
    """scratchnet's folder in this user's cache.

    Raises
    ------
    FileNotFoundError
        If the user has no home, as in many a container. Some releases of platformdirs then give a path that begins with
        `~`, which would make a folder of that name wherever the program runs.
    """
    import platformdirs

    try:
        folder = Path(platformdirs.user_cache_dir("scratchnet"))
    except RuntimeError:  # what other releases do
        folder = Path("~")
    if not folder.is_absolute():
        raise FileNotFoundError(
            "this user has no home, so there is no cache folder; set HOME, or name folders with NUMBA_CACHE_DIR (for "
            "compiled code) and SCRATCHNET_DATA (for data sets)"
        )
    return folder
