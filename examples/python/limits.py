"""Python runs with limits, and its output and what it used are read.

Run as root: python limits.py app.tar [STORE]
"""

import sys

import skep


def main(archive: str, store: str = "/var/lib/skep") -> None:
    with skep.Engine(store) as engine:
        image = engine.images.load(archive)
        result = engine.run(
            image,
            ["python3", "-c", "print(6*7)"],
            memory="256m",
            cpus=0.5,
            pids=64,
            timeout=30,
            text=True,
        )
    print(result.stdout, end="")
    memory, cpu = result.usage.memory_peak, result.usage.cpu_total
    below = "below" if memory is not None and memory < 256 << 20 else "not below"
    under = "under" if cpu is not None and cpu < 10 else "not under"
    print(f"{result.status}, memory peak {below} 256 MiB, {under} 10 s of CPU")


if __name__ == "__main__":
    main(*sys.argv[1:])
