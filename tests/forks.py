"""A Python that starts at once: `python -m …` becomes a fork of a process that has loaded the libraries already.

A start of torch takes seconds, and the tests under DVC start a hundred stages. A fork loads iglo and the stages itself,
from the folder where it runs. So it is as a process of its own but for the libraries.
"""

import gc
import marshal
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "torchvision", "lpips", "sklearn.cluster", "sklearn.mixture", "matplotlib.pyplot", "PIL.Image")
LIBRARIES += ("pydantic", "ruamel.yaml", "safetensors.torch", "tqdm", "dvc.cli", "dvc.repo", "dvc.commands.repro")
LONGEST = 1 << 20  # bytes of a request
# The program `python`. It sends its arguments, folder, variables and standard streams, and ends as the fork does.
CLIENT = """#!{python} -IS
import marshal, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))], [0, 1, 2])
    sys.exit(int(server.recv(4) or 1))
"""


@contextmanager
def preloaded(folder: Path) -> Iterator[Path]:
    """A folder for the search path, in which `python` takes `-m MODULE …`. The processes end with the context."""
    address, program = folder / "socket", folder / "bin" / "python"
    command = [sys.executable, __file__, str(address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:  # it ends when its standard input does
        while not address.exists():
            assert server.poll() is None
            time.sleep(0.05)
        program.parent.mkdir()
        program.write_text(CLIENT.format(python=sys.executable, address=str(address)))
        program.chmod(0o755)
        yield program.parent


def serve(address: str) -> None:
    """Answers requests until standard input is closed. It returns in each fork too, when the module has run."""
    for library in LIBRARIES:
        __import__(library)
    gc.collect()
    gc.freeze()  # else a fork would visit them, and copy what it visits
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
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


def run(streams: list[int], argv: list[str], folder: str, variables: dict[str, str]) -> Any:
    """Runs `python ARGV…` in this process, which must be a fork that ends afterwards."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    flag, module, *sys.argv[1:] = argv
    assert flag == "-m", argv
    sys.argv[0] = "-m"
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
