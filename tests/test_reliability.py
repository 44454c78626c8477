"""What happens to whole runs when something happens to them."""

import importlib
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from armature import train as script
from armature.callbacks.saving import EvaluationCallback
from armature.checkpoints import checkpoints, newest, read_json, verify, write_json
from armature.circumstances import circumstances
from armature.errors import DivergedError, RunError
from armature.gradients import guard_gradients
from armature.making import make_model
from armature.runs import CsvTable
from armature.vec import make_vec_env
from tests.conftest import TOY
from tests.outcomes import differences, outcome

TINY = [
    *("--env_name=toy/PointFlat-v0", "--num_envs=2", "--num_workers=0", "--steps=120", "--tensorboard=false"),
    *("--eval_freq=60", "--eval_episodes=2", "--final_eval_episodes=2", "--policy_kwargs.net_arch=[8]"),
    *("--algo_kwargs.learning_starts=20", "--algo_kwargs.buffer_size=500", "--checkpoint_freq=50"),
]
ALLOWED = ["--allow-import", TOY]


def begin(logdir):
    """Begin a tiny training, `mine`; return its exit status."""
    return script.main([*TINY, f"--plugins=[{TOY!r}]".replace("'", '"'), f"--logdir={logdir}", "--run_name=mine"])


@pytest.fixture
def trained(tmp_path):
    """Return the run folder of a tiny training that is done."""
    assert begin(tmp_path) == 0
    return tmp_path / "mine"


# ---------------------------------------------------------------------------------------------- resuming


def test_other_circumstances_are_refused_with_the_list_of_them(trained, capsys):
    info = read_json(trained / "run.json")
    info["circumstances"] |= {"torch": "1.0", "processor": "an abacus"}
    write_json(trained / "run.json", info)
    argv = ["--resume", str(trained), "--steps=160", *ALLOWED]
    assert script.main(argv) == 2
    told = capsys.readouterr().err
    assert "processor was an abacus and is" in told
    assert f"torch was 1.0 and is {circumstances(script.Config())['torch']}" in told
    assert "--allow-inexact" in told
    assert script.main([*argv, "--allow-inexact"]) == 0
    assert read_json(trained / "summary.json")["steps"] == 160


def test_another_number_of_environments_has_to_be_allowed(trained, capsys):
    argv = ["--resume", str(trained), "--steps=180", "--num_envs=3", *ALLOWED]
    assert script.main(argv) == 2
    assert "--num_envs cannot change in a resumed run" in capsys.readouterr().err
    assert script.main([*argv, "--allow-inexact"]) == 0
    assert read_json(trained / "summary.json")["steps"] == 180


def test_a_run_that_was_cut_before_its_first_checkpoint_begins_anew(trained, caplog):
    straight = outcome(trained)
    shutil.rmtree(trained / "checkpoints")
    for name in ("best", "final"):
        shutil.rmtree(trained / name)
    assert script.main(["--resume", str(trained), *ALLOWED]) == 0
    assert "has no checkpoint yet: it begins anew" in caplog.text
    assert differences(straight, outcome(trained)) == []


def test_a_run_that_was_cut_after_its_last_step_is_finished(trained):
    straight = outcome(trained)
    (trained / "summary.json").unlink()
    shutil.rmtree(trained / "final")
    assert script.main(["--resume", str(trained), *ALLOWED]) == 0
    assert differences(straight, outcome(trained)) == []


def test_a_signal_before_the_last_evaluation_changes_nothing(trained, monkeypatch, caplog):
    straight = outcome(trained)
    shutil.rmtree(trained)
    evaluate = EvaluationCallback.evaluate

    def signalled(callback):
        if callback.finished:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(callback)

    with monkeypatch.context() as patched:
        patched.setattr(EvaluationCallback, "evaluate", signalled)
        assert begin(trained.parent) == 128 + signal.SIGTERM
    caplog.clear()
    assert script.main(["--resume", str(trained), *ALLOWED]) == 0
    assert differences(straight, outcome(trained)) == []
    assert caplog.text == ""  # there was nothing left to learn, and that is no fault


class Killed(BaseException):
    """Ends a training as SIGKILL would: nobody saves or writes anything on the way out."""


def test_a_kill_after_the_last_step_loses_no_row(trained, monkeypatch):
    straight = outcome(trained)
    shutil.rmtree(trained)
    evaluate = EvaluationCallback.evaluate

    def killed(callback):
        if callback.finished:
            raise Killed
        return evaluate(callback)

    with monkeypatch.context() as patched:
        patched.setattr(EvaluationCallback, "evaluate", killed)
        with pytest.raises(Killed):
            begin(trained.parent)
    assert checkpoints(trained)[-1].name == "000000120"
    assert CsvTable(trained / "metrics.csv").rows() == []  # its only row is that of the end
    assert script.main(["--resume", str(trained), *ALLOWED]) == 0
    assert differences(straight, outcome(trained)) == []
    (row,) = CsvTable(trained / "metrics.csv").rows()
    assert row["steps"] == "120"


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_gives_the_same(trained, caplog):
    straight = outcome(trained)
    (trained / "summary.json").unlink()
    newest_one = checkpoints(trained)[-1]
    with (newest_one / "model.zip").open("r+b") as file:
        file.seek(200)
        file.write(b"\0\1\2\3")
    assert script.main(["--resume", str(trained), *ALLOWED]) == 0
    assert "is set aside" in caplog.text
    assert newest_one.with_name(f"{newest_one.name}.damaged").is_dir()
    assert differences(straight, outcome(trained)) == []


# ---------------------------------------------------------------------------------------------- disks


class At(BaseCallback):
    """Does something at a step."""

    def __init__(self, step, what):
        super().__init__()
        self.step, self.what = step, what

    def _on_step(self):
        if self.num_timesteps == self.step:
            self.what()
        return True


def test_a_run_goes_on_when_its_folder_is_removed(make_config, train):
    config = make_config("sac", tensorboard=True)
    straight = train(config)
    session = train(
        config, extra=[At(150, lambda: shutil.rmtree(max(straight.run.parent.iterdir(), key=os.path.getmtime)))]
    )
    assert [folder.name for folder in checkpoints(session.run)] == ["000000200", "000000300"]
    verify(newest(session.run))
    same = {"newest/model.zip", "newest/replay/000000000.npz", "newest/episodes.npz"}
    assert not same & set(differences(outcome(straight.run), outcome(session.run)))


@pytest.mark.parametrize(
    ("module", "name"), [("models", "load_model"), ("plots", "plot_learning_curve"), ("runs", "write_json")]
)
def test_a_folder_that_is_removed_at_the_very_end_is_one_message(module, name, tmp_path, monkeypatch, capsys):
    module, run = importlib.import_module(f"armature.{module}"), tmp_path / "mine"
    then = getattr(module, name)

    def remove_first(*args, **kwargs):
        if (run / "final").is_dir():
            shutil.rmtree(run)
        return then(*args, **kwargs)

    monkeypatch.setattr(module, name, remove_first)
    assert begin(tmp_path) == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    assert f"{run} was removed while the end of the run was written" in said


def test_checkpoints_share_what_does_not_change(make_config, train, monkeypatch):
    """With the one before the last: the two newest have no file in common."""
    monkeypatch.setattr("armature.replay.BLOCK_BYTES", 1000)
    session = train(make_config("sac", checkpoint_freq=50, steps=300))
    files = [{path.stat().st_ino for path in folder.glob("replay/*.npz")} for folder in checkpoints(session.run)]
    assert [len(shared) for shared in files] == sorted(map(len, files))
    assert len(files[0] & files[2]) > 3
    assert not files[1] & files[2]


# ---------------------------------------------------------------------------------------------- numbers


def build(config):
    return make_model("stable_baselines3:SAC", None, dict(config.algo_kwargs), make_vec_env(config, "train", 2), config)


def test_a_gradient_that_is_not_finite_stops_the_run(make_config):
    model = build(make_config("sac"))
    guard_gradients(model, "stop")
    for parameter in model.actor.parameters():
        parameter.grad = torch.full_like(parameter, np.nan)
    with pytest.raises(DivergedError, match=r"the gradient of actor\.optimizer is not finite"):
        model.actor.optimizer.step()


def test_or_leaves_the_update_out(make_config, caplog):
    model = build(make_config("sac"))
    guard_gradients(model, "skip")
    before = [parameter.clone() for parameter in model.critic.parameters()]
    for parameter in model.critic.parameters():
        parameter.grad = torch.full_like(parameter, np.inf)
    model.critic.optimizer.step()
    assert all(torch.equal(old, new) for old, new in zip(before, model.critic.parameters(), strict=True))
    assert "an update of critic.optimizer was left out" in caplog.text
    for parameter in model.critic.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.critic.optimizer.step()
    assert not torch.equal(before[0], next(iter(model.critic.parameters())))


# ---------------------------------------------------------------------------------------------- environments that fail


def test_what_fails_twice_ends_the_run_with_its_facts(tmp_path, capsys):
    fragile = str(TOY).replace("toy_envs.py", "fragile_envs.py")
    harm = tmp_path / "harm"
    harm.mkdir()
    (harm / "1").touch()
    (harm / "2").touch()
    keys = [*TINY, "--env_name=fragile/Arm-v0", f'--plugins=["{fragile}"]', f"--logdir={tmp_path}", "--run_name=mine"]
    kwargs = f'--env_kwargs={{"folder": "{harm}", "how": "raise", "lasts": true}}'
    assert script.main([*keys, kwargs]) == 1
    fault = read_json(tmp_path / "mine" / "fault.json")
    assert (fault["doing"], len(fault["actions"])) == ("step", 5)
    assert "a joint came off" in fault["error"]
    assert "a joint came off" in capsys.readouterr().err
    with pytest.raises(RunError):
        newest(tmp_path / "nothing")
