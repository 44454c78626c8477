"""Files of somebody who means harm: over a hundred, each with who would read it. Built here, none of them is kept.

    goods = Goods(folder, canary)                       # sound files, which the artefacts are made of
    for name, artefact in artefacts(goods).items():
        path = artefact.write(folder / name)
        goods.read(artefact.reader, path)               # raises ArmatureError, or is harmless; the canary never fires

Tests try each of them; a benchmark can measure how long it takes to refuse them.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO, SAC

from armature.checkpoints import MANIFEST, _manifest_hash, read_json, write_folder, write_json
from armature.combos import implemented_combos
from armature.config import Config
from armature.demonstrations import read_demonstrations, save_demonstrations
from armature.import_model import import_model
from armature.making import make_model
from armature.models import load_model, restore_model, save_checkpoint
from armature.plugins import load_plugins
from armature.replay import ReplayFiles
from armature.vec import make_vec_env, normalized

Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Artefact:
    """A hostile file or folder."""

    reader: str
    """Which of `Goods.read` gets it."""
    write: Callable[[Path], Path]
    """Writes it to a new path, and returns what to read."""
    harmless: bool = False
    """Whether it may be read after all, since what is hostile in it is never looked at."""


class Payload:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


class Goods:
    """Sound models, archives and demonstrations.

    Args:
        folder: where they are made.
        canary: a path that only a payload makes.
    """

    def __init__(self, folder: Path, canary: Path) -> None:
        load_plugins()
        self.canary, self.folder = canary, folder
        keys = {"env_name": "Pendulum-v1", "num_envs": 1, "policy_kwargs": {"net_arch": [4, 4]}, "logdir": str(folder)}
        self.ppo = Config(algo="ppo", algo_kwargs={"n_steps": 8, "batch_size": 8}, **keys)
        self.sac = Config(algo="sac", algo_kwargs={"buffer_size": 40, "learning_starts": 8}, normalize=True, **keys)
        self.models = {config.algo: self._checkpoint(config) for config in (self.ppo, self.sac)}
        self.zips = {algo: self._foreign(algo) for algo in ("ppo", "sac")}
        self.demos = self._demos()

    def read(self, reader: str, path: Path) -> object:
        """Let the one read a file whose job it is."""
        readers: dict[str, Callable[[Path], object]] = {
            "model": load_model,
            "checkpoint": self._restore,
            "import": lambda file: import_model(file, self.ppo if "ppo" in path.name else self._sac_plain),
            "demos": read_demonstrations,
        }
        return readers[reader](path)

    @property
    def _sac_plain(self) -> Config:
        return self.sac.model_copy(update={"normalize": False})

    def _build(self, config: Config) -> Any:
        env = make_vec_env(config, "train", 1)
        algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
        env = normalized(env) if config.normalize else env
        return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)

    def _checkpoint(self, config: Config) -> Path:
        model = self._build(config).learn(16)
        return save_checkpoint(model, self.folder / config.algo, config, {}, ReplayFiles())

    def _restore(self, path: Path) -> object:
        model = self._build(self.sac)
        restore_model(model, path)[1].put_into(model)
        return model

    def _foreign(self, algo: str) -> Path:
        path = self.folder / f"foreign_{algo}.zip"
        kwargs = {"policy_kwargs": {"net_arch": [4, 4]}, "device": "cpu"}
        model = PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, **kwargs) if algo == "ppo" else None
        model = model or SAC("MlpPolicy", "Pendulum-v1", buffer_size=100, **kwargs)
        model.learn(16).save(path)
        return path

    def _demos(self) -> Path:
        env = make_vec_env(self.sac, "replay", 1)
        step = {
            **{"observation": np.zeros(3, np.float32), "next_observation": np.ones(3, np.float32)},
            **{"action": np.zeros(1, np.float32), "reward": 1.0},
            **{"terminated": False, "truncated": True, "success": None},
        }
        save_demonstrations(self.folder / "demos.npz", [[step] * 5], env, self.sac, "expert")
        return self.folder / "demos.npz"


def artefacts(goods: Goods) -> dict[str, Artefact]:
    """Return the whole corpus by name."""
    return {
        **_archives(goods),
        **_inner_archives(goods),
        **_weights(goods),
        **_pickled_keys(goods),
        **_arrays(goods),
        **_json_files(goods),
        **_manifests(goods),
        **_descriptions(goods),
        **_demonstrations(goods),
    }


# ---------------------------------------------------------------------------------------------- how they are made


def resealed(good: Path, change: Callable[[Path], None], target: Path) -> Path:
    """Copy a model folder, change it, and give it a manifest that is right, as somebody hostile would."""

    def write(draft: Path) -> None:
        shutil.copytree(good, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
        change(draft)

    return write_folder(target, 16, write)


def with_file(good: Path, name: str, change: Change) -> Callable[[Path], Path]:
    """Return what writes a copy of a folder in which the bytes of one file are others."""

    def apply(draft: Path) -> None:
        (draft / name).write_bytes(change((draft / name).read_bytes()))

    return partial(resealed, good, apply)


def zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def unzipped(data: bytes) -> list[tuple[str, bytes]]:
    """Return the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def with_member(name: str, change: Change) -> Change:
    """Return what changes one member of an archive."""
    return lambda data: zipped([(n, change(d) if n == name else d) for n, d in unzipped(data)])


def _named(name: str, kind: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename, info.external_attr = name, kind << 16
    return info


def _replaced(old: bytes, new: bytes, count: int = 1) -> Change:
    def change(data: bytes) -> bytes:
        assert old in data, f"{old!r} is not there to be replaced"
        return data.replace(old, new, count)

    return change


def _patched(signature: bytes, offset: int, value: bytes) -> Change:
    """Return what overwrites a field of the first record of a kind."""

    def change(data: bytes) -> bytes:
        place = data.index(signature) + offset
        return data[:place] + value + data[place + len(value) :]

    return change


def _both(first: Change, second: Change) -> Change:
    return lambda data: second(first(data))


_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

# What can be wrong with any archive.
ZIP_CHANGES: dict[str, Change] = {
    "prefix": lambda data: b"MZ" + bytes(100) + data,
    "script before it": lambda data: b"#!/bin/sh\ntouch canary\nexit\n" + data,
    "pdf and zip at once": lambda data: b"%PDF-1.7\n" + data + b"\n%%EOF",
    "suffix": lambda data: data + bytes(100),
    "comment": lambda data: data[:-2] + struct.pack("<H", 5) + b"hello",
    "cut in half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no archive": lambda data: b"not a zip" * 100,
    "two archives": lambda data: data + data,
    "no members": lambda data: zipped([]),
    "twice the same name": lambda data: zipped([*unzipped(data), unzipped(data)[0]]),
    "compressed": lambda data: zipped(unzipped(data), zipfile.ZIP_DEFLATED),
    "bomb": lambda data: zipped([*unzipped(data)[1:], (unzipped(data)[0][0], bytes(1 << 25))], zipfile.ZIP_DEFLATED),
    "encrypted": _both(_patched(_LOCAL, 6, b"\x01"), _patched(_CENTRAL, 8, b"\x01")),
    "encrypted by the directory alone": _patched(_CENTRAL, 8, b"\x01"),
    "other name in the header": _patched(_LOCAL, 30, b"X"),
    "other size in the header": _patched(_LOCAL, 22, b"\x07\x00\x00\x00"),
    "other sum in the header": _patched(_LOCAL, 14, b"\x07\x00\x00\x00"),
    "other sum in the directory": _patched(_CENTRAL, 16, b"\x07\x00\x00\x00"),
    "sizes of 4 GB": _both(_patched(_CENTRAL, 20, b"\xf0\xff\xff\xff"), _patched(_CENTRAL, 24, b"\xf0\xff\xff\xff")),
    "negative place": _patched(_CENTRAL, 42, b"\xff\xff\xff\xff"),
    "directory elsewhere": _patched(_END, 16, b"\x00\x00\x00\x10"),
    "many members": lambda data: zipped([*unzipped(data), *((f"x{n}", b"") for n in range(20_000))]),
    "a folder": lambda data: zipped([*unzipped(data), ("folder/", b"")]),
    "up and out": lambda data: zipped([*unzipped(data), (_named("../../canary.pth"), b"x")]),
    "absolute": lambda data: zipped([*unzipped(data), (_named("/tmp/canary.pth"), b"x")]),
    "drive": lambda data: zipped([*unzipped(data), (_named("C:/canary.pth"), b"x")]),
    "backslash": lambda data: zipped([*unzipped(data), (_named("..\\canary.pth"), b"x")]),
    "nul": lambda data: zipped([*unzipped(data), (_named("policy.pth\0.txt"), b"x")]),
    "link": lambda data: zipped([*unzipped(data), (_named("evil", 0o120777), b"/etc/passwd")]),
    "device": lambda data: zipped([*unzipped(data), (_named("evil", 0o020777), b"")]),
}


def _archives(goods: Goods) -> dict[str, Artefact]:
    model, found = goods.models["ppo"], {}
    for name, change in ZIP_CHANGES.items():
        found[f"zip: {name}"] = Artefact("model", with_file(model, "model.zip", change))
    for name in ("encrypted", "compressed", "prefix", "suffix", "up and out", "twice the same name", "bomb", "link"):
        found[f"import: {name}"] = Artefact("import", _file(goods.zips["ppo"], ZIP_CHANGES[name], "ppo.zip"))
    return found


def _file(good: Path, change: Change, name: str) -> Callable[[Path], Path]:
    def write(target: Path) -> Path:
        target.mkdir()
        (target / name).write_bytes(change(good.read_bytes()))
        return target / name

    return write


# ---------------------------------------------------------------------------------------------- weights


def _inner_archives(goods: Goods) -> dict[str, Artefact]:
    chosen = set(ZIP_CHANGES) - {"many members", "no archive", "two archives", "device"}
    return {
        f"pth: {name}": Artefact(
            "model", with_file(goods.models["ppo"], "model.zip", with_member("policy.pth", change))
        )
        for name, change in ZIP_CHANGES.items()
        if name in chosen
    }


def saved(data: Any, **options: Any) -> bytes:
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(data, buffer, **options)
    return buffer.getvalue()


def _script(script: bytes) -> bytes:
    """Return a file of torch whose pickle is another."""
    return with_member("archive/data.pkl", lambda data: script)(saved({"a": torch.zeros(2)}))


def _weights(goods: Goods) -> dict[str, Artefact]:
    payload = Payload(goods.canary)
    with zipfile.ZipFile(goods.models["ppo"] / "model.zip") as archive:
        state = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    first = next(iter(state))

    def weight(change: Callable[[torch.Tensor], Any]) -> bytes:
        return saved({**state, first: change(state[first])})

    deep: Any = []
    for _ in range(400):
        deep = [deep]
    policies = {
        "payload": saved(payload),
        "payload among weights": saved({**state, "more": payload}),
        "payload, old format": saved(payload, _use_new_zipfile_serialization=False),
        "weights, old format": saved(state, _use_new_zipfile_serialization=False),
        "bare pickle": pickle.dumps(payload),
        "pickle in the archive": _script(pickle.dumps(payload, 2)),
        "newer pickle in the archive": _script(pickle.dumps(payload, 4)),
        "eval": _script(b"cbuiltins\neval\n(S'1'\ntR."),
        "memory": _script(b"cbuiltins\nbytearray\n(\x8a\x06\x00\x00\x00\x00\x00\x10tR."),
        "nested loader": _script(b"ctorch.storage\n_load_from_bytes\n(C\x01xtR."),
        "class by number": _script(b"\x82\x01."),
        "endless pickle": _script(b"(" * 3_000_000 + b"."),
        "deep pickle": saved(deep),
        "garbage pickle": _script(bytes(range(256))),
        "no dict": saved([1, 2]),
        "nothing": saved(None),
        "NaN": weight(lambda tensor: tensor * float("nan")),
        "infinity": weight(lambda tensor: tensor / 0),
        "other shape": weight(lambda tensor: torch.zeros(*tensor.shape, 2)),
        "other type": weight(lambda tensor: tensor.double()),
        "text": weight(lambda tensor: "text"),
        "sparse": weight(lambda tensor: torch.ones(3, 3).to_sparse()),
        "huge by stride": weight(lambda tensor: torch.zeros(1).expand(1 << 40)),
        "names missing": saved(dict(list(state.items())[1:])),
        "names more": saved({**state, "more": torch.zeros(1)}),
        "numbers for names": saved({**state, 7: torch.zeros(1)}),
        "large": saved({**state, "more": torch.zeros(1 << 20)}),
    }
    found = {
        f"weights: {name}": Artefact(
            "model", with_file(goods.models["ppo"], "model.zip", with_member("policy.pth", lambda _, data=data: data))
        )
        for name, data in policies.items()
    }
    members = {
        "variables of another": ("pytorch_variables.pth", saved({"num_timesteps": torch.zeros(1)})),
        "variables as payload": ("pytorch_variables.pth", saved(payload)),
        "variables as numbers": ("pytorch_variables.pth", saved({"log_ent_coef": 3.0})),
        "optimizer as payload": ("actor.optimizer.pth", saved(payload)),
        "optimizer of another": ("actor.optimizer.pth", saved({"state": {99: {}}, "param_groups": []})),
        "optimizer of text": ("actor.optimizer.pth", saved({"state": {0: {"exp_avg": "x"}}, "param_groups": []})),
        "optimizer of NaN": ("actor.optimizer.pth", saved({"state": {0: {"step": torch.tensor(float("nan"))}}})),
        "optimizer of lists": ("actor.optimizer.pth", saved({"state": {0: [1]}, "param_groups": []})),
    }
    for name, (member, data) in members.items():
        change = with_member(member, lambda _, data=data: data)
        found[f"weights: {name}"] = Artefact("checkpoint", with_file(goods.models["sac"], "model.zip", change))
    return found


def _pickled_keys(goods: Goods) -> dict[str, Artefact]:
    """A payload in every value that SB3 would unpickle. Nobody looks at them, so these files are as good as sound."""
    payload = base64.b64encode(pickle.dumps(Payload(goods.canary))).decode()

    def poisoned(key: str) -> Change:
        def change(data: bytes) -> bytes:
            described = json.loads(data)
            described[key] = {**described.get(key, {}), ":serialized:": payload}
            return json.dumps(described).encode()

        return with_member("data", change)

    found = {}
    for algo, file in goods.zips.items():
        described = json.loads(dict(unzipped(file.read_bytes()))["data"])
        keys = [key for key, value in described.items() if isinstance(value, dict) and ":serialized:" in value]
        for key in [*keys, "own_key"]:
            found[f"{algo}, {key}"] = Artefact("import", _file(file, poisoned(key), f"{algo}.zip"), harmless=True)
    found["ppo, data is a pickle"] = Artefact(
        "model",
        with_file(goods.models["ppo"], "model.zip", with_member("data", lambda _: base64.b64decode(payload))),
        True,
    )
    return found


# ---------------------------------------------------------------------------------------------- arrays


def npy(array: np.ndarray) -> bytes:
    """Return what np.save writes, objects pickled."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _with_header(text: str) -> bytes:
    """Return an npy file with a header of one's own, and hardly any content."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(24)


def _arrays(goods: Goods) -> dict[str, Artefact]:
    objects = np.array([Payload(goods.canary)], dtype=object)
    bad = {
        "objects": npy(objects),
        "bare pickle": pickle.dumps(Payload(goods.canary)),
        "promises 8 TB": _with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"),
        "negative shape": _with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"),
        "200 dimensions": _with_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {(1,) * 200}, }}\n"),
        "code in the header": _with_header("{'descr': __import__('os').mkdir('canary'), 'shape': ()}\n"),
        "deep header": _with_header("(" * 9000),
        "other type": npy(np.zeros(3, np.complex128)),
        "other shape": npy(np.zeros(17)),
        "NaN": npy(np.full(3, np.nan)),
        "negative": npy(np.full(3, -1.0)),
        "cut": npy(np.zeros(3))[:-5],
        "longer": npy(np.zeros(3)) + b"more",
        "empty": b"",
        "an archive": zipped([("a.npy", npy(np.zeros(3)))]),
    }
    found = {}
    for name, data in bad.items():
        change = with_member("observation:.var.npy", lambda _, data=data: data)
        found[f"statistics: {name}"] = Artefact("model", with_file(goods.models["sac"], "normalization.npz", change))
    for name in ("compressed", "bomb", "up and out", "twice the same name", "prefix", "cut in half", "no members"):
        found[f"statistics: {name}"] = Artefact(
            "model", with_file(goods.models["sac"], "normalization.npz", ZIP_CHANGES[name])
        )
    for file, member in {
        "replay/000000000.npz": "rewards",
        "episodes.npz": "actions",
        "carried.npz": "_last_episode_starts",
    }.items():
        for name in set(bad) - {"negative"} - ({"NaN"} if "replay" in file else set()):
            change = with_member(f"{member}.npy", lambda _, data=bad[name]: data)
            found[f"{file}: {name}"] = Artefact("checkpoint", with_file(goods.models["sac"], file, change))
    return found


# ---------------------------------------------------------------------------------------------- JSON

JSON_CHANGES: dict[str, Change] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-30],
    "list": lambda data: b"[]",
    "number": lambda data: b"3",
    "deep list": lambda data: b"[" * 200_000 + b"]" * 200_000,
    "deep object": lambda data: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep within": _replaced(b"{", b'{"deep": ' + b"[" * 1000 + b"]" * 1000 + b", "),
    "huge": lambda data: b'"' + b"x" * (17 << 20) + b'"',
    "unclosed quotes": lambda data: b'"\\"' * 3_000_000,
    "NaN": _replaced(b"{", b'{"x": NaN, '),
    "infinity": _replaced(b"{", b'{"x": -Infinity, '),
    "1e999": _replaced(b"{", b'{"x": 1e999, '),
    "key twice": _replaced(b"{", b'{"x": 1, "x": 2, '),
    "long number": _replaced(b"{", b'{"x": ' + b"9" * 100_000 + b", "),
    "no UTF-8": _replaced(b"{", b'{"x": "\xff\xfe", '),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "comments": lambda data: b"// hello\n" + data,
    "pickle": lambda data: b"\x80\x04N.",
}


def _json_files(goods: Goods) -> dict[str, Artefact]:
    found = {}
    for name, change in JSON_CHANGES.items():
        found[f"model.json: {name}"] = Artefact("model", with_file(goods.models["ppo"], "model.json", change))
        found[f"state.json: {name}"] = Artefact("checkpoint", with_file(goods.models["sac"], "state.json", change))

        def write(target: Path, change: Change = change) -> Path:
            shutil.copytree(goods.models["ppo"], target)
            (target / MANIFEST).write_bytes(change((target / MANIFEST).read_bytes()))
            return target

        found[f"manifest: {name}"] = Artefact("model", write)
    return found


def _manifests(goods: Goods) -> dict[str, Artefact]:
    def lying(name: str, size: int = 10) -> Callable[[Path], Path]:
        def write(target: Path) -> Path:
            shutil.copytree(goods.models["ppo"], target)
            manifest = read_json(target / MANIFEST)
            manifest["files"][name] = {"size": size, "sha256": "0" * 64}
            write_json(target / MANIFEST, {**manifest, "sha256": _manifest_hash(manifest)})
            return target

        return write

    def with_odd_file(make: Callable[[Path], None], name: str = "model.json") -> Callable[[Path], Path]:
        def write(target: Path) -> Path:
            shutil.copytree(goods.models["ppo"], target)
            (target / name).rename(target.parent / "aside")
            make(target / name)
            return target

        return write

    return {
        "manifest names /etc/passwd": Artefact("model", lying("/etc/passwd")),
        "manifest names ../outside": Artefact("model", lying("../outside")),
        "manifest names .. within": Artefact("model", lying("a/../../outside")),
        "manifest names a backslash": Artefact("model", lying("..\\outside")),
        "manifest names nul": Artefact("model", lying("a\0b")),
        "manifest names a device": Artefact("model", lying("/dev/zero")),
        "manifest names nothing": Artefact("model", lying("")),
        "manifest lies about a size": Artefact("model", lying("model.zip", 1 << 60)),
        "manifest lies about a sum": Artefact(
            "model", lying("model.zip", (goods.models["ppo"] / "model.zip").stat().st_size)
        ),
        "model.json is a link": Artefact("model", with_odd_file(lambda path: path.symlink_to("/etc/passwd"))),
        "model.json is /dev/zero": Artefact("model", with_odd_file(lambda path: path.symlink_to("/dev/zero"))),
        "model.json is a link in a circle": Artefact("model", with_odd_file(lambda path: path.symlink_to(path))),
        "model.json is a pipe": Artefact("model", with_odd_file(os.mkfifo)),
        "model.json is a folder": Artefact("model", with_odd_file(Path.mkdir)),
        "model.zip is a pipe": Artefact("model", with_odd_file(os.mkfifo, "model.zip")),
        "manifest is a pipe": Artefact("checkpoint", with_odd_file(os.mkfifo, MANIFEST)),
        "manifest is a link": Artefact(
            "checkpoint", with_odd_file(lambda path: path.symlink_to("/dev/zero"), MANIFEST)
        ),
    }


# ---------------------------------------------------------------------------------------------- descriptions


def _descriptions(goods: Goods) -> dict[str, Artefact]:
    def configured(**keys: Any) -> Callable[[Path], Path]:
        return described(config={**read_json(goods.models["ppo"] / "model.json")["config"], **keys})

    def described(**values: Any) -> Callable[[Path], Path]:
        def change(data: bytes) -> bytes:
            return json.dumps({**json.loads(data), **values}).encode()

        return with_file(goods.models["ppo"], "model.json", change)

    box = {"type": "Box", "low": -1.0, "high": 1.0, "shape": [3], "dtype": "float32"}
    sized = {
        "10^9 environments": configured(num_envs=10**9),
        "a buffer of 10^12": with_file(
            goods.models["sac"], "model.json", _replaced(b'"buffer_size": 40', b'"buffer_size": 1000000000000')
        ),
        "a rollout of 10^12": configured(algo_kwargs={"n_steps": 10**12, "batch_size": 64}),
        "10^6 layers": configured(policy_kwargs={"net_arch": [4] * 10**6}),
        "a layer of 10^9": configured(policy_kwargs={"net_arch": [10**9]}),
        "layers of 10^5": configured(policy_kwargs={"net_arch": [99_999, 99_999]}),
        "a layer of -1": configured(policy_kwargs={"net_arch": [-1]}),
        "layers of text": configured(policy_kwargs={"net_arch": ["x"]}),
        "features of 10^9": configured(policy_kwargs={"features_extractor_kwargs": {"features_dim": 10**9}}),
        "critics of 10^9": configured(algo="sac", algo_kwargs={}, policy_kwargs={"n_critics": 10**9}),
        "observations of 10^9": described(observation_space={**box, "shape": [10**9]}),
        "observations of 10^15": described(observation_space={**box, "shape": [10**5, 10**5, 10**5]}),
        "observations of 16 million": described(observation_space={**box, "shape": [16_000_000]}),
        "observations of 4 million": described(observation_space={**box, "shape": [4_000_000]}),
        "observations of -1": described(observation_space={**box, "shape": [-1]}),
        "observations of objects": described(observation_space={**box, "dtype": "O"}),
        "observations of 5": described(observation_space={**box, "shape": [5]}),
        "10^12 actions": described(action_space={"type": "Discrete", "n": 10**12, "start": 0}),
        "10^7 actions": described(action_space={"type": "Discrete", "n": 10**7, "start": 0}),
        "actions of 10^8 bits": described(action_space={"type": "MultiBinary", "n": 10**8}),
        "choices of 10^18": described(observation_space={"type": "MultiDiscrete", "nvec": [10**18]}),
        "a space of no kind": described(action_space={"type": "os:system"}),
        "dicts of themselves": described(observation_space={"type": "Dict", "spaces": [["a", {"type": "Dict"}]]}),
        "no counters": described(counters=3),
        "no config": described(config=[]),
        "unknown key": configured(evil=1),
        "long names": configured(algo="a" * 10**6),
    }
    naming = {
        "algo": configured(algo="canary_module:Algo"),
        "algo of os": configured(algo="os:system"),
        "algo in a file": configured(algo="canary_module.py:Algo"),
        "plugins": configured(plugins=["canary_module"]),
        "plugin file": configured(plugins=["canary_module.py"]),
        "policy": configured(policy="canary_module:Policy"),
        "activation": configured(policy_kwargs={"activation_fn": "canary_module:relu"}),
        "activation of os": configured(policy_kwargs={"activation_fn": "os:system"}),
        "extractor": configured(policy_kwargs={"features_extractor_class": "subprocess:Popen"}),
        "optimizer": configured(policy_kwargs={"optimizer_class": "canary_module:Adam"}),
        "nearly harmless": configured(policy_kwargs={"activation_fn": "torch.nn.modules.module:os.system"}),
        "buffer": configured(algo="sac", algo_kwargs={"replay_buffer_class": "canary_module:Buffer"}),
        "loop": configured(loop="canary_module:Loop"),
        "environment": configured(env_name="canary_module:Env-v0"),
    }
    ignored = {"a buffer of 10^12", "a rollout of 10^12", "environment"}
    return {
        **{f"asks for {name}": Artefact("model", write, harmless=name in ignored) for name, write in sized.items()},
        **{f"names {name}": Artefact("model", write, harmless=name in ignored) for name, write in naming.items()},
    }


# ---------------------------------------------------------------------------------------------- demonstrations


def _demonstrations(goods: Goods) -> dict[str, Artefact]:
    header = dict(unzipped(goods.demos.read_bytes()))["header.npy"]
    told = json.loads(np.load(io.BytesIO(header)).tobytes())

    def array(name: str, data: bytes) -> Change:
        return with_member(f"{name}.npy", lambda _: data)

    def text(data: bytes) -> Change:
        return array("header", npy(np.frombuffer(data, np.uint8)))

    def telling(**values: Any) -> Change:
        return text(json.dumps({**told, **values}).encode())

    objects = npy(np.array([Payload(goods.canary)], dtype=object))
    changes: dict[str, Change] = {
        "objects": array("reward", objects),
        "header of objects": array("header", objects),
        "header as pickle": array("header", pickle.dumps(Payload(goods.canary))),
        "all a pickle": lambda data: pickle.dumps(Payload(goods.canary)),
        "8 TB": array(
            "reward", _with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000000,), }\n")
        ),
        "deep header": text(b"[" * 100_000),
        "large header": text(b" " * (2 << 20)),
        "key twice": text(b'{"format": 1, "format": 1}'),
        "NaN": text(b'{"format": NaN}'),
        "10^12 transitions": telling(transitions=10**12),
        "-1 transitions": telling(transitions=-1),
        "no number of transitions": telling(transitions=[1]),
        "huge space": telling(
            observation_space={"type": "Box", "low": 0, "high": 1, "shape": [10**9], "dtype": "float32"}
        ),
        "no action": array("action", npy(np.full((5, 1), np.nan, np.float32))),
        **{
            name: ZIP_CHANGES[name]
            for name in ("bomb", "prefix", "suffix", "compressed", "up and out", "link", "cut in half")
        },
    }
    return {
        f"demos: {name}": Artefact("demos", _file(goods.demos, change, "d.npz")) for name, change in changes.items()
    }
