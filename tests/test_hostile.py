"""Files of somebody who means harm are refused with one message, and nothing that they bring along is run."""

import os
import sys

import pytest

from armature.errors import ArmatureError
from tests.hostile import Goods, artefacts

EVENTS = []
sys.addaudithook(lambda name, details: EVENTS.append(details) if name == "pickle.find_class" else None)


@pytest.fixture(scope="module")
def goods(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "canary_module.py").write_text(f"import os\nos.mkdir({str(folder / 'canary')!r})\n")
    sys.path.insert(0, str(folder))
    yield Goods(folder, folder / "canary")
    sys.path.remove(str(folder))


@pytest.mark.parametrize("kind", ["model", "checkpoint", "import", "demos"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_x13_hostile_files_are_refused(kind, goods, tmp_path, monkeypatch):
    """Each of the corpus; but for those whose payload nobody looks at, which may be read."""
    monkeypatch.chdir(goods.folder)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no power cut is expected
    mistakes = []
    for number, (name, artefact) in enumerate(artefacts(goods).items()):
        if artefact.reader != kind:
            continue
        path = artefact.write(tmp_path / str(number))
        EVENTS.clear()
        try:
            goods.read(kind, path)
            told = "" if artefact.harmless else "it was read"
        except ArmatureError as error:
            told = "" if len(str(error)) < 2000 else "its message is a book"
        except Exception as error:  # whatever it is, it is no message for users
            told = f"{type(error).__name__}: {str(error)[:300]}"
        if told or EVENTS or goods.canary.exists():
            mistakes.append(f"{name}: {told}, {len(EVENTS)} names unpickled, canary: {goods.canary.exists()}")
    assert not mistakes, "\n".join(mistakes)


def test_the_corpus_is_large(goods):
    assert len(artefacts(goods)) >= 200
