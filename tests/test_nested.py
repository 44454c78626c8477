"""What is done to an array is done to every entry of a dict."""

import numpy as np
import pytest

from armature.nested import at, each, named

ARRAY = np.arange(6).reshape(3, 2)


def test_a_function_meets_an_array_or_the_entries_of_each_key():
    assert each(len, ARRAY) == 3
    assert each(len, {"a": ARRAY, "b": {"c": ARRAY[:1]}}) == {"a": 3, "b": {"c": 1}}
    joined = each(lambda *parts: sum(parts), {"a": 1, "b": 2}, {"b": 20, "a": 10}, {"a": 100, "b": 200})
    assert joined == {"a": 111, "b": 222}
    assert each(lambda *parts: sum(parts), 1, 2, 3) == 6


def test_dicts_of_other_keys_do_not_go_together():
    with pytest.raises(KeyError, match="b"):
        each(lambda *parts: parts, {"a": 1, "b": 2}, {"a": 1})


def test_rows_are_taken_of_arrays_and_of_dicts():
    assert at(ARRAY, 1).tolist() == [2, 3]
    assert at({"a": ARRAY}, slice(1, 3))["a"].tolist() == [[2, 3], [4, 5]]
    assert at({"a": ARRAY[0]}, None)["a"].shape == (1, 2)


def test_entries_of_a_dict_have_names_of_their_own():
    assert named("obs", 1) == {"obs": 1}
    assert named("obs", {"a": 1, "b": 2}) == {"obs.a": 1, "obs.b": 2}
