"""Properties of the readers over random inputs; a little in every run, much in `make slow`."""

import random
from typing import Any

import msgpack
import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from dscsnet.engines.files.strict_yaml import YamlError, decode_yaml
from dscsnet.pipeline.config import NodeConfig, load_config
from dscsnet.pipeline.errors import ConfigError, MessageError
from dscsnet.pipeline.messages.bounds import Limits, check_bounds
from tests.fuzz.contract import check_line, scratch_file
from tests.fuzz.mutators import flip_bytes
from tests.fuzz.targets import TARGETS, Target

EXAMPLES, MANY_EXAMPLES = 40, 3000
RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
WITHOUT_TORCH = [
    target
    for target in TARGETS.values()
    if target.module not in ("datasets", "records") and "tools" not in target.watched[0]
]

often = pytest.mark.parametrize(
    "examples",
    [
        pytest.param(EXAMPLES, id="few"),
        pytest.param(MANY_EXAMPLES, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
text = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
trees: SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)
)


def run(test: Any, examples: int) -> None:
    """Run a hypothesis test with so many examples, the same in every run."""
    settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=RELAXED,
    )(test)()


@often
@pytest.mark.parametrize("target", WITHOUT_TORCH, ids=lambda target: target.name)
def test_mutated_seeds_are_borne(target: Target, examples: int) -> None:
    function, seeds = target.load(), [path.read_bytes() for path in target.corpus()]

    @given(st.sampled_from(seeds), st.integers(0, 2**32))
    def borne(data: bytes, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(chance.choice([1, 1, 3])):
            data = target.mutate(data, chance, lambda part: flip_bytes(part, chance))
        function(data[: target.largest])

    run(borne, examples)


@often
def test_yaml_is_read_as_its_own_parser_reads_it(examples: int) -> None:
    @given(trees)
    def the_same(tree: Any) -> None:
        written = yaml.safe_dump(tree, allow_unicode=True).encode()
        try:
            found = decode_yaml(written)
        except YamlError as error:
            refused_on_purpose = ("finite", "nested", "type", "control")
            if not any(word in str(error) for word in refused_on_purpose):
                raise
            return
        assert repr(found) == repr(yaml.safe_load(written))

    run(the_same, examples)


@often
def test_any_text_as_a_configuration(examples: int) -> None:
    @given(st.binary(max_size=200) | text.map(str.encode))
    def a_configuration_or_one_line(data: bytes) -> None:
        try:
            assert isinstance(load_config(scratch_file("any.yaml", data)), NodeConfig)
        except ConfigError as error:
            check_line(str(error))

    run(a_configuration_or_one_line, examples)


@often
def test_bounds_let_pass_what_msgpack_packs_and_nothing_that_it_cannot_unpack(
    examples: int,
) -> None:
    limits = Limits(max_nesting=64)

    @given(st.dictionaries(text, trees, max_size=4), st.integers(0, 2**32))
    def agree(tree: Any, seed: int) -> None:
        try:
            packed = msgpack.packb(tree)
        except OverflowError:  # an integer of more than 64 bits
            return
        check_bounds(packed, limits, limits.max_candidates)
        assert msgspec.msgpack.decode(packed) == tree
        flipped = flip_bytes(packed, random.Random(seed))
        try:
            check_bounds(flipped, limits, limits.max_candidates)
        except MessageError:
            return
        # What passes is whole: a decoder may dislike its texts or keys, never its length.
        try:
            msgpack.unpackb(flipped, strict_map_key=False)
        except msgpack.exceptions.ExtraData as error:
            pytest.fail(f"not whole: {error}")
        except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
            if "incomplete" in str(error):
                raise

    run(agree, examples)
