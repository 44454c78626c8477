"""Packaging: one import package, `armature`, assembled from the top-level folders of the checkout."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
FOLDERS = {
    "armature": "armature",
    "armature.envs": "envs",
    "armature.myalgos": "myalgos",
    "armature.configs": "configs",
}
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "armature/__init__.py").read_text(encoding="utf-8"), re.M)[1]


class BuildWithScripts(build_py):
    """Ship train.py and test.py too, as `armature.train` and `armature.test`."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Add the two scripts to the modules of the main package."""
        modules = super().find_package_modules(package, package_dir)
        if package == "armature":
            modules += [(package, name, f"{name}.py") for name in ("train", "test")]
        return modules


def packages() -> list[str]:
    """Return every package of the four folders under its name in the wheel."""
    return [
        ".".join(filter(None, (name, sub))) for name, folder in FOLDERS.items() for sub in ("", *find_packages(folder))
    ]


setup(
    name="armature",
    version=VERSION,
    description="Train robots in PyBullet from one JSON file",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    # PyBullet has wheels for these versions only; elsewhere it is compiled, which README.md explains.
    python_requires=">=3.10",
    packages=packages(),
    package_dir=FOLDERS,
    package_data={"armature": ["py.typed"], "armature.envs": ["assets/**/*"], "armature.configs": ["**/*.json"]},
    cmdclass={"build_py": BuildWithScripts},
    entry_points={
        "console_scripts": ["armature-train = armature.train:main", "armature-test = armature.test:main"],
    },
    install_requires=[
        "stable-baselines3>=2.9.2,<3",
        "sb3-contrib>=2.9.2,<3",
        "pybullet>=3.2.6,<4",
        "gymnasium>=1.0,<2",
        "torch>=2.10,<3",  # earlier versions have known holes in reading weights
        "numpy>=1.26,<3",
        "commentjson>=0.9,<1",
        "pydantic>=2.11,<3",
        "tensorboard>=2.16",
        "tqdm>=4.66",
        "rich>=13",
        "matplotlib>=3.8",
        "imageio[ffmpeg]>=2.34",
    ],
    extras_require={
        "jax": ["sbx-rl>=0.27"],
        "robots": ["example-robot-data>=6"],
        "dev": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.6", "mypy>=1.11", "build>=1.2"],
    },
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
