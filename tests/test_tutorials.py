"""Every page of docs/tutorials runs as it is printed, from a clean directory."""

from pathlib import Path

import pytest

from tests.tutorials import ROOT, blocks, run_tutorial

PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))


@pytest.mark.slow
def test_x16_own_environment(tmp_path):
    outputs = run_tutorial(ROOT / "docs/tutorials/own_environment.md", tmp_path)
    assert "see it with: python test.py --model trained_models/lift --allow-import" in outputs[0]
    assert "100.0% of 20 episodes" in outputs[1]


@pytest.mark.slow
def test_own_robot(tmp_path):
    outputs = run_tutorial(ROOT / "docs/tutorials/own_robot.md", tmp_path)
    assert '"arm_joints": ["pan", "lift", "elbow", "bend", "roll"]' in outputs[0]
    shown = next(block.code for block in blocks(ROOT / "docs/tutorials/own_robot.md") if block.language == "text")
    assert shown in outputs[0]
    assert "100.0% of 10 episodes" in outputs[1]
    assert "see it with: python test.py --model trained_models/pointer" in outputs[2]


def test_every_page_is_run_by_a_test():
    """A page without a test would go stale."""
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    assert all(page.name in tests for page in PAGES)
    assert all(any(block.language == "bash" for block in blocks(page)) for page in PAGES)
