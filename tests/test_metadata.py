"""The version stands in setup.cfg; whatever else names one agrees with it."""

import configparser
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def version() -> str:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["metadata"]["version"]


def test_the_changelog_begins_with_this_version_and_its_dates_fall() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert sections[0].split()[0] == version()
    dates = re.findall(r"^### (.+)$", sections[0], re.MULTILINE)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)
    assert dates
    assert dates == sorted(set(dates), reverse=True)


def test_images_are_tagged_with_this_version() -> None:
    for name in ("compose.yaml", "docs/containers.md"):
        tags = re.findall(r"dscsnet:(\d[0-9.]*)", (ROOT / name).read_text())
        assert set(tags) == {version()}, name


def test_the_citation_names_no_version_of_its_own() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= set(citation)
    assert "version" not in citation


def test_the_gpu_image_has_the_cuda_that_its_tensorrt_is_made_for() -> None:
    """`tensorrt` is for CUDA 13 from version 11 on; each extra says for which it is."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    pairs = [re.findall(r"^ARG (?:CUDA|EXTRA)=(\S+)$", dockerfile, re.MULTILINE)]
    pairs += re.findall(r"--build-arg CUDA=(\S+) --build-arg EXTRA=([\w-]+)", dockerfile)
    assert len(pairs) == 2
    for cuda, extra in pairs:
        (needed,) = (line for line in extras[extra].split() if line.startswith("tensorrt"))
        assert needed.startswith("tensorrt>=11" if cuda.startswith("13.") else "tensorrt-cu12>=")
    bases = re.findall(r"^FROM nvidia/cuda:(\S+?)-", dockerfile, re.MULTILINE)
    assert bases == ["${CUDA}", "${CUDA}"]


def test_both_nodes_of_compose_have_as_few_rights() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    node, on_gpu = services["node"], services["node-gpu"]
    own = {"build", "image", "profiles", "mem_limit", "deploy"}
    assert {k: v for k, v in node.items() if k not in own} == {
        k: v for k, v in on_gpu.items() if k not in own
    }
    assert node["read_only"]
    assert node["cap_drop"] == ["ALL"]
