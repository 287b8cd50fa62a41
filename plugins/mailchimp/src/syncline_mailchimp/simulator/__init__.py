"""A simulated Mailchimp account on loopback."""

from syncline_mailchimp.simulator.account import Switches
from syncline_mailchimp.simulator.server import MailchimpSimulator

__all__ = ["MailchimpSimulator", "Switches"]
