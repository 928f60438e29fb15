"""Runs `true` once for each line read; see benches/src/languages.rs."""

import resource
import sys
import time

import skep


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


store, tar, image = sys.argv[1:]
engine = skep.Engine(store)
engine.images.import_(tar, image)
for _ in sys.stdin:
    used, start = cpu(), time.perf_counter()
    done = engine.run(image, ["/bin/true"], memory="256m", cpus=0.5, pids=64)
    wall = time.perf_counter() - start
    assert done.returncode == 0
    print(f"{wall * 1e6:.1f} {(cpu() - used) * 1e6:.1f}", flush=True)
