"""The explorer: draw a digit, and walk forward and backward through a network in the browser.

    scratchnet explore runs/standard_cnn/model.safetensors            sn.explore(net)

Number, picture and line of code stand side by side. The truth is `Network.steps` on the engine in use: the page shows
its arrays, and computes no layer a second time. To read this folder:

    sums.py        one number taken apart: which products it is the sum of
    kinds.py       what the numbers of each kind of layer are sums of, and which line of the book makes them
    source.py      the book's own source for a stage
    recording.py   a walk as the page gets it
    session.py     what a page may ask for: draw, walk, explain, change a weight, learn
    training.py    training while somebody looks on
    drawing.py     strokes as the image that the network sees
    server.py      who may ask, and how much
    export.py      a page that needs no server
    again.py       a stage once more, in a debugger
    page/          the page: plain ES modules, canvas and SVG. No bundler and no CDN, so that it can be read as it is
                   served, and works without a network
"""

from scratchnet.explorer.run import explore

__all__ = ["explore"]
