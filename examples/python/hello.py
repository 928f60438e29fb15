"""The smallest use.

Run as root: python hello.py app.tar [STORE]
"""

import sys

import skep


def main(archive: str, store: str = "/var/lib/skep") -> None:
    with skep.Engine(store) as engine:
        image = engine.images.load(archive)
        print(engine.run(image, ["echo", "hello from a container"], text=True).stdout, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
