"""A Python that starts at once: `python -m …` becomes a fork of a process that has loaded the libraries already.

A start of torch takes seconds, and the tests under DVC start a hundred stages. A fork imports iglo and the stages from
its own folder. It differs from a new process: the libraries are loaded already, so variables that they read at their
import have no effect, and all forks have one hash seed. Linux only.
"""

import gc
import marshal
import os
import runpy
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "lpips", "sklearn.cluster", "sklearn.mixture", "matplotlib.pyplot", "PIL.Image")
LIBRARIES += ("pydantic", "ruamel.yaml", "safetensors.torch", "tqdm", "dvc.cli", "dvc.repo", "dvc.commands.repro")
# What the program `python` does: it sends its arguments, folder, variables and standard streams, and ends as the fork
# does. It loads no package, so it takes some milliseconds.
CLIENT = """
import marshal, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"streams"], [0, 1, 2])
    with server.makefile("wb") as file:
        marshal.dump((sys.argv[1:], os.getcwd(), dict(os.environ)), file)
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
    """Answers requests until standard input is closed. It also returns in each fork, after its module has run."""
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
            user = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            if user == os.getuid() and os.fork() == 0:  # another user of this machine gets no answer
                listening.close()
                return answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Runs a module in a fork, and sends its exit status. The fork is killed if whoever asked is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, len(b"streams"), 3)
    with connection.makefile("rb") as file:
        request = marshal.load(file)
    child = os.fork()
    if child == 0:
        connection.close()
        return run(streams, *request)
    if connection in select.select([os.pidfd_open(child), connection], [], [])[0]:
        os.kill(child, signal.SIGKILL)
        os._exit(0)
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
