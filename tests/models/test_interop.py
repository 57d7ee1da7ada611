"""Released files as networks: names, what shapes tell, what is asked, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import released_forward as released
import torch
from torch import Tensor

from models.interop import import_released, load_released
from models.registry import NETWORKS, create_network
from models.released import RELEASED
from pipeline.schema.errors import ConfigurationError

# What no shape of a file under our own names tells of these small networks.
OWN: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "spikformer": ({"dim": 32, "n_heads": 4}, ("n_heads",)),
    "tim": ({"dim": 32, "n_heads": 4, "mixing": 0.6}, ("n_heads", "mixing")),
    "qkformer": ({"dim": 32, "n_heads": 4, "depth": (1, 2)}, ("n_heads",)),
    "spikingresformer": (
        {"dim": (16, 32, 64), "depth": (1, 1, 1), "n_heads": (1, 2, 4), "group_size": 16, "neuron": "lif"},
        ("sum_channel",),
    ),
    "sdt": ({"dim": 32, "n_heads": 4, "pools": "0011"}, ("n_heads", "pools", "attention_pool")),
    "autost": ({"dim": 32, "n_heads": (4, 2), "mlp_ratio": (3, 3.5)}, ("n_heads",)),
    "autospikformer": (
        {"dim": 32, "n_heads": 4, "pools": "0011", "tau": (2.0, 1.5), "threshold_scope": "fc1", "stem_dim": 64},
        ("dim", "depth", "n_heads", "mlp_ratio", "v_threshold", "tau"),
    ),
    "bestformer": ({"dim": 32, "n_heads": 4, "n_time_bins": 3, "pools": "0011"}, ("pools", "map_order")),
    "spikformer_v2": ({"dim": 32, "n_heads": 4, "stem_ratio": 2, "style": "pre"}, ("n_heads",)),
    "saformer": ({"dim": 32, "n_heads": 4}, ("pools",)),
    "semm": ({"dim": 32, "n_heads": 3, "expert_dim": 8, "value_dim": 16}, ("pools",)),
}


def _saved(path: Path, arrays: dict[str, Tensor]) -> Path:
    torch.save(arrays, path)
    return path


def _layout(shared_models: Path, name: str) -> dict[str, Tensor]:
    return released.released_weights(shared_models / "weights_layout" / f"{name}.json", seed=1)


def _renamed(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def test_files_of_every_network_are_known() -> None:
    assert set(RELEASED) == set(NETWORKS) == set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_a_file_under_our_own_names_gives_the_network_back(name: str, tmp_path: Path) -> None:
    settings, untold = OWN[name]
    network = create_network(name, n_classes=5, size=(32, 32), **settings)
    path = _saved(tmp_path / "ours.pth", network.state_dict())
    said = {key: getattr(network.configuration, key) for key in untold}
    if name == "tim":
        said["thresholds"] = "written"
    loaded = load_released(name, path, size=(32, 32), **said)
    assert loaded.configuration == network.configuration
    own, back = network.state_dict(), loaded.state_dict()
    assert own.keys() == back.keys()
    assert all(torch.equal(own[key], back[key]) for key in own)
    assert not loaded.training


@pytest.mark.parametrize("name", OWN)
def test_what_is_asked_is_asked_by_name(name: str, tmp_path: Path) -> None:
    settings, untold = OWN[name]
    path = _saved(tmp_path / "ours.pth", create_network(name, n_classes=5, size=(32, 32), **settings).state_dict())
    with pytest.raises(ConfigurationError, match="no shape tells") as told:
        load_released(name, path)
    asked = {key: value for key, value in RELEASED[name].asked.items() if f"--set {value.example}" in str(told.value)}
    expected = {"file"} if name == "bestformer" else {*untold, *({"thresholds"} if name == "tim" else ())}
    assert set(asked) == expected
    assert all(value.meaning in str(told.value) for value in asked.values())


def test_misfits_of_all_kinds_are_listed_in_one_message(shared_models: Path, tmp_path: Path) -> None:
    weights = _layout(shared_models, "spikformer_dvs128")
    weights["extra.weight"] = torch.zeros(2)
    del weights["block.1.mlp.fc2_bn.running_var"]
    weights["block.0.attn.q_conv.weight"] = torch.zeros(64, 32, 1)
    weights["head.bias"] = torch.full((11,), torch.nan)
    weights["block.1.attn.k_bn.weight"] = torch.ones(64, dtype=torch.int64)
    with pytest.raises(ConfigurationError) as told:
        load_released("spikformer", _saved(tmp_path / "odd.pth", weights), n_heads=4)
    assert str(told.value).splitlines()[1:] == [
        "  missing (by our names): blocks.1.mlp.fc2.bn.running_var",
        "  unknown: extra.weight",
        "  of another shape: block.0.attn.q_conv.weight (64, 32, 1) instead of (64, 64, 1)",
        "  not of finite real numbers: block.1.attn.k_bn.weight, head.bias",
    ]


def test_file_of_another_network_is_said_to_be_none_of_this(shared_models: Path, tmp_path: Path) -> None:
    path = _saved(tmp_path / "best.pth", _layout(shared_models, "spikingresformer_dvsg64"))
    with pytest.raises(ConfigurationError, match=r"holds no qkformer: head\.weight is missing.*prologue\.0\.weight"):
        load_released("qkformer", path, n_heads=4)
    with pytest.raises(ConfigurationError, match="no network called 'resnet'"):
        load_released("resnet", path)


def test_what_the_released_code_never_looks_at_is_left_out_and_said(shared_models: Path, tmp_path: Path) -> None:
    weights = _layout(shared_models, "tim_spikformer_dvs64")
    dead = {
        "block.0.norm1.weight": torch.ones(64),
        "block.0.attn.q_lif.threshold": torch.tensor(1.0),
        "block.0.attn.q_lif.act_fun.alpha": torch.tensor(4.0),
        "patch_embed.proj_bn.num_batches_tracked": torch.tensor(7),
    }
    path = _saved(tmp_path / "tim.pth", {**weights, **dead})
    imported = import_released("tim", path, {"n_heads": 4, "mixing": 0.5, "thresholds": "released"})
    assert set(imported.unused) == set(dead)
    assert imported.network.configuration.tim_out_threshold == 1.0


def test_sizes_of_arrays_that_never_run_still_tell(shared_models: Path, tmp_path: Path) -> None:
    spikformer = {**_layout(shared_models, "spikformer_dvs128"), "pos_embed": torch.zeros(1, 16, 64)}
    imported = import_released("spikformer", _saved(tmp_path / "a.pth", spikformer), {"n_heads": 4})
    assert imported.read["size"] == (64, 64)  # 16 tokens, four pools
    sdt = {**_layout(shared_models, "sdt_gesture128"), "block.0.attn.talking_heads.weight": torch.zeros(4, 4, 1)}
    imported = import_released("sdt", _saved(tmp_path / "b.pth", sdt), {"pools": "0111", "attention_pool": False})
    assert imported.read["n_heads"] == 4


def test_settings_that_are_typed_beat_what_was_read_and_unknown_ones_are_refused(shared_models: Path, tmp_path: Path) -> None:
    path = _saved(tmp_path / "best.pth", _layout(shared_models, "spikformer_dvs128"))
    imported = import_released("spikformer", path, {"n_heads": 4, "scale": 0.5, "lif.tau": 1.5})
    configuration: Any = imported.network.configuration
    assert (configuration.scale, configuration.lif.tau, configuration.lif.v_threshold) == (0.5, 1.5, 1.0)
    assert "scale" not in imported.read
    with pytest.raises(ConfigurationError, match="spikformer has no setting colour"):
        load_released("spikformer", path, n_heads=4, colour="red")
    with pytest.raises(ConfigurationError, match=r"of another shape: .*head\.weight"):
        load_released("spikformer", path, n_heads=4, dim=32)
    tim = _saved(tmp_path / "tim.pth", _layout(shared_models, "tim_spikformer_dvs64"))
    with pytest.raises(ConfigurationError, match="thresholds 'mine' is not one of: released, written"):
        load_released("tim", tim, n_heads=4, mixing=0.5, thresholds="mine")


def test_a_layer_far_behind_the_others_is_unknown_and_costs_no_memory(shared_models: Path, tmp_path: Path) -> None:
    weights = _layout(shared_models, "spikformer_dvs128")
    weights["block.4000.attn.q_conv.weight"] = torch.zeros(64, 64, 1)
    with pytest.raises(ConfigurationError, match=r"unknown: block\.4000\.attn\.q_conv\.weight"):
        load_released("spikformer", _saved(tmp_path / "deep.pth", weights), n_heads=4)


def test_frames_said_to_have_as_many_channels_as_the_network_sees_bring_their_sum(shared_models: Path, tmp_path: Path) -> None:
    path = _saved(tmp_path / "best.pth", _layout(shared_models, "spikingresformer_dvsg64"))
    assert load_released("spikingresformer", path, in_channels=3).configuration.sum_channel is False
    assert load_released("spikingresformer", path).configuration.sum_channel is True


def test_two_names_of_one_array_are_refused(shared_models: Path, tmp_path: Path) -> None:
    weights = _layout(shared_models, "spikformer_dvs128")
    weights["blocks.0.attn.q.lin.weight"] = weights["block.0.attn.q_conv.weight"]
    with pytest.raises(ConfigurationError, match="the same array under two names"):
        load_released("spikformer", _saved(tmp_path / "twice.pth", weights), n_heads=4)


def test_subnet_larger_than_its_supernet_is_refused(shared_models: Path, tmp_path: Path) -> None:
    path = _saved(tmp_path / "super.pth", _layout(shared_models, "autospik_whole_eval"))
    said: dict[str, Any] = {"n_heads": 8, "mlp_ratio": 4, "v_threshold": 1.0, "tau": 2.0}
    with pytest.raises(ConfigurationError, match=r"stem\.3\.conv\.weight \(96, 48, 3, 3\) instead of \(128, 48, 3, 3\)"):
        load_released("autospikformer", path, dim=128, depth=1, **said)
    with pytest.raises(ConfigurationError, match=r"missing \(by our names\): blocks\.3"):
        load_released("autospikformer", path, dim=64, depth=4, **said)
    imported = import_released("autospikformer", path, {"dim": 64, "depth": 1, **said})
    assert len(imported.unused) == 72  # all 36 arrays of each of two layers that this subnet does not have


def test_precision_is_that_of_the_file(shared_models: Path, tmp_path: Path) -> None:
    weights = _layout(shared_models, "sdt_gesture128")
    said: dict[str, Any] = {"n_heads": 4, "pools": "0111", "attention_pool": False}
    for dtype, kept in ((torch.float64, torch.float64), (torch.float32, torch.float32), (torch.float16, torch.float32)):
        path = _saved(tmp_path / "one.pth", {key: value.to(dtype) for key, value in weights.items()})
        network = load_released("sdt", path, **said)
        assert {value.dtype for key, value in network.state_dict().items() if "num_batches" not in key} == {kept}


# The released codes' own words for what the fact sheet names otherwise: pattern, replacement.
AUTOST_CODE = [
    (r"stem\.0\.(conv|bn)", r"patch_embed.proj_\1"),
    (r"stem\.0\.neuron", r"patch_embed.proj_lif"),
    (r"stem\.(\d)\.(conv|bn)", r"patch_embed.proj_\2\1"),
    (r"stem\.(\d)\.neuron", r"patch_embed.proj_lif\1"),
    (r"stem\.rpe\.(conv|bn)", r"patch_embed.rpe_\1"),
    (r"attn\.in\.neuron", "attn.lif"),
    (r"attn\.out\.neuron", "attn.attn_lif"),
    (r"\.(q|k|v|fc1|fc2)\.neuron", r".\1_lif"),
    (r"\.(q|k|v|proj|fc1|fc2)\.fc\.", r".\1_linear."),
    (r"\.(q|k|v|proj|fc1|fc2)\.bn\.", r".\1_bn."),
]
SUPERNET_CODE = [*AUTOST_CODE[:1], *AUTOST_CODE[2:3], *AUTOST_CODE[4:5], AUTOST_CODE[8], (AUTOST_CODE[9][0], r".\1_bn.bn.")]
BEST_CODE = [
    (r"stem\.0\.(conv|bn)", r"patch_embed.proj_\1"),
    (r"stem\.(\d)\.(conv|bn)", r"patch_embed.proj\1_\2"),
    (r"attn\.(q|k|v|proj)\.(conv|bn)", r"attn.\1_\2"),
    (r"attn\.lam", "attn.lambda_attn"),
    (r"mlp\.fc([12])\.(conv|bn)", r"mlp.mlp\1_\2"),
    ("head_a", "head"),
    ("head_b", "head2"),
]
NORMS = [(r"(bn\d?)\.gamma", r"\1.weight"), (r"(bn\d?)\.beta", r"\1.bias"), (r"(bn\d?)\.(mean|var)", r"\1.running_\2")]


@pytest.mark.parametrize(
    ("name", "layout", "code", "said"),
    [
        ("autost", "autost_whole", AUTOST_CODE, {"n_heads": (4, 8, 4)}),
        (
            "autospikformer",
            "autospik_whole_eval",
            SUPERNET_CODE,
            {"dim": 64, "depth": 2, "n_heads": 8, "mlp_ratio": 3, "v_threshold": 1.0, "tau": 2.0},
        ),
        ("bestformer", "best_cifar_whole", BEST_CODE, {"file": "cifar"}),
    ],
)
def test_words_of_the_released_code_name_the_same_arrays(
    name: str, layout: str, code: list[tuple[str, str]], said: dict[str, Any], shared_models: Path, tmp_path: Path
) -> None:
    weights = _layout(shared_models, layout)
    renamed = {_renamed(key, [*code, *NORMS]): value for key, value in weights.items()}
    ours = load_released(name, _saved(tmp_path / "sheet.pth", weights), **said).state_dict()
    theirs = load_released(name, _saved(tmp_path / "code.pth", renamed), **said).state_dict()
    assert set(renamed).isdisjoint(key for key in weights if not key.startswith("head"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


# Our names of an image network and the released ones: stems of three stages or of two, three stages of blocks.
QK_IMAGE = [
    (r"^stem\.stages\.0\.(conv|bn)", r"patch_embed1.proj_\1"),
    (r"^stem\.stages\.(\d)\.(conv|bn)", r"patch_embed1.proj\1_\2"),
    (r"^stem\.short\.(conv|bn)", r"patch_embed1.proj_res_\1"),
    (r"^down\.", "patch_embed2."),
    (r"^down2\.", "patch_embed3."),
    (r"stages\.0\.(conv|bn)", r"proj3_\1"),
    (r"stages\.1\.(conv|bn)", r"proj4_\1"),
    (r"short\.(conv|bn)", r"proj_res_\1"),
    (r"stage([12])\.(\d)\.attn", r"stage\1.\2.tssa"),
    (r"\.lin\.", "_conv."),
    (r"(q|k|v|proj|fc1|fc2)\.bn", r"\1_bn"),
]


@pytest.mark.parametrize("stem", ["image", "cifar"])
def test_image_networks_of_qkformer_are_told_by_their_stem(stem: str, tmp_path: Path) -> None:
    said: dict[str, Any] = {"n_heads": 2, "size": (32, 32)}
    network = create_network("qkformer", dim=32, depth=(1, 2, 1), stem=stem, in_channels=3, mlp_ratio=4, n_classes=5, **said)
    arrays = {_renamed(key, QK_IMAGE): value for key, value in network.state_dict().items()}
    loaded = load_released("qkformer", _saved(tmp_path / "image.pth", arrays), **said)
    assert loaded.configuration == network.configuration
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in network.state_dict().items())
