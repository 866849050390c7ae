"""A small client of the Debug Adapter Protocol, with which tests debug a lesson as VS Code does.

VS Code starts debugpy's adapter and talks to it through stdin and stdout. A message is one JSON object after a header
with its length. The adapter answers the client's requests with responses, and sends events at any time. Once it sends a
request of its own: the client is to start the program in its terminal. While the program is stopped, its frames and
variables can be read and changed.

The protocol is described at https://microsoft.github.io/debug-adapter-protocol.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

TIMEOUT = 120  # seconds for any one message; the longest wait is for the end of a lesson on a busy machine
SHOWN = 12  # number of messages that a failure shows

Message = dict[str, Any]


class Frame(NamedTuple):
    """One stack frame of a stopped program."""

    name: str
    path: Path
    line: int  # counted from 1
    id: int


class Debugger:
    """A program under debugpy, for a `with` block. The program is ended when the block is left, also after an error.

    Parameters
    ----------
    configuration : dict
        One of launch.json, with its variables (${file} and the like) filled in.

    Raises
    ------
    AssertionError
        From every method, if the adapter refuses something or does not answer, or if the program ends, fails or stops
        where it should not. The message shows the last messages and what the program has written.
    """

    def __init__(self, configuration: Message) -> None:
        self.configuration = configuration
        self.environment = environment_to_debug_in()
        self.sent = 0  # numbers the messages that are sent
        self.history: list[Message] = []  # both ways
        self.unused: list[Message] = []  # arrived while another message was awaited
        self.incoming: queue.Queue[Message | None] = queue.Queue()
        self.output: list[str] = []
        self.readers: list[threading.Thread] = []
        self.program: subprocess.Popen[bytes] | None = None
        self.adapter = subprocess.Popen(
            [sys.executable, "-m", "debugpy.adapter"],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._read_in_background(read_messages, self.adapter.stdout, self.incoming)
        self._read_in_background(read_lines, self.adapter.stderr, self.output)

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *exception: object) -> None:
        """Kill what is left of the program and of the adapter."""
        self.adapter.kill()
        self.adapter.wait(TIMEOUT)
        if self.program is not None:
            try:
                self.program.wait(TIMEOUT)  # debugpy's launcher; without an adapter it kills its program and ends
            finally:
                self.program.kill()
        for reader in self.readers:
            reader.join(TIMEOUT)
        for process in filter(None, (self.adapter, self.program)):
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                with contextlib.suppress(BrokenPipeError):  # nobody reads the rest
                    stream.close()

    # ---------------------------------------------------------------- what a person does in VS Code

    def start(self, breakpoints: dict[Path, list[int]]) -> list[Frame]:
        """Start the program with breakpoints on these lines; returns the frames where it stops first."""
        self.request(
            "initialize",
            clientID="tests",
            adapterID=self.configuration["type"],
            pathFormat="path",
            linesStartAt1=True,
            columnsStartAt1=True,
            supportsRunInTerminalRequest=True,
        )
        launch = self.send(self.configuration["request"], **self.configuration)
        self.event("initialized")
        for path, lines in breakpoints.items():
            self.set_breakpoints(path, *lines)
        self.request("setExceptionBreakpoints", filters=["uncaught"])
        self.request("configurationDone")
        self.answer(launch)  # the adapter responds to it only now
        return self.stopped()

    def set_breakpoints(self, path: Path, *lines: int) -> None:
        """Replace the breakpoints of a file by breakpoints on these lines."""
        wanted = [{"line": line} for line in lines]
        got = self.request("setBreakpoints", source={"path": str(path)}, breakpoints=wanted)["breakpoints"]
        if [(breakpoint["verified"], breakpoint["line"]) for breakpoint in got] != [(True, line) for line in lines]:
            self.fail(f"expected breakpoints on the lines {lines} of {path}, got {got}")

    def step_into(self) -> list[Frame]:
        """Step Into; returns the frames where the program stops next. So do the methods below."""
        return self._go("stepIn")

    def step_over(self) -> list[Frame]:
        return self._go("next")

    def step_out(self) -> list[Frame]:
        return self._go("stepOut")

    def go_on(self) -> list[Frame]:
        return self._go("continue")

    def finish(self) -> int:
        """Run to the program's end; returns its exit code."""
        self.request("continue", threadId=self.thread)
        event = self.event("exited", "stopped")
        if event["event"] == "stopped":
            self.fail("the program stopped once more instead of running to its end")
        self.event("terminated")
        return event["body"]["exitCode"]

    def locals(self, frame: Frame) -> dict[str, Message]:
        """The local variables of a frame, as VS Code gets them: {"dw": {"value": ..., "type": ...}, ...}."""
        body = self.request("variables", variablesReference=self._reference_of_locals(frame))
        return {variable["name"]: variable for variable in body["variables"]}

    def set_variable(self, frame: Frame, name: str, expression: str) -> None:
        """Set a local variable to the value of an expression, as a user does under *Variables*."""
        reference = self._reference_of_locals(frame)
        self.request("setVariable", variablesReference=reference, name=name, value=expression)

    def value(self, frame: Frame, expression: str) -> Any:
        """The value of an expression in a frame: numbers and strings, and tuples, lists and dicts of them."""
        text = f"repr(({expression}))"  # in any other context, the response leaves out the middle of a long list
        result = self.request("evaluate", expression=text, frameId=frame.id, context="clipboard")["result"]
        try:
            return ast.literal_eval(ast.literal_eval(result))
        except (SyntaxError, ValueError):
            self.fail(f"{expression}: expected a number, a string, or a tuple, list or dict of them, got {result!r}")

    # ---------------------------------------------------------------- the protocol

    def request(self, command: str, **arguments: Any) -> Message:
        """Send a request and wait for its response; returns the body."""
        return self.answer(self.send(command, **arguments))

    def send(self, command: str, **arguments: Any) -> Message:
        """Send a request; returns it, for `answer`."""
        return self._write({"type": "request", "command": command, "arguments": arguments})

    def answer(self, request: Message) -> Message:
        """Wait for the response to a request; returns the body."""
        command = request["command"]
        response = self._wait(
            lambda message: message["type"] == "response" and message["request_seq"] == request["seq"],
            f"the response to {command}",
        )
        if not response["success"]:
            self.fail(f"{command} with {request['arguments']} was refused: {response.get('message')}")
        return response.get("body") or {}

    def event(self, *names: str) -> Message:
        """Wait for the first event of one of these names."""
        return self._wait(
            lambda message: message["type"] == "event" and message["event"] in names, f"the event {' or '.join(names)}"
        )

    def stopped(self) -> list[Frame]:
        """Wait until the program stops; returns its frames, the innermost first."""
        event = self.event("stopped", "terminated")
        if event["event"] == "terminated" or event["body"]["reason"] == "exception":
            self.fail("the program ended or failed instead of stopping")
        self.thread = event["body"]["threadId"]
        frames = self.request("stackTrace", threadId=self.thread)["stackFrames"]
        return [Frame(f["name"], Path(f["source"]["path"]), f["line"], f["id"]) for f in frames]

    def fail(self, why: str) -> NoReturn:
        """Raise an AssertionError that shows the last messages and the program's output."""
        messages = "\n".join(str(message)[:1000] for message in self.history[-SHOWN:])
        written = "".join(self.output)[-6000:]
        raise AssertionError(f"{why}\n\nThe last messages:\n{messages}\n\nThe program wrote:\n{written}")

    def _go(self, command: str) -> list[Frame]:
        self.request(command, threadId=self.thread)
        return self.stopped()

    def _reference_of_locals(self, frame: Frame) -> int:
        scopes = self.request("scopes", frameId=frame.id)["scopes"]
        return next(scope["variablesReference"] for scope in scopes if scope["name"] == "Locals")

    def _write(self, message: Message) -> Message:
        """Number a message and send it."""
        self.sent += 1
        message = {"seq": self.sent, **message}
        self.history.append(message)
        text = json.dumps(message).encode()
        assert self.adapter.stdin is not None
        self.adapter.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        self.adapter.stdin.flush()
        return message

    def _wait(self, wanted: Callable[[Message], bool], what: str) -> Message:
        """The first wanted message among those that arrived earlier and were not used, or else of those that arrive."""
        for message in self.unused:
            if wanted(message):
                self.unused.remove(message)
                return message
        deadline = time.monotonic() + TIMEOUT
        while True:
            message = self._next_message(deadline, what)
            if wanted(message):
                return message
            if message["type"] == "request":
                self._run_in_terminal(message)
            else:
                self.unused.append(message)

    def _next_message(self, deadline: float, what: str) -> Message:
        try:
            message = self.incoming.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            self.fail(f"expected {what} within {TIMEOUT} s; it did not come")
        if message is None:
            self.fail(f"expected {what}; the adapter ended")
        self.history.append(message)
        return message

    def _run_in_terminal(self, request: Message) -> None:
        """Start the program, at the adapter's request."""
        arguments = request["arguments"]
        self.program = subprocess.Popen(
            arguments["args"],
            cwd=arguments["cwd"],
            env=self.environment | arguments.get("env", {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # else debugpy takes the terminal away from the test run
        )
        self._read_in_background(read_lines, self.program.stdout, self.output)
        self._write(
            {
                "type": "response",
                "request_seq": request["seq"],
                "success": True,
                "command": request["command"],
                "body": {"processId": self.program.pid},
            }
        )

    def _read_in_background(self, read: Callable[..., None], *arguments: Any) -> None:
        self.readers.append(threading.Thread(target=read, args=arguments, daemon=True))
        self.readers[-1].start()


def environment_to_debug_in() -> dict[str, str]:
    """This process's environment without coverage measurement, which uses the same hook of Python as debuggers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}


def read_messages(stream: IO[bytes], messages: queue.Queue[Message | None]) -> None:
    """Put every message of the stream into the queue, and None when it ends."""
    length = 0
    while line := stream.readline():
        if line.startswith(b"Content-Length:"):
            length = int(line.split(b":")[1])
        elif not line.strip():  # the end of the header
            messages.put(json.loads(stream.read(length)))
    messages.put(None)


def read_lines(stream: IO[bytes], lines: list[str]) -> None:
    """Append every line of the stream to the list."""
    for line in stream:
        lines.append(line.decode(errors="replace"))
