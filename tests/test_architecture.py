"""The import rule and the public surface of DESIGN: who may import whom, and what plugins may rely on."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import armature

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "armature": {"envs", "myalgos", "armature.envs", "armature.myalgos", "pybullet"},
    "envs": {"torch", "stable_baselines3", "sb3_contrib", "sbx", "myalgos", "armature.myalgos"},
    "myalgos": {"pybullet", "envs", "armature.envs"},
}


def imported(file: Path) -> set[str]:
    """Return every module a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_the_import_rule_holds(folder):
    for file in (ROOT / folder).rglob("*.py"):
        for name in imported(file):
            broken = [rule for rule in FORBIDDEN[folder] if name == rule or name.startswith(rule + ".")]
            assert not broken, f"{file} imports {name}"


def test_the_public_names_are_sorted_and_importable():
    assert armature.__all__ == sorted(armature.__all__)
    assert len(armature.__all__) <= 45
    for name in armature.__all__:
        assert getattr(armature, name) is not None


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Agnet'"):
        armature.Agnet  # noqa: B018


def test_importing_armature_loads_nothing_heavy():
    code = "import armature, armature.config, armature.cli, armature.combos, sys\n"
    code += "assert not {'torch', 'pybullet', 'stable_baselines3', 'gymnasium', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_x13_nothing_is_evaluated_unpickled_or_given_to_a_shell():
    """Loading a config or a run folder never runs code that it brings along."""
    forbidden = {"eval", "exec", "pickle", "cloudpickle", "yaml", "os.system", "dill", "joblib", "marshal", "shelve"}
    for file in [*ROOT.glob("*.py"), *(f for d in ("armature", "envs", "myalgos") for f in (ROOT / d).rglob("*.py"))]:
        if file.name == "trusted_pickle.py":  # a program of its own, for `python -m armature.import_model --trust`
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not forbidden & (calls | imported(file)), file


def test_x13_torch_and_numpy_are_told_not_to_unpickle():
    """Wherever they load something; and no module imports the one program that does unpickle."""
    needed = {"torch.load": "weights_only=True", "th.load": "weights_only=True", "np.load": "allow_pickle=False"}
    for file in [*ROOT.glob("*.py"), *(f for d in ("armature", "envs", "myalgos") for f in (ROOT / d).rglob("*.py"))]:
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        for call in calls:
            flag = needed.get(ast.unparse(call.func))
            assert flag is None or flag in map(ast.unparse, call.keywords), f"{file}:{call.lineno}"
        assert not any(name.startswith("armature.trusted_pickle") for name in imported(file)), file


def test_no_clock_that_can_be_set_measures_how_long_something_takes():
    """One date is written, when a run started; nothing counts with it."""
    forbidden = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow"}
    for file in [*ROOT.glob("*.py"), *(f for d in ("armature", "envs", "myalgos") for f in (ROOT / d).rglob("*.py"))]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert sum(found.count(name) for name in forbidden) == (file.name == "runs.py"), file
