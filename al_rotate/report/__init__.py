"""The HTML report of a workspace, and the pictures in it."""

from .page import write_report

__all__ = ["write_report"]
