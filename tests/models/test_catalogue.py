"""The zoo's counts: every published configuration against the numbers of its paper or of its released code."""

import pytest
import torch

from models.catalogue import count_network, published_counts
from models.energy import SpikeMeter
from models.published import PUBLISHED
from models.registry import NETWORKS, create_network, read_configuration

# Parameters that are used: what the released code builds and never calls is taken off (named beside the number).
PARAMETERS: dict[str, dict[str, int]] = {
    "spikformer": {
        "DVS 2-256, 2 classes": 2_564_610,
        "DVS 2-256, 10 classes": 2_566_666,
        "DVS 2-256, 11 classes": 2_566_923,
        "DVS 2-256, 24 classes": 2_570_264,
        "DVS 2-256, 101 classes": 2_590_053,
        # position embeddings and layer norms that never run
        "CIFAR10 4-256": 4_159_274 - 4_096,
        "CIFAR100 4-256": 4_182_404 - 4_096,
        "CIFAR10 2-384": 5_768_122 - 3_072,
        "CIFAR100 2-384": 5_802_772 - 3_072,
        "CIFAR10 4-384": 9_330_874 - 6_144,
        "CIFAR100 4-384": 9_365_524 - 6_144,
        "ImageNet 8-384": 16_828_312 - 12_288,
        "ImageNet 6-512": 23_385_640 - 12_288,
        "ImageNet 8-512": 29_705_768 - 16_384,
        "ImageNet 10-512": 36_025_896 - 20_480,
        "ImageNet 8-768": 66_363_208 - 24_576,
    },
    "tim": {
        # layer norms that never run
        "DVS 2-256, 2 classes": 2_568_738 - 2_048,
        "DVS 2-256, 10 classes": 2_570_794 - 2_048,
        "DVS 2-256, 11 classes": 2_571_051 - 2_048,
        "DVS 2-256, 24 classes": 2_574_392 - 2_048,
        "DVS 2-256, 51 classes": 2_581_331 - 2_048,
        "DVS 2-256, 101 classes": 2_594_181 - 2_048,
    },
    "qkformer": {
        "DVS 2-256, MLP ratio 1, 10 classes": 1_504_138,
        "DVS 2-256, MLP ratio 1, 11 classes": 1_504_395,
        "DVS 2-256, MLP ratio 1, 101 classes": 1_527_525,
        "DVS 2-256, MLP ratio 4, 10 classes": 1_999_114,
        "DVS 2-256, MLP ratio 4, 11 classes": 1_999_371,
        "DVS 2-256, MLP ratio 4, 101 classes": 2_022_501,
        "CIFAR10 4-384": 6_706_234,
        "CIFAR100 4-384": 6_740_884,
        "ImageNet 10-384": 16_473_688,
        "ImageNet 10-512": 29_079_336,
        "ImageNet 10-768": 64_962_760,
    },
    "spikingresformer": {
        "DVS gesture, 10 classes": 2_709_638,
        "DVS gesture, 11 classes": 2_709_830,
        "DVS gesture, 101 classes": 2_727_110,
        "DVS Ti*, 11 classes": 10_793_536,
        "DVS Ti*, 101 classes": 10_828_096,
        "transfer S, 10 classes": 17_306_944,
        "transfer S, 11 classes": 17_307_456,
        "transfer S, 100 classes": 17_353_024,
        "CIFAR10 Ti*": 10_793_152,
        "CIFAR100 Ti*": 10_827_712,
        "ImageNet Ti": 11_180_992,
        "ImageNet S": 17_813_824,
        "ImageNet M": 35_601_472,
        "ImageNet L": 60_375_680,
    },
    "sdt": {
        # a convolution across 8 heads that is never called: 64 in each block
        "DVS 2-256, 10 classes": 2_566_794 - 128,
        "DVS 2-256, 11 classes": 2_567_051 - 128,
        "DVS 2-256, 101 classes": 2_590_181 - 128,
        "CIFAR10-DVS 2-256": 2_566_794 - 128,
        "CIFAR10 2-512": 10_233_546 - 128,
        "CIFAR100 2-512": 10_279_716 - 128,
        "ImageNet 8-384": 16_816_536 - 512,
        "ImageNet 6-512": 23_373_736 - 384,
        "ImageNet 8-512": 29_689_896 - 512,
        "ImageNet 10-512": 36_006_056 - 640,
        "ImageNet 8-768": 66_339_144 - 512,
    },
    "autost": {"CIFAR10 4-384 by hand": 9_324_761},
    "autospikformer": {
        "CIFAR10 Spikformer": 9_324_730,
        "CIFAR10 small_1": 3_878_578,
        "CIFAR10 more_layer_1": 10_512_442,
        "CIFAR100 small_1": 3_668_428,
        "CIFAR100 small_2": 5_355_604,
    },
    "bestformer": {
        "DVS 2-256, 10 classes": 2_566_292,
        "DVS 2-256, 11 classes": 2_566_806,
        "CIFAR10 4-384": 9_314_884,
        "CIFAR100 4-384": 9_384_184,
        "ImageNet 8-512": 30_178_064,
    },
    "spikformer_v2": {
        # blocks and head as counted for Spikformer, with a stem of 98.25 dim^2; published as 29.11, 51.55 and 172 M
        "ImageNet 8-384": 29_111_272,
        "ImageNet 8-512": 51_545_064,
        "ImageNet 16-768": 172_278_760,
    },
    "semm": {
        # the count includes a frozen constant in each neuron: 15 in a block, 5 in the stem
        "CIFAR10 4-384": 7_739_307 - 65,
        "CIFAR100 4-384": 7_773_957 - 65,
        "ImageNet 8-384, experts of 96": 16_049_781 - 125,
        "ImageNet 8-512, experts of 96": 27_550_213 - 125,
        "ImageNet 8-512, experts of 128": 28_208_133 - 125,
    },
    "saformer": {},
}

# Millions of multiply-accumulates of a bin: first convolution, other layers, products of attention.
MACS: dict[tuple[str, str], tuple[float, float, float]] = {
    ("spikformer", "DVS 2-256, 11 classes"): (9.44, 364.91, 4.19),
    # the sheet has TIM's convolution apart: 91.23 + 0.66, here one sum
    ("tim", "DVS 2-256, 11 classes"): (2.36, 91.88, 0.26),
    ("qkformer", "DVS 2-256, MLP ratio 4, 11 classes"): (4.72, 552.60, 0.52),
    ("qkformer", "DVS 2-256, MLP ratio 1, 11 classes"): (4.72, 502.27, 0.52),
    ("sdt", "DVS 2-256, 11 classes"): (9.44, 1459.62, 0.0),
    ("sdt", "CIFAR10-DVS 2-256"): (2.36, 1233.13, 0.0),
    ("spikingresformer", "DVS gesture, 11 classes"): (3.54, 1183.32, 243.27),
    ("spikingresformer", "DVS Ti*, 11 classes"): (7.08, 4733.28, 486.54),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_used_parameters_of_every_published_configuration_equal_its_count(name: str) -> None:
    counted = {}
    for p in PUBLISHED:
        if p.network == name:
            with torch.device("meta"):
                network = create_network(name, **p.settings)
            counted[p.title] = sum(parameter.numel() for parameter in network.parameters())
    assert counted == PARAMETERS[name]


@pytest.mark.parametrize(("name", "title"), MACS)
def test_operations_of_a_bin_equal_the_measured_ones(name: str, title: str) -> None:
    settings = next(p.settings for p in PUBLISHED if (p.network, p.title) == (name, title))
    count = count_network(title, name, **settings)
    assert tuple(round(n / 1e6, 2) for n in (count.first_macs, count.layer_macs, count.product_macs)) == MACS[name, title]


def test_published_configurations_of_a_network_are_counted_in_their_order() -> None:
    counts = published_counts("bestformer")
    assert {count.title: count.params for count in counts} == PARAMETERS["bestformer"]
    assert [count.title for count in counts] == [p.title for p in PUBLISHED if p.network == "bestformer"]


def test_every_published_configuration_belongs_to_a_network_and_has_a_title_of_its_own() -> None:
    assert {p.network for p in PUBLISHED} <= set(NETWORKS)
    assert len({(p.network, p.title) for p in PUBLISHED}) == len(PUBLISHED)
    for p in PUBLISHED:
        read_configuration(NETWORKS[p.network].configuration, p.network, p.settings)


@pytest.mark.parametrize("name", ["tim", "qkformer", "spikingresformer", "autost", "bestformer"])
def test_counts_from_shapes_equal_those_of_a_network_that_runs(name: str) -> None:
    small = {"n_classes": 5, "size": (32, 32)}
    count = count_network("small", name, **small)
    network = create_network(name, **small).eval()
    meter = SpikeMeter(network)
    with torch.inference_mode():
        _, state = network.step(torch.ones(1, 2, 32, 32))
        meter.read()
        network.step(torch.ones(1, 2, 32, 32), state)
    assert count.macs_per_bin == meter.read().macs
    assert count.params == sum(p.numel() for p in network.parameters())
    meter.close()
