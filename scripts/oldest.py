"""Print the oldest release of every package that `setup.cfg` allows, as requirements for pip: `>=` becomes `==`.

`make test-oldest` installs these, so that a minimum that is declared but does not work is found. Of what the tests
take, PyTorch (a pinned release, in an environment of its own size), the pages and the browser are left out.
"""

from __future__ import annotations

import configparser
from pathlib import Path

SETTINGS = Path(__file__).parent.parent / "setup.cfg"
LEFT_OUT = ("torch", "scratchnet", "playwright")


def oldest(settings: Path = SETTINGS) -> list[str]:
    """The requirements of the package and of its tests, each as `name==minimum`.

    Raises ValueError if a requirement has no minimum: then nobody can say what it works with.
    """
    parsed = configparser.ConfigParser()
    parsed.read(settings, encoding="utf-8")
    listed = parsed["options"]["install_requires"] + parsed["options.extras_require"]["test"]
    pinned = []
    for requirement in filter(None, listed.split("\n")):
        if requirement.startswith((*LEFT_OUT, "#")):
            continue
        if ">=" not in requirement:
            raise ValueError(f"{settings}: expected a minimum, as in {requirement}>=1.0, got {requirement!r}")
        pinned.append(requirement.replace(">=", "=="))
    return pinned


if __name__ == "__main__":
    print("\n".join(oldest()))
