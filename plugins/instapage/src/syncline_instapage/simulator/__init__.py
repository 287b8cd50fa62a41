"""Instapage on loopback, strict to the vendor sheet, and a sender of its webhooks."""

from syncline_instapage.simulator.server import TOKEN, WEBHOOK_SECRET, InstapageSimulator, Switches
from syncline_instapage.simulator.webhooks import Sender

__all__ = ["TOKEN", "WEBHOOK_SECRET", "InstapageSimulator", "Sender", "Switches"]
