"""The client of a Label Studio server: idempotent push, complete incremental pull."""

from .addresses import Addresses, LocalFiles, Template, Uploads, addresses
from .api import LabelStudioError, NotAllowed
from .label_studio import LabelStudio, Pulled

__all__ = [
    "Addresses",
    "LabelStudio",
    "LabelStudioError",
    "LocalFiles",
    "NotAllowed",
    "Pulled",
    "Template",
    "Uploads",
    "addresses",
]
