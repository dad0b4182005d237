"""What every store promises, as tests: subclass `StoreContract` as `Test...` beside the store. Needs pytest, pytest-trio."""

from motet.testing.contracts_store_base import STARTED_AT, make_end, make_events, make_record
from motet.testing.contracts_store_holders import HolderTests
from motet.testing.contracts_store_keys import KeyTests
from motet.testing.contracts_store_runs import RunTests

__all__ = ["STARTED_AT", "StoreContract", "make_end", "make_events", "make_record"]


class StoreContract(RunTests, HolderTests, KeyTests):
    """Tests of one kind of store. The subclass says how to make it, and overrides `reopen` where the store outlives its
    process and `second` where it is shared; without them the tests of such stores are skipped. See `StoreTests`."""
