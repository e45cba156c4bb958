"""The version of SoundFlow, once: in `soundflow.__version__`, in build records and in the package metadata."""

from typing import Final

__version__: Final = "0.2.0"
