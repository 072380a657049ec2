"""The images of tasks as local files: which addresses may be asked, and what one image may cost."""

from .fetcher import Fetcher, Refused, Wanted
from .policy import FetchPolicy, Limits

__all__ = ["FetchPolicy", "Fetcher", "Limits", "Refused", "Wanted"]
