"""The contract kit: what every connector promises, as tests.

Subclass `SourceContract` or `SinkContract` and say how to connect to a simulated account; every `test_*` is one clause.
A clause that cannot apply is exempt, with its reason:

    class TestAcme(SourceContract):
        exempt = {"test_webhook_rejects_tampering": "no signature is offered; the secret is in the URL"}

A clause about an optional method is skipped when the connector does not have it, and one that needs something which the
test does not give is skipped too, and says what to give. `setup_method` and `teardown_method` (pytest's own) start and
stop what `connect` needs; each clause finds the account as `setup_method` left it.
"""

from syncline.testing.contract._format_sink import fields_of_every_kind
from syncline.testing.contract._sink import SinkContract
from syncline.testing.contract._source import SourceContract

__all__ = ["SinkContract", "SourceContract", "fields_of_every_kind"]
