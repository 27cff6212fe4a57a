"""`tf-autodropout doctor`: says what is there, and what is missing for what."""

import importlib.metadata
import re

import pytest
from click.testing import CliRunner

import tf_autodropout as tad
from tf_autodropout.search.terminal import cli, doctor


def call():
    return CliRunner().invoke(cli.cli, ["doctor"])


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions to be believed instead of those that are installed."""
    believed: dict[str, str | None] = {}
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name in believed:
            if believed[name] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return believed[name]
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    return believed


def test_a_whole_installation(metadata) -> None:
    metadata["tensorflow-tpu"] = None
    result = call()
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"tf_autodropout {tad.__version__}, Python 3.")
    assert f"tensorflow                {importlib.metadata.version('tensorflow')}" in result.output
    assert "\n  CPU: 1" in result.output
    assert "\nextras:\n" in result.output
    assert "\n  TPU VMs need other lines" in result.output
    assert result.output.endswith("all that it needs is there\n")


def test_what_is_missing_or_of_another_version_is_named(metadata) -> None:
    metadata |= {"keras": "3.12.0", "scipy": None, "ray": None}
    result = call()
    assert result.exit_code == 1
    assert "is needed, 3.12.0 is there" in result.output
    assert re.search(r"\n  scipy +-\n", result.output)
    assert re.search(r"error: scipy\S* is missing", result.output)
    assert re.search(r"pip install 'tf_autodropout\[ray\]': ray\S* is missing", result.output)


def test_each_extra_has_a_line_that_says_what_it_is_for(metadata) -> None:
    extras = importlib.metadata.metadata("tf_autodropout").get_all("Provides-Extra")
    assert set(extras) >= {"ray", "jax"}
    metadata["torch"] = None
    said = call().output
    assert [extra for extra in extras if not re.search(rf"\n  {extra} +\S.* (there|pip install)", said)] == []
    assert re.search(
        r"\n  torch +KERAS_BACKEND=torch +pip install 'tf_autodropout\[torch\]': torch\S* is missing", said
    )


def test_a_tpu_vm_has_no_plain_tensorflow(metadata) -> None:
    metadata |= {"tensorflow": None, "tensorflow-tpu": "2.20.0"}
    assert "TPU VMs need" not in call().output
    assert "error: tensorflow" not in call().output
    metadata["tensorflow"] = "2.20.0"
    result = call()
    assert result.exit_code == 1
    assert "tensorflow stands beside tensorflow-tpu" in result.output


def test_a_tensorflow_that_does_not_load_is_said(metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert list(doctor._devices()) == ["TensorFlow does not load: import of tensorflow halted; None in sys.modules"]
    assert tad.__version__
