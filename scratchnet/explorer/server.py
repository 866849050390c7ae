"""The server of the explorer: one page and its questions, for this machine alone.

It is the standard library's `http.server`: a page with a dozen questions needs no more, and nothing has to be installed
for it. It listens on 127.0.0.1. It answers only to an address that has the token, which is drawn anew at each start, so
that no other program and no web page can ask. It checks Host and Origin as well: a name that someone points at
127.0.0.1, or a page from elsewhere, gets nothing. All files are read at the start; no request names one.
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from scratchnet.explorer.opening import Opened
from scratchnet.explorer.session import ACTIONS, Session, answer

LOOPBACK = "127.0.0.1"
LONGEST_BODY = 256 * 1024  # bytes; the longest drawing has a third of it
MOST_PAGES = 8
MOST_CONNECTIONS = 64
SECONDS = 30.0  # a connection that sends nothing for so long is closed
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSETS = {
    path.name: path.read_bytes() for path in files("scratchnet.explorer").joinpath("page").iterdir() if path.is_file()
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Explorer(ThreadingHTTPServer):
    """Serves the explorer of one network; each page that opens gets a copy of it."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, opened: Opened, port: int = 0) -> None:
        self.opened = opened
        self.token = secrets.token_urlsafe(18)
        self.pages: dict[str, Session] = {}  # the one that asked last comes last
        self._pages_lock = threading.Lock()
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((LOOPBACK, port), Handler)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    # ---------------------------------------------------------------- pages

    def open_page(self) -> str:
        """A name for a new page. If there are too many, that which has been quiet longest is closed."""
        name, session = secrets.token_urlsafe(12), Session(self.opened)
        with self._pages_lock:
            quietest = list(self.pages)[: max(len(self.pages) - MOST_PAGES + 1, 0)]
            too_many = [self.pages.pop(key) for key in quietest]
            self.pages[name] = session
        for old in too_many:
            old.close({})
        return name

    def page(self, name: str) -> Session:
        """The session of a page; a ValueError if there is none of that name."""
        with self._pages_lock:
            if name not in self.pages:
                raise ValueError("This page was closed, or too many were opened after it. Load it again.")
            self.pages[name] = self.pages.pop(name)
            return self.pages[name]

    def close_page(self, name: str) -> None:
        """Forget a page, and end its training."""
        with self._pages_lock:
            session = self.pages.pop(name, None)
        if session is not None:
            session.close({})

    def end(self) -> None:
        """Stop serving in another thread, where that must have begun, and close."""
        self.shutdown()
        self.server_close()

    def server_close(self) -> None:
        """End all training, and free the port."""
        for name in list(self.pages):
            self.close_page(name)
        super().server_close()

    # ---------------------------------------------------------------- connections

    def process_request(self, request: Any, client_address: Any) -> None:
        """One thread for each connection, up to a number; more are closed at once."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's business."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Explorer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "scratchnet", ""
    timeout = SECONDS

    def do_GET(self) -> None:
        name = self._asked_for()
        if name is None:
            return
        name = name or "index.html"
        kind = KINDS.get(name[name.rfind(".") :])
        if name not in ASSETS or kind is None:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        self._send(HTTPStatus.OK, ASSETS[name], kind)

    def do_POST(self) -> None:
        action = self._asked_for()
        body = None if action is None else self._body()
        if action is None or body is None:
            return
        try:
            request = json.loads(body or b"{}", parse_constant=_no_constant)
            if not isinstance(request, dict):
                raise ValueError("expected a JSON object")
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST, "The request is not a JSON object.")
            return
        self._answer(action.removeprefix("api/"), str(request.pop("page", "")), request)

    def _answer(self, action: str, page: str, request: dict[str, Any]) -> None:
        try:
            if action == "open":
                made: Any = {"page": self.server.open_page()}
            elif action == "close":
                self.server.close_page(page)
                made = {}
            elif action in ACTIONS:
                made = answer(self.server.page(page), action, request)
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "There is no such question.")
                return
        except (ValueError, TypeError, RuntimeError, KeyError, IndexError, OverflowError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error) or type(error).__name__)
            return
        if isinstance(made, bytes):
            self._send(HTTPStatus.OK, made, "application/octet-stream")
        else:
            self._send(HTTPStatus.OK, json.dumps(_as_json(made), allow_nan=False).encode(), "application/json")

    # ---------------------------------------------------------------- who may ask, and how much

    def _asked_for(self) -> str | None:
        """What follows the token in the address; None if the request was refused."""
        hosts = {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}
        if self.headers.get("Host") not in hosts:
            self._refuse(HTTPStatus.FORBIDDEN, f"This server answers to http://{LOOPBACK} only.")
            return None
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            self._refuse(HTTPStatus.FORBIDDEN, "Pages from elsewhere may not ask.")
            return None
        token, _, rest = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "Open the address that scratchnet printed: it ends with a token.")
            return None
        return rest

    def _body(self) -> bytes | None:
        """The request's body; None if it was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or len(length) > 12:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "The length of the request is missing.")
            return None
        if int(length) > LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request has at most {LONGEST_BODY} bytes.")
            self._swallow(int(length))
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _swallow(self, length: int) -> None:
        """Read on a little, so that the answer arrives before the connection is closed."""
        with suppress(OSError):
            self.connection.settimeout(1)
            self.rfile.read(min(length, 1 << 20))

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = self.close_connection or status != HTTPStatus.BAD_REQUEST
        self._send(status, json.dumps({"error": sentence}).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        text = kind.startswith("text/") or kind == "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the terminal is for the user."""


def _as_json(value: Any) -> Any:
    """None in the place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
