"""Takes away what another operating system does not have. Python runs this file at the start of every process.

`tests/test_platforms.py` puts this folder on PYTHONPATH, and names in the variable TAKEN_AWAY what to take: functions
below. So a process, and each that it starts, finds the system as macOS or Windows would be in that respect.
"""

import builtins
import errno
import io
import os
import signal
import subprocess
import sys
import types


def resource():
    """Windows has no module `resource`; there, psutil knows the largest size of a process."""
    import psutil

    sys.modules["resource"] = None
    psutil.Process.memory_info = lambda self: types.SimpleNamespace(peak_wset=123_000_000)


def unix_modules():
    """Windows has none of these, nor `pwd`, without which Unix's own Python cannot find a home."""
    for name in ("fcntl", "termios", "tty", "pty", "grp", "readline", "syslog"):
        sys.modules[name] = None


def affinity():
    """macOS does not let a process choose its cores."""
    import psutil

    del os.sched_getaffinity, os.sched_setaffinity, psutil.Process.cpu_affinity


def fork():
    """Windows does not copy processes, and knows no groups of them."""
    for name in ("fork", "forkpty", "register_at_fork", "killpg", "getpgid", "setsid", "setpgid"):
        delattr(os, name)


def signals():
    """Of the signals, Windows has only those of the C standard."""
    for name in ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGTSTP", "SIGCONT"):
        delattr(signal, name)
    subprocess.Popen.kill = lambda self: os.kill(self.pid, 9)  # which names SIGKILL itself


def open_files():
    """Windows neither replaces nor removes a file that is open or mapped into memory."""

    def is_open(path):
        path = os.path.realpath(path)
        with os.scandir("/proc/self/fd") as numbers:
            opened = {os.path.realpath(number.path) for number in numbers}
        with open("/proc/self/maps", "rb") as maps:
            return path in opened or any(line.endswith(os.fsencode(path) + b"\n") for line in maps)

    def careful(function):
        def wrapped(*paths, **options):
            for path in paths:
                if "dir_fd" not in options and is_open(path):
                    raise PermissionError(errno.EACCES, "The process cannot access the file: it is being used", path)
            return function(*paths, **options)

        return wrapped

    for name in ("replace", "rename", "unlink", "remove"):
        setattr(os, name, careful(getattr(os, name)))


def utf8_text():
    """Windows writes other line ends, and text without a named encoding as cp1252."""
    opened = io.open

    def windows_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest):
        if "b" not in mode:
            encoding = "cp1252" if encoding in (None, "locale") else encoding
            newline = "\r\n" if newline is None and set("wax+") & set(mode) else newline
        return opened(file, mode, buffering, encoding, errors, newline, *rest)

    builtins.open = io.open = windows_open


def home():
    """A user whom the system does not know, without variables that name a home."""
    import pwd

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = unknown
    for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "SCRATCHNET_DATA"):
        os.environ.pop(name, None)


for what in filter(None, os.environ.get("TAKEN_AWAY", "").split()):
    globals()[what]()
