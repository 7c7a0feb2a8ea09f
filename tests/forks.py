"""A Python that starts at once: `python -m …` becomes a fork of a process that has loaded the libraries already.

A start of torch takes seconds, and the tests under DVC start a hundred stages. A fork loads iglo and the stages itself,
from the folder where it runs. So it differs from a process of its own by the loaded libraries alone. Linux only.
"""

import gc
import marshal
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "lpips", "sklearn.cluster", "sklearn.mixture", "matplotlib.pyplot", "PIL.Image")
LIBRARIES += ("pydantic", "ruamel.yaml", "safetensors.torch", "tqdm", "dvc.cli", "dvc.repo", "dvc.commands.repro")
LONGEST = 1 << 20  # bytes of a request
# What the program `python` does: it sends its arguments, folder, variables and standard streams, and ends as the fork
# does. It loads no package, so it takes some milliseconds.
CLIENT = """
import marshal, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))], [0, 1, 2])
    sys.exit(int(server.recv(4) or 1))
"""


@contextmanager
def preloaded(folder: Path) -> Iterator[None]:
    """Writes a program `python`, which takes `-m MODULE …`, to an empty folder. It works until the context ends."""
    address = f"\0iglo-{uuid.uuid4()}"  # a name that is no file
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, __file__, address[1:]], **pipes) as server:  # ends when its input does
        assert server.stdout.readline() == b"ready\n"
        client, program = folder / "client.py", folder / "python"
        client.write_text(CLIENT.format(address=address))
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(client))} "$@"\n')
        program.chmod(0o755)
        yield


def serve(name: str) -> None:
    """Answers requests until standard input is closed. It returns in each fork too, when the module has run."""
    for library in LIBRARIES:
        __import__(library)
    gc.collect()
    gc.freeze()  # else a fork would visit them, and copy what it visits
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        print("ready", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                return answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Runs a module in a fork, and sends its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, streams, _, _ = socket.recv_fds(connection, LONGEST, 3)
    child = os.fork()
    if child == 0:
        connection.close()
        return run(streams, *marshal.loads(request))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(str(status if status >= 0 else 128 - status).encode())
    os._exit(0)


def run(streams: list[int], argv: list[str], folder: str, variables: dict[str, str]) -> None:
    """Runs `python ARGV…` in this process, which must be a fork that ends afterwards."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    flag, module, *rest = argv
    assert flag == "-m", argv
    sys.argv = ["-m", *rest]
    sys.path[:1] = ["", *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)  # Python would free all libraries one by one


if __name__ == "__main__":
    serve(*sys.argv[1:])
