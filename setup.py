"""Packaging: the three top-level folders install as one import package."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

# Where the files of a release can be read, such as https://github.com/NAME/tf_autodropout: who publishes one says so,
# by `make release ADDRESS=...`.
ADDRESS = os.environ.get("TF_AUTODROPOUT_ADDRESS", "").rstrip("/").removesuffix(".git")
if ADDRESS and not re.fullmatch(r"https://[^\s/?#]+/[^\s?#]+", ADDRESS):
    raise SystemExit(f"TF_AUTODROPOUT_ADDRESS: expected https://HOST/NAME/REPOSITORY. Received: {ADDRESS!r}")
VERSION = re.search(
    r'__version__ = "(.+)"', Path(__file__).with_name("tf_autodropout").joinpath("version.py").read_text()
)[1]


def readme(text: str, address: str) -> str:
    """The README where its relative links lead nowhere: they become absolute, or without an address plain text."""
    files, pictures = f"{address}/blob/v{VERSION}/", f"{address}/raw/v{VERSION}/"
    relative = r"\((?!https?:|#)([^)\s]+)\)"
    if not address:
        text = re.sub(rf"!\[[^]]*\]{relative}\n*", "", text)
        return re.sub(rf"\[([^]]*)\]{relative}", r"\1", text)
    text = re.sub(rf"(!\[[^]]*\]){relative}", rf"\1({pictures}\2)", text)
    return re.sub(rf"(?<!!)(\[[^]]*\]){relative}", rf"\1({files}\2)", text)


def notebook(text: str, name: str, address: str) -> str:
    """A notebook that knows its address: the badge opens it in Colab, the first cell installs this release."""
    if not address:
        return text
    if address.startswith("https://github.com/"):  # what Colab opens without an upload
        place = f"github/{address.removeprefix('https://github.com/')}/blob/v{VERSION}/notebooks/{name}"
        badge = r"(https://colab\.research\.google\.com/)[^)]*\)(?!\])[^\"]*"
        text = re.sub(badge, rf"\g<1>{place}) Run the first cell, then all.", text)
    text = re.sub(r'(SOURCE = \\")[^\\]+', rf"\g<1>git+{address}@v{VERSION}", text)
    return re.sub(r"(https:[^\s`]+)?docs/(?=search_on_tpu_vms\.md)", f"{address}/blob/v{VERSION}/docs/", text)


def citation(text: str, address: str) -> str:
    """The CITATION.cff with the address of the repository."""
    told = f'repository-code: "{address}"\n' if address else ""
    return re.sub(r"(?m)^(repository-code: .*\n)?(?=license: )", told, text, count=1)


FOLDERS = {
    "tf_autodropout": "tf_autodropout",
    "tf_autodropout.models": "models",
    "tf_autodropout.search": "search",
}


class SourceDistribution(sdist):
    """With the two links by which a checkout imports as one package: its tests run where it was unpacked.

    Its notebooks and CITATION.cff know the address.
    """

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Writes what goes into the archive."""
        super().make_release_tree(base_dir, files)
        for name in ("models", "search"):
            Path(base_dir, "tf_autodropout", name).symlink_to(f"../{name}")
        for path in [*Path(base_dir, "notebooks").glob("*.ipynb"), Path(base_dir, "CITATION.cff")]:
            text = path.read_text("utf-8")
            path.unlink()  # it may be a hard link to that of the tree
            told = notebook(text, path.name, ADDRESS) if path.suffix == ".ipynb" else citation(text, ADDRESS)
            path.write_text(told, "utf-8")


packages = [
    ".".join(filter(None, (name, sub)))
    for name, folder in FOLDERS.items()
    # The symlinks inside tf_autodropout are found a second time; `search*` would hide search/searchers.
    for sub in ["", *find_packages(folder, exclude=["models", "models.*", "search", "search.*"])]
]

REQUIRED = [
    # Keras 3 children and controllers; 2.20 is the newest TensorFlow for TPU VMs, where it goes by another name: an
    # extra cannot leave this one out, so docs/search_on_tpu_vms.md has the lines.
    "tensorflow>=2.20,<2.22",
    "keras>=3.15,<4",
    # Parts of the language models and of the controller (the same code as keras-hub, which it brings and is imported
    # for its classes and its backbones).
    "keras-nlp>=0.21",
    # Backbones of the ResNet and EfficientNet builders, which import it when they are called. Its last release.
    "keras-cv>=0.9,<0.10",
    # The controller's distributions. It needs tf_keras even for those, and does not declare it.
    "tensorflow-probability>=0.25,<0.26",
    "tf_keras>=2.20,<2.22",
    # CIFAR-10. Preparing a data set needs importlib_resources, which it does not declare.
    "tensorflow-datasets>=4.9.9",
    "importlib_resources",
    "scikit-learn>=1.5",  # the digits
    "scipy>=1.15",  # paired statistics of the final table; scikit-learn brings it along
    "pyarrow>=15",  # the exported table; tensorflow-datasets brings it along
    "sentencepiece>=0.2",  # subwords of the translation tasks; keras-hub brings it along
    "sacrebleu>=2.4",  # their reward
    "matplotlib>=3.9",
    "numpy>=1.26",
    "packaging>=23",  # versions that `doctor` compares; keras brings it along
    "rich>=13",
    "click>=8.1",
    "cloudpickle>=3",  # tasks of one's own, sent to worker processes; tensorflow-probability brings it along
    "tensorboard>=2.20,<2.22",
]
DOCUMENTATION = ["mkdocs-material>=9.6,<10", "mkdocs>=1.6,<2", "mkdocstrings[python]>=0.30"]
# Keras on JAX: 64-bit integers inside a compiled step (`jax.enable_x64`) are there from this release on.
JAX = ["jax>=0.8.1"]
TORCH = ["torch>=2.6"]
DEVELOPMENT = [
    *DOCUMENTATION,
    *JAX,
    "pytest>=8",
    "hypothesis>=6.100",  # documents that nobody would think of
    "pytest-xdist>=3.6",  # one process a core: half the time
    "ruff>=0.14",
    "mypy>=1.18",
    "import-linter>=2.5",
    "nbclient>=0.10",
    "ipykernel>=6.29",
    "optuna>=5,<6",
    "ray>=2.52",
    "playwright>=1.50",  # drives a Chromium that is there; none: the tests of the page skip
    "axe-playwright-python>=0.1.4",  # what axe finds wrong for those who do not see the page
    "ipywidgets>=8.1",
]

setup(
    name="tf_autodropout",
    version=VERSION,
    description="AutoDropout for TensorFlow: structured dropout patterns, and the search that learns them",
    long_description=readme(Path(__file__).with_name("README.md").read_text(encoding="utf-8"), ADDRESS),
    long_description_content_type="text/markdown",
    author="The authors of tf_autodropout",
    license="Apache-2.0",
    keywords=["dropout", "regularization", "AutoDropout", "AutoML", "TensorFlow", "Keras"],
    project_urls={"Paper": "https://arxiv.org/abs/2101.01761"}
    | (
        {
            "Source": ADDRESS,
            "Documentation": f"{ADDRESS}/blob/v{VERSION}/docs/index.md",
            "Changelog": f"{ADDRESS}/blob/v{VERSION}/CHANGELOG.md",
            "Issues": f"{ADDRESS}/issues",
        }
        if ADDRESS
        else {}
    ),
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",  # TensorFlow 2.21 has no wheels for 3.14
    cmdclass={"sdist": SourceDistribution},
    packages=packages,
    package_dir=FOLDERS,
    package_data={
        "tf_autodropout": ["py.typed"],
        "tf_autodropout.presets": ["*.json"],
        "tf_autodropout.search.page": ["assets/*"],
        "tf_autodropout.search.released": ["*.parquet", "*.parquet.md"],
    },
    install_requires=REQUIRED,
    extras_require={
        # Older ones have no tokens. grpcio asks a cluster for its token mode; tensorboard brings it along.
        "ray": ["ray>=2.52", "grpcio>=1.62"],
        "tpe": ["optuna>=5,<6"],
        "jax": JAX,
        "jax-tpu": ["jax[tpu]>=0.8.1", "libtpu"],  # JAX says which one; benchmarks/tpu_compile.py needs it and no TPU
        "torch": TORCH,
        "docs": DOCUMENTATION,
        "dev": DEVELOPMENT,
    },
    entry_points={"console_scripts": ["tf-autodropout = tf_autodropout.search.terminal.cli:main"]},
)
