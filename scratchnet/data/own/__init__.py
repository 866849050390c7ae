"""One's own data: read from a path, in whichever of the formats it is."""

from scratchnet.data.own.formats import FORMATS, Format, read_own

__all__ = ["FORMATS", "Format", "read_own"]
