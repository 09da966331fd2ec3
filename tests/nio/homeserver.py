"""Starts one homeserver on loopback with a data folder of its own, and ends it by its process id.

The server under test is this project's binary ($PILOTLIGHT_BIN, default target/debug/pilotlight);
$HOMESERVER_URL names one that runs already, with open registration and no rate limits.
"""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15


class Homeserver:
    """A context that holds a running server; `url` is where it listens."""

    def __init__(self, **settings):
        self._settings = settings

    def __enter__(self):
        self.url = os.environ.get("HOMESERVER_URL")
        self._process = None
        if self.url is None:
            self._start()
        return self

    def __exit__(self, *_):
        if self._process is None:
            return
        self.stop()
        self._dir.cleanup()

    def stop(self):
        """Ends it in order; `go_on` starts it again, on the same data and port."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self):
        self._dir = tempfile.TemporaryDirectory(prefix="pilotlight-nio-")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.go_on()

    def go_on(self):
        program = os.environ.get("PILOTLIGHT_BIN", ROOT / "target/debug/pilotlight")
        settings = {"server_name": "localhost", "data_dir": f"{self._dir.name}/data", "listen": f"127.0.0.1:{self._port}"}
        settings |= self._settings
        arguments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        log_path = Path(self._dir.name) / "log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen([program, "serve", *arguments], stdout=log, stderr=log, cwd=self._dir.name)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not come up:\n{log_path.read_text()}")
            time.sleep(0.05)


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/_matrix/client/versions", timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
