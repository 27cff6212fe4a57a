"""The blocks of the documentation run when they are copied, page by page, and the site builds without a warning."""

import contextlib
import importlib.util
import inspect
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import tf_autodropout as tad
from tests.chromium import browser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
SLOW = {"faq.md", "how_to/own_model.md", "how_to/look_at_a_run.md", "how_to/schedules.md", "how_to/transformers.md"}
NOT_RUN = re.compile(r"<!-- not run: [^>\n]+ -->\n\Z")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    language: str
    code: str
    line: int
    runs: bool


def blocks_of(page: str) -> list[Block]:
    text = (DOCS / page).read_text("utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)), not NOT_RUN.search(text[: found.start()]))
        for found in BLOCK.finditer(text)
    ]


def run_page(page: str, directory: Path) -> None:
    """Runs the blocks in their order; one of the language `text` is the error of the block before it."""
    namespace: dict = {"__name__": "page"}
    blocks = blocks_of(page)
    for place, block in enumerate(blocks):
        after = blocks[place + 1] if place + 1 < len(blocks) else None
        if not block.runs or block.language not in ("python", "sh"):
            continue
        if block.language == "sh":
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
            command = ["bash", "-euc", block.code]
            done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=500)
            assert done.returncode == 0, f"{page}, line {block.line}: {done.stderr}"
            continue
        code = compile("\n" * block.line + block.code, str(DOCS / page), "exec")  # a traceback names the page's line
        if after is not None and after.language == "text":
            with pytest.raises(Exception) as raised:  # noqa: PT011
                exec(code, namespace)
            said = f"{type(raised.value).__name__}: {raised.value}"
            assert said.startswith(after.code.strip()), f"{page}, line {after.line}: {said}"
        else:
            exec(code, namespace)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in PAGES]
)
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        run_page(page, tmp_path)


def test_what_is_not_run_is_the_exception() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page) if block.language in ("python", "sh")]
    assert len(blocks) > 40
    assert set(PAGES) > SLOW
    python = [block for block in blocks if block.language == "python"]
    assert [block.code.splitlines()[0] for block in python if not block.runs] == ["import keras_hub"]  # loads weights
    assert all(block.language for page in PAGES for block in blocks_of(page))


def test_every_page_and_picture_is_in_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"\S+\.md", navigation)) == PAGES
    text = "".join((DOCS / page).read_text("utf-8") for page in PAGES) + (ROOT / "README.md").read_text("utf-8")
    pictures = [*DOCS.glob("*.png"), *(DOCS / "pictures").glob("*.png"), *(DOCS / "pictures").glob("*.gif")]
    assert len(pictures) > 8
    assert [path.name for path in pictures if path.name not in text] == []
    assert sum(path.stat().st_size for path in pictures) < 2_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("material") is None:
        pytest.skip("the site's builder is not installed: pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    assert "WARNING" not in made.stderr
    return out


def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 12
    names = {page: set(re.findall(r'\sid="([^"]+)"', page.read_text("utf-8"))) for page in pages}
    broken = []
    for page in pages:
        if page.name == "404.html":
            continue
        for link in re.findall(r'<(?:a|link|img|script)[^>]*?\s(?:href|src)="([^"]+)"', page.read_text("utf-8")):
            if re.match(r"(https?:|data:|mailto:)", link):
                continue
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve() if place else page
            if not target.exists() or (anchor and target in names and anchor not in names[target]):
                broken.append((page.name, link))
    assert broken == []


def test_the_api_page_has_all_that_is_public(site: Path) -> None:
    own = inspect.getmembers(
        tad.members, lambda one: inspect.isfunction(one) and one.__module__ == tad.members.__name__
    )
    public = [name for name, _ in own]
    for module in (tad, tad.visualize, tad.search, tad.models, tad.presets):
        public += [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    assert len(public) > 40
    api = (site / "api.html").read_text("utf-8")
    assert [name for name in public if not re.search(rf'id="tf_autodropout\.([\w.]+\.)?{name}"', api)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", [page.removesuffix(".md") + ".html" for page in PAGES])
def test_axe_finds_nothing_and_nothing_is_fetched_from_elsewhere(site: Path, page: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe looks at the page")
    script = next(Path(axe.__file__).parent.glob("*.js")).read_text("utf-8")
    with browser() as chromium:
        for width in (1400, 390):
            for scheme in ("light", "dark"):
                see = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                fetched: list[str] = []
                see.on("request", lambda request, fetched=fetched: fetched.append(request.url))
                see.goto((site / page).as_uri())
                see.wait_for_timeout(500)
                see.evaluate(script)
                found = see.evaluate("axe.run().then((all) => all.violations.map((o) => [o.id, o.nodes[0].html]))")
                assert found == []
                assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
                assert see.evaluate("document.documentElement.scrollWidth") <= width
                see.close()
