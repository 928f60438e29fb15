"""A hundred sandboxes at once, with a progress bar.

Run as root: python hundred.py app.tar [STORE]
"""

import asyncio
import sys

import skep.aio

COUNT = 100


async def main(archive: str, store: str = "/var/lib/skep") -> None:
    async with skep.aio.Engine(store) as engine:
        image = await engine.images.load(archive)
        # All run at the same time; no thread waits for them.
        sandboxes = [engine.run(image, ["echo", str(i)], pids=8, text=True) for i in range(COUNT)]
        total = 0
        for done, result in enumerate(asyncio.as_completed(sandboxes), start=1):
            total += int((await result).stdout)
            bar = "#" * (done * 50 // COUNT)
            print(f"\r[{bar:<50}] {done}/{COUNT}", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(f"{COUNT} sandboxes: sum {total}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
