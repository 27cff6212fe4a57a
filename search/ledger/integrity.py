"""Whether the file of a ledger is what was written: SQLite's own check, and what it does not see."""

import sqlite3
from pathlib import Path

from tf_autodropout.search.core import Status
from tf_autodropout.search.ledger.errors import OF_SQLITE, damaged, from_sqlite
from tf_autodropout.search.ledger.schema import SCHEMA, digest

_STATUSES = ", ".join(f"'{status.value}'" for status in Status)
# SQLite keeps text in a column of numbers if a damaged file has it there.
_BAD_TRIAL = f"""
SELECT number FROM trials WHERE typeof(tokens) != 'text' OR NOT json_valid(tokens) OR typeof(patterns) != 'text'
    OR NOT json_valid(patterns) OR typeof(log_prob) != 'real' OR typeof(controller_version) != 'integer'
    OR status NOT IN ({_STATUSES}) OR typeof(attempts) != 'integer' OR typeof(failures) != 'integer'
    OR typeof(worker) NOT IN ('text', 'null') OR typeof(error) NOT IN ('text', 'null')
    OR typeof(reward) NOT IN ('real', 'null') OR (status = '{Status.FINISHED.value}' AND reward IS NULL)
    OR typeof(learning_curve) NOT IN ('text', 'null') OR typeof(metrics) != 'text' OR typeof(queued_at) != 'real'
    OR typeof(started_at) NOT IN ('real', 'null') OR typeof(finished_at) NOT IN ('real', 'null')
    OR typeof(finish_order) NOT IN ('integer', 'null') OR typeof(consumed_by) NOT IN ('integer', 'null')
    OR (outcome_digest IS NULL) != (finish_order IS NULL)
LIMIT 1
"""
_TRIALS = """
SELECT number, digest, outcome_digest, tokens, patterns, log_prob, controller_version,
    status, reward, metrics, learning_curve, finish_order FROM trials
"""


def check_file(db: sqlite3.Connection, path: Path) -> None:
    """Raises `LedgerError` unless the file is sound and has the tables and kinds of values of a ledger.

    Args:
        db: Connection to it.
        path: For the message.
    """
    try:
        found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(path, " ".join(str(found).split()))
        tables = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")}
        wanted = {statement.strip() for statement in SCHEMA.split(";") if "CREATE TABLE" in statement}
        if tables != wanted:
            raise damaged(path, "its tables are not those of a ledger")
        for key, value, checksum in db.execute("SELECT key, value, digest FROM run"):
            if digest(key, value) != checksum:
                raise damaged(path, f"the run's {key} is not what was written")
        if bad := db.execute(_BAD_TRIAL).fetchone():
            raise damaged(path, f"trial {bad[0]} holds values of other kinds")
        for number, made, outcome, *values in db.execute(_TRIALS):
            if digest(*values[:4]) != made or (outcome is not None and digest(*values[4:]) != outcome):
                raise damaged(path, f"trial {number} is not what was written")
        for name, seed, metrics, checksum in db.execute("SELECT name, seed, metrics, digest FROM evaluations"):
            if digest(name, seed, metrics) != checksum:
                raise damaged(path, f"a training after the search, of '{name}', is not what was written")
    except OF_SQLITE as error:
        raise from_sqlite(error, path) from None
