"""Algorithms of one's own, as the tutorial promises them."""

from pathlib import Path

from tests.tutorials import run_tutorial
