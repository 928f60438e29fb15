"""A server in a container, which the program talks to through its standard streams.

Run as root: python server.py app.tar [STORE]
"""

import sys

import skep

# Answers each line with its value. What a sandbox is for: nobody would `eval` that outside.
SERVER = "import sys\nfor line in sys.stdin: print(eval(line), flush=True)"


def main(archive: str, store: str = "/var/lib/skep") -> None:
    with skep.Engine(store) as engine:
        image = engine.images.load(archive)
        command = ["python3", "-c", SERVER]
        with engine.spawn(image, command, stdin=skep.PIPE, stdout=skep.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            for question in ("3 + 4", "10 * 10", "2 ** 64"):
                print(question, file=server.stdin)
                print(f"{question} = {server.stdout.readline()}", end="")
            # End of file: the server's loop ends.
            server.stdin.close()
            print(f"server ended: {server.wait()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
