"""The ledger: one SQLite file that holds every trial and is the only truth of a run.

A trial's suggestion, status and outcome, and the searcher's checkpoint together with the trials it
learned from, are each written in one transaction. Whatever moment the process dies at, the file
says what is finished, what is to be trained again, and with which controller state to go on.
"""

from tf_autodropout.search.ledger.errors import LedgerError, StorageError, storage_errors
from tf_autodropout.search.ledger.reader import LedgerReader
from tf_autodropout.search.ledger.schema import (
    FILE_NAME,
    SCHEMA_VERSION,
    check_config,
    check_directory,
    digest,
    stored_config,
)
from tf_autodropout.search.ledger.writer import Ledger

__all__ = [
    "FILE_NAME",
    "SCHEMA_VERSION",
    "Ledger",
    "LedgerError",
    "LedgerReader",
    "StorageError",
    "check_config",
    "check_directory",
    "digest",
    "storage_errors",
    "stored_config",
]
