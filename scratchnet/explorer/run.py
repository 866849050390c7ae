"""Start the explorer, and end it."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from scratchnet.data import Dataset
from scratchnet.explorer.opening import Opened, compile_for, data_for
from scratchnet.network import Network
from scratchnet.settings import instance, integer

if TYPE_CHECKING:
    from scratchnet.explorer.server import Explorer


def explore(net: Network, data: Dataset | None = None, *, port: int = 0, browser: bool = True) -> Any:
    """Look at a network in the browser: draw a digit, and walk through it forward and backward.

    Each page works on a copy of the network, which stays as it is.

    Parameters
    ----------
    net : Network
    data : Dataset, optional
        Images to choose from and to train on. The sample if the network takes its images, else random images.
    port : int
        Where to listen on 127.0.0.1; 0: any free port.
    browser : bool
        Whether to open the page.

    Returns
    -------
    Explorer or None
        In a notebook or an interpreter, the server, which runs until `.end()` is called or Python ends; its `address`
        is the page's. In a script, None: the function returns after Ctrl-C.

    Raises
    ------
    ValueError
        If the network's input shape is not known, or the data does not fit it.
    OSError
        If the port is in use.
    """
    instance("explore", "net", net, Network)
    integer("explore", "port", port, least=0)
    if data is None:
        training, test = data_for(net)
    else:
        instance("explore", "data", data, Dataset)
        training = test = data
        net.forward(data.images[:1])  # an error names what does not fit
    return serve(Opened(net, test, training, None, None), port, browser, wait=not hasattr(sys, "ps1"))


def serve(opened: Opened, port: int, browser: bool, wait: bool = True) -> Any:
    """Serve until Ctrl-C, or in the background if not told to wait; then the server is returned."""
    from scratchnet.explorer.server import Explorer

    compile_for(opened.net)
    try:
        server = Explorer(opened, port)
    except OSError as error:
        raise OSError(
            f"port {port} cannot be used ({error.strerror}); leave it out, and any free one is taken"
        ) from None
    if not wait:
        threading.Thread(target=server.serve_forever, daemon=True, name="explorer").start()
        show(server, browser, "")
        return server
    try:
        show(server, browser, "  (Ctrl-C ends it)")
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        print("\nended")
    finally:
        server.server_close()
    return None


def show(server: Explorer, browser: bool, hint: str) -> None:
    """Say where the page is, and open it in the browser if that is wanted."""
    import webbrowser

    print(f"{server.opened.net.name} is at {server.address}{hint}", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
