"""What it looks like when a container fails: memory, time, an exit code, no such command.

Run as root: python failures.py app.tar [STORE]
"""

import sys

import skep


def main(archive: str, store: str = "/var/lib/skep") -> None:
    with skep.Engine(store) as engine:
        image = engine.images.load(archive)
        try:
            engine.run(image, ["python3", "-c", "bytearray(1 << 30)"], memory="64m")
        except skep.OutOfMemoryError as error:
            print(f"memory: {error.status}")
        try:
            engine.run(image, ["python3", "-c", "while True: pass"], timeout=0.2)
        except skep.TimeoutError as error:
            print(f"timeout: {error.status}")

        # Another exit code than 0 is a result, unless check=True makes it an ExitError.
        result = engine.run(image, ["python3", "-c", "raise SystemExit(3)"])
        print(f"exit: {result.status}")

        # All of them are skep.Error; this one is a FileNotFoundError, too.
        try:
            engine.run(image, ["no-such-command"])
        except skep.NotFoundError as error:
            print(f"missing: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
