"""The host contract from CPython: what a program that has skep in it notices of that, and what not.

What a test does to its process, it does in one of its own: `run_program`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from conftest import IMAGE


def run_program(store: Path, body: str) -> str:
    """Runs a Python program with an engine in it; what it printed, if it ended well."""
    with started(store, body) as program:
        out, err = program.communicate()
    assert (program.returncode, err) == (0, "")
    return out


def started(store: Path, body: str) -> subprocess.Popen[str]:
    header = f"""
import os, signal, subprocess, sys, threading, time
import skep
from skep import PIPE
# A shell without job control has its background jobs ignore this signal, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
IMAGE = {IMAGE!r}
engine = skep.Engine({str(store)!r})
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = [sys.executable, "-W", "error", "-c", header + textwrap.dedent(body)]
    return subprocess.Popen(program, text=True, **pipes)  # type: ignore


def test_a_busy_host(store: Path) -> None:
    """Threads, an own SIGCHLD handler, subprocess and multiprocessing, all at the same time."""
    body = """
    import multiprocessing
    from concurrent.futures import ThreadPoolExecutor

    deaths = []
    signal.signal(signal.SIGCHLD, lambda *_: deaths.append(1))
    with ThreadPoolExecutor(8) as threads, multiprocessing.get_context("fork").Pool(2) as pool:
        ours = [threads.submit(engine.run, IMAGE, ["sh", "-c", f"exit {i % 7}"]) for i in range(40)]
        others = [threads.submit(subprocess.run, ["sh", "-c", f"exit {i % 5}"]) for i in range(40)]
        squares = pool.map(abs, range(-40, 0))
        assert [one.result().returncode for one in ours] == [i % 7 for i in range(40)]
        assert [one.result().returncode for one in others] == [i % 5 for i in range(40)]
        assert sorted(squares) == list(range(1, 41))
    # Not one of skep's: a wait for any child finds none.
    assert deaths
    try:
        os.waitpid(-1, os.WNOHANG)
        raise SystemExit("there is a child")
    except ChildProcessError:
        pass
    """
    assert run_program(store, body) == ""


def test_no_death_is_the_hosts_business(store: Path) -> None:
    body = """
    deaths = []
    signal.signal(signal.SIGCHLD, lambda *_: deaths.append(1))
    for _ in range(5):
        engine.run(IMAGE, ["true"])
    engine.close()
    assert not deaths
    """
    run_program(store, body)


def test_interrupting_a_run_kills_its_container(store: Path) -> None:
    body = """
    read, write = os.pipe()
    output = open(read)
    def interrupt():
        assert output.readline() == "runs\\n"
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    try:
        engine.run(IMAGE, ["sh", "-c", "echo runs; exec sleep 600"], stdout=write)
        raise SystemExit("was not interrupted")
    except KeyboardInterrupt:
        pass
    # The pipe ends when all who could write to it are gone.
    os.close(write)
    with output:
        assert output.read() == ""
    assert engine.run(IMAGE, ["echo", "again"]).stdout == b"again\\n"
    """
    run_program(store, body)


def test_interrupting_a_wait_leaves_the_container(store: Path) -> None:
    body = """
    with engine.spawn(IMAGE, ["cat"], stdin=PIPE, stdout=PIPE) as child:
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            child.wait()
            raise SystemExit("was not interrupted")
        except KeyboardInterrupt:
            pass
        assert child.poll() is None
        child.stdin.close()
        assert child.wait().success
    """
    run_program(store, body)


def test_handlers_run_during_a_wait_which_goes_on(store: Path) -> None:
    body = """
    with engine.spawn(IMAGE, ["cat"], stdin=PIPE) as child:
        # The handler alone ends what is waited for.
        signal.signal(signal.SIGUSR1, lambda *_: child.stdin.close())
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert child.wait().success
    """
    run_program(store, body)


def test_a_handlers_exception_ends_a_run(store: Path) -> None:
    body = """
    class Enough(Exception): pass
    def enough(*_): raise Enough
    signal.signal(signal.SIGALRM, enough)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        engine.run(IMAGE, ["sleep", "600"])
        raise SystemExit("was not ended")
    except Enough:
        pass
    """
    run_program(store, body)


def test_a_forked_copy_harms_nothing(store: Path) -> None:
    """It may drop, close and use what it has inherited: all that does is fail."""
    body = """
    import gc
    child = engine.spawn(IMAGE, ["cat"], stdin=PIPE, stdout=PIPE)
    pid = os.fork()
    if pid == 0:
        uses = (
            child.poll, child.wait, child.kill, child.usage, child.fileno,
            lambda: engine.run(IMAGE, ["true"]), engine.images.list,
            lambda: engine.images.tag(IMAGE, "localhost/copy:1"),
        )
        for use in uses:
            try:
                use()
                os._exit(1)
            except skep.InvalidStateError:
                pass
        child.stdin.close()
        child.stdout.close()
        child.close()
        engine.close()
        del child, use, uses
        gc.collect()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert child.poll() is None
    child.stdin.write(b"still here")
    child.stdin.close()
    assert child.stdout.read() == b"still here"
    assert child.wait().success
    child.close()
    """
    run_program(store, body)


def test_a_copy_forked_amid_runs_can_close_its_engine(store: Path) -> None:
    """The threads that ran them may have held their locks, and are not there."""
    body = """
    def load():
        while not stop.is_set():
            engine.run(IMAGE, ["head", "-c", "30000000", "/dev/zero"])
    stop = threading.Event()
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)
            engine.close()
            os._exit(7)
        exit = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if exit != 7:
            break
    stop.set()
    for thread in threads:
        thread.join()
    assert exit == 7, exit
    """
    run_program(store, body)


def test_a_forked_copy_may_have_an_engine_of_its_own(store: Path) -> None:
    body = """
    import asyncio, skep.aio
    async def run():
        async with skep.aio.Engine(engine.store) as own:
            return (await own.run(IMAGE, ["echo", "asyncio"])).stdout
    asyncio.run(run())
    engine.run(IMAGE, ["true"])
    pid = os.fork()
    if pid == 0:
        with skep.Engine(engine.store) as own:
            assert own.run(IMAGE, ["echo", "own"]).stdout == b"own\\n"
        assert asyncio.run(run()) == b"asyncio\\n"
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert engine.run(IMAGE, ["true"]).returncode == 0
    """
    run_program(store, body)


def test_the_process_is_as_it_was(store: Path) -> None:
    body = """
    import resource
    def state():
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        umask = os.umask(0o22)
        os.umask(umask)
        limits = [resource.getrlimit(n) for n in range(16)]
        threads = os.listdir("/proc/self/task")
        with open("/proc/self/mounts") as file:
            mounts = file.read()
        return handlers, mask, umask, os.getcwd(), dict(os.environ), limits, threads, mounts
    before = state()
    for _ in range(3):
        engine.run(IMAGE, ["true"], memory="64m", pids=10)
    with engine.spawn(IMAGE, ["cat"], stdin=PIPE):
        assert state() == before
    engine.close()
    assert state() == before
    """
    assert run_program(store, body) == ""


def test_every_descriptor_is_close_on_exec(store: Path) -> None:
    body = """
    before = set(os.listdir("/proc/self/fd"))
    import asyncio, skep.aio
    child = engine.spawn(IMAGE, ["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    child.fileno()
    for fd in set(os.listdir("/proc/self/fd")) - before:
        assert not os.path.exists(f"/proc/self/fd/{fd}") or not os.get_inheritable(int(fd)), fd
    child.close()
    del child
    engine.close()
    # And none is left.
    assert set(os.listdir("/proc/self/fd")) <= before
    """
    run_program(store, body)


def test_a_killed_host_takes_its_containers_along(store: Path) -> None:
    body = """
    threading.Thread(target=engine.run, args=(IMAGE, ["sh", "-c", "echo $$; sleep 600"]),
                     kwargs={"stdout": 1}).start()
    child = engine.spawn(IMAGE, ["sh", "-c", "echo $$; sleep 600"])
    child.wait()
    """
    with started(store, body) as program:
        assert program.stdout
        assert [program.stdout.readline() for _ in range(2)] == ["1\n", "1\n"]
        program.send_signal(signal.SIGKILL)
        # Both containers have it as their standard output: its end is theirs.
        assert program.stdout.read() == ""
    assert program.returncode == -9


def test_an_exit_ends_what_still_runs(store: Path) -> None:
    """Without a `with` block, and with a thread that waits: the interpreter ends as always."""
    body = """
    import warnings
    warnings.simplefilter("ignore")
    child = engine.spawn(IMAGE, ["sh", "-c", "echo runs; sleep 600"])
    threading.Thread(target=child.wait, daemon=True).start()
    keep = [child, engine.run]
    """
    assert run_program(store, body) == "runs\n"


def test_an_exception_in_the_block_ends_the_container(store: Path) -> None:
    body = """
    try:
        with engine.spawn(IMAGE, ["sleep", "600"]) as child:
            raise LookupError("mine")
    except LookupError:
        assert child.returncode == -9
    """
    run_program(store, body)


def test_drops_do_not_hold_the_gil(store: Path) -> None:
    """A thread goes on while another drops a container, which takes until its end."""
    body = """
    import gc, warnings
    warnings.simplefilter("ignore")
    sys.setswitchinterval(1e-5)
    counts = []
    stop = threading.Event()
    def count():
        while not stop.is_set():
            counts.append(time.perf_counter())
    threading.Thread(target=count).start()
    longest = 0
    for _ in range(10):
        child = engine.spawn(IMAGE, ["sleep", "600"])
        start, first = time.perf_counter(), len(counts)
        del child
        end = time.perf_counter()
        during = [at for at in counts[first:] if start < at < end]
        longest = max(longest, len(during))
    stop.set()
    assert longest > 10, longest
    """
    run_program(store, body)


def test_uses_no_more_descriptors_over_time(store: Path) -> None:
    body = """
    def descriptors():
        return len(os.listdir("/proc/self/fd"))
    engine.run(IMAGE, ["true"])
    before = descriptors()
    for _ in range(50):
        engine.run(IMAGE, ["true"], input=b"x")
        with engine.spawn(IMAGE, ["true"], stdin=PIPE, stdout=PIPE):
            pass
    assert descriptors() <= before
    """
    run_program(store, body)


def test_broken_standard_streams(store: Path) -> None:
    """Inherited where there is nothing to inherit is /dev/null, never another file."""
    program = [sys.executable, "-c", f"""
import os
os.closerange(0, 3)
import skep
with skep.Engine({str(store)!r}) as engine:
    with engine.spawn({IMAGE!r}, ["sh", "-c", "cat; echo lost; echo lost >&2"]) as child:
        os._exit(child.wait().returncode)
"""]  # fmt: skip
    assert subprocess.run(program, check=False).returncode == 0


def test_what_poll_and_select_have_of_it(store: Path) -> None:
    body = """
    import select
    with engine.spawn(IMAGE, ["cat"], stdin=PIPE) as child:
        poll = select.poll()
        poll.register(child, select.POLLIN)
        assert poll.poll(0) == []
        child.stdin.close()
        ((fd, events),) = poll.poll()
        assert fd == child.fileno() and events & select.POLLIN
        assert child.poll() is not None
    """
    run_program(store, body)


def test_no_output_and_no_thread(store: Path) -> None:
    body = """
    for image in ("localhost/none:1", IMAGE):
        try:
            engine.run(image, ["no-such-command"])
        except skep.NotFoundError:
            pass
    assert threading.active_count() == 1
    assert len(os.listdir("/proc/self/task")) == 1
    """
    assert run_program(store, body) == ""


def test_subinterpreters_are_refused(store: Path) -> None:
    """Whichever comes first, and what is refused breaks nothing."""
    body = """
    try:
        import _interpreters as subinterpreters
        fresh = lambda: subinterpreters.create("legacy")
    except ImportError:
        import _xxsubinterpreters as subinterpreters
        fresh = lambda: subinterpreters.create()
    attempt = '''if True:
        try:
            import skep
            print("imported", flush=True)
        except ImportError as error:
            print(error, flush=True)
    '''
    for _ in range(2):
        one = fresh()
        subinterpreters.run_string(one, attempt)
        subinterpreters.destroy(one)
    assert isinstance(engine.run(IMAGE, ["true"]).status, skep.ExitStatus)
    """
    refusal = "skep works in the main interpreter alone, not in a subinterpreter\n"
    assert run_program(store, body) == refusal * 2
