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
