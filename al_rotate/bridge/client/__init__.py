"""Client of a Label Studio server: idempotent push, complete incremental pull."""

from .addresses import Addresses, LocalFiles, Template, Uploads, addresses
from .api import LabelStudioError, NotAllowed
from .label_studio import LabelStudio
from .pulled import Pulled
from .push import Pushed

__all__ = [
    "Addresses",
    "LabelStudio",
    "LabelStudioError",
    "LocalFiles",
    "NotAllowed",
    "Pulled",
    "Pushed",
    "Template",
    "Uploads",
    "addresses",
]
