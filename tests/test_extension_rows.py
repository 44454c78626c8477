"""Every promise to people who extend Armature has a test named after it, or a sentence that says why not.

A test whose name begins with the ids of rows covers them: `test_x6_r4_28_...` covers X6 and 4.28. Rows without a test
stand in the table of docs/extending.md under "Promises without a test".
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECTIONS = {"X": 17, "A": 18, "B": 45, "1.": 17, "4.": 28, "E": 10, "D": 38, "F": 19, "T": 22, "G": 27}
"""Number of rows by the letter or number that their ids begin with."""
ROWS = {f"{section}{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)}
HEADING = "## Promises without a test"
_IDS = re.compile(r"test((?:_(?:r[14]_|[xabedftg])\d+(?=_|$))+)")


def ids_of(name: str) -> set[str]:
    """Return the rows that a test's name begins with."""
    found = _IDS.match(name)
    ids = re.findall(r"_(r[14]_\d+|[a-z]\d+)", found[1]) if found else []
    return {row.removeprefix("r").replace("_", ".").upper() for row in ids}


def covered() -> dict[str, set[str]]:
    """Return the names of the tests that cover each row."""
    found: dict[str, set[str]] = {}
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for row in ids_of(node.name):
                    found.setdefault(row, set()).add(f"{file.name}: {node.name}")
    return found


def excused() -> dict[str, str]:
    """Return the reasons in the table of rows that have no test."""
    section = (
        (ROOT / "docs/extending.md").read_text(encoding="utf-8").partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row: why for rows, why in cells[2:] for row in rows.split(", ")}


def test_ids_are_read_from_names():
    assert ids_of("test_x6_r4_28_d13_an_unknown_name") == {"X6", "4.28", "D13"}
    assert ids_of("test_b37_a_task_of_2_steps") == {"B37"}
    assert ids_of("test_r1_9_any_share") == {"1.9"}
    assert ids_of("test_a_task") == ids_of("test_every_row") == ids_of("test_d12th_night") == set()


def test_every_row_is_tested_or_excused():
    assert sorted(ROWS - covered().keys() - excused().keys()) == []


def test_no_row_is_excused_that_is_tested():
    assert {row: covered()[row] for row in covered().keys() & excused().keys()} == {}


def test_there_are_no_other_rows():
    assert sorted((covered().keys() | excused().keys()) - ROWS) == []


def test_every_excuse_is_a_sentence():
    assert [row for row, why in excused().items() if len(why) < 20 or not why.endswith(".")] == []
