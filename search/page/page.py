"""`page` and `write_page`: the page of a run as one self-contained HTML file."""

import base64
import hashlib
import html
import json
import time
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tf_autodropout.patterns.document import write_text
from tf_autodropout.search.page.document import document

_SCRIPTS = ("masks.js", "charts.js", "parallel.js", "trial.js", "page.js")
_LIBRARY = "echarts.min.js"
_LEAST_WATCH = 1.0  # seconds


@dataclass(frozen=True)
class Page:
    """The page of a run. A notebook shows it; `html` is the file.

    Args:
        html: The whole file.
        height: Pixels that a notebook gives it.
        complete: True if nothing more will happen in this run by itself.
    """

    html: str = field(repr=False)
    height: int = 900
    complete: bool = True

    def save(self, path: str | Path) -> None:
        """Writes the file beside its place, then renames it."""
        write_text(path, self.html)

    def _repr_html_(self) -> str:
        # Sandboxed: what a stranger's ledger says can reach nothing of the notebook.
        inside = html.escape(self.html, quote=True)
        return (
            f'<iframe title="page of a run" sandbox="allow-scripts" srcdoc="{inside}" '
            f'style="width:100%;height:{self.height}px;border:0"></iframe>'
        )


def page(run: Any, height: int = 900, watch: float | None = None) -> Page:
    """Makes the page of a run, also while the run is at work.

    Args:
        run: Output directory of the run, or what has one as `directory`, such as what `search.run` returns.
        height: Pixels that a notebook gives the page.
        watch: Seconds after which the page loads itself again, until the run is complete; None: never.

    Raises:
        TypeError: `run` is no directory and has none.
        ValueError: the directory holds no run; a height or `watch` out of range.
    """
    if isinstance(height, bool) or not isinstance(height, int) or height < 1:
        raise ValueError(f"Invalid value for 'height'. Expected an integer >= 1. Received: height={height!r}")
    check_watch(watch)
    directory = getattr(run, "directory", run)
    if not isinstance(directory, str | Path):
        raise TypeError(f"Expected 'run' to be the directory of a run, or to have one. Received: run={run!r}")
    found = document(Path(directory))
    found["watch"] = None if found["complete"] else watch
    return Page(_render(found), height, found["complete"])


def check_watch(watch: Any) -> None:
    """Raises `ValueError` unless it is None or a number of seconds, at least 1."""
    if watch is not None and (
        isinstance(watch, bool) or not isinstance(watch, int | float) or not watch >= _LEAST_WATCH
    ):
        raise ValueError(f"Invalid value for 'watch'. Expected seconds >= 1. Received: watch={watch!r}")


def write_page(run: Any, file: str | Path, watch: float | None = None) -> None:
    """Writes the page of a run; with `watch` again and again, until the run is complete.

    Args:
        run: As for `page`.
        file: `.html` file to write.
        watch: Seconds between two writings; None: once.

    Raises:
        ValueError: no run, a file of another name or in a directory that does not exist.
    """
    target = Path(file)
    if target.suffix not in (".html", ".htm") or not target.parent.is_dir():
        raise ValueError(f"cannot write to {target}: expected an .html file in a directory that exists")
    check_watch(watch)
    while True:
        made = page(run, watch=watch)
        made.save(target)
        if watch is None or made.complete:
            return
        time.sleep(watch)


def _render(found: dict[str, Any]) -> str:
    library, own = _asset(_LIBRARY), "\n".join(_asset(name) for name in _SCRIPTS)
    # Nothing is fetched, and nothing runs but these two scripts.
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(own)}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # Inside a script element only "<" can end the data.
    data = json.dumps(found, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    title = html.escape(f"{found['task']}: a search by {found['searcher']}")
    parts = {
        "POLICY": policy,
        "TITLE": title,
        "STYLE": _asset("page.css"),
        "LIBRARY": library,
        "DATA": data,
        "SCRIPT": own,
    }
    before, text = "", _asset("page.html")
    for name, part in parts.items():  # in the order of the file: what is put in is never searched again
        head, mark, text = text.partition(f"%%{name}%%")
        assert mark, name
        before += head + part
    return before + text


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return resources.files("tf_autodropout.search.page").joinpath("assets", name).read_text("utf-8")
