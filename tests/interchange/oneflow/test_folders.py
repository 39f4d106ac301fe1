from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from interchange.oneflow.folders import is_oneflow_folder, read_oneflow_folder
from interchange.pytorch.state import names_to_write
from ops import flow
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in, write_variables


def test_one_folder_per_variable(tmp_path: Path, y1) -> None:
    graph, arrays = y1
    write_variables(tmp_path / "old", graph, arrays)
    (tmp_path / "old" / "fc7-weight").mkdir()
    rows = np.random.default_rng(0).normal(size=(11, 128)).astype(np.float32)
    (tmp_path / "old" / "fc7-weight" / "out").write_bytes(rows.tobytes())
    assert is_oneflow_folder(tmp_path / "old")
    foreign = read_oneflow_folder(tmp_path / "old", NETWORKS)
    found, adaptation = bring_in(foreign)
    assert found.name == "y1" and not adaptation.notes
    for name, array in arrays.items():
        np.testing.assert_array_equal(adaptation.arrays[name], array, err_msg=name)
    np.testing.assert_array_equal(foreign.head["fc7_weight"], rows)
    file = tmp_path / "old" / "conv_1_conv2d-weight" / "out"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match="variables do not belong to any network known here"):
        read_oneflow_folder(tmp_path / "old", NETWORKS)


@pytest.fixture
def saved(tmp_path: Path, y1) -> Path:
    """What ``flow.save`` writes of a network with PyTorch's names, as arcface_oneflow has it."""
    graph, arrays = y1
    names = names_to_write(graph)
    state = {f"backbone.{names[name]}": flow.tensor(array) for name, array in arrays.items()}
    state["fc7.weight"] = flow.ones(3, 128)
    flow.save(state, str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_a_directory_of_flow_save(saved: Path, y1) -> None:
    graph, arrays = y1
    assert is_oneflow_folder(saved)
    foreign = read_oneflow_folder(saved, NETWORKS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(foreign.arrays[name], array, err_msg=name)
    assert foreign.head["fc7_weight"].shape == (3, 128)
    assert bring_in(foreign)[0].name == "y1"


def lose_tensor(saved: Path) -> None:
    shutil.rmtree(next(saved.glob("tensor_*")))


def cut_tensor(saved: Path) -> None:
    file = next(saved.glob("tensor_*")) / "out"
    file.write_bytes(file.read_bytes()[:-1])


def lie_about_shape(saved: Path) -> None:
    (next(saved.glob("tensor_*")) / "meta").write_text("shape { dim: 99999999999 } data_type: kFloat")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


DAMAGES = {
    "a lost tensor": (lose_tensor, "cannot be read"),
    "a cut tensor": (cut_tensor, "bytes, expected"),
    "a huge shape": (lie_about_shape, "bytes, expected"),
    "code": (lambda p: (p / "pickled_data").write_bytes(pickle.dumps(Evil())), "refused to load 'builtins.print'"),
    "no index": (lambda p: (p / "pickled_data").write_bytes(b"\x80"), "is not an index of flow.save"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_line(saved: Path, capsys, name: str) -> None:
    damage, message = DAMAGES[name]
    damage(saved)
    with pytest.raises(UserError, match=message) as caught:
        read_oneflow_folder(saved, NETWORKS)
    assert "\n" not in str(caught.value) and "executed" not in capsys.readouterr().out
