"""What is refused of a schema or an expression by its form: with the field's name, and fast whatever it holds."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loquor.internal.structure_limits import StructureError, check_json_schema, check_regex

ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{1,30}$"},
        "pattern": {"type": "string"},
        "enum": {"enum": ["a", "b", None, 3]},
        "price": {"type": "number", "multipleOf": 0.01},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 1_000_000}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def nested(levels: int) -> str:
    return '{"items":' * (levels - 1) + "{}" + "}" * (levels - 1)


def refused(field: str, text: str) -> str:
    started = time.process_time()
    with pytest.raises(StructureError) as caught:
        check_regex(text) if field == "regex" else check_json_schema(text)
    assert time.process_time() - started < 0.05
    assert caught.value.field == field
    assert str(caught.value) == f"{field}: {caught.value.reason}"
    assert len(str(caught.value)) < 400
    return caught.value.reason


@pytest.mark.parametrize(
    "schema",
    [ORDER, {}, True, {"const": {"x-guidance": 1, "pattern": 5}}, {"enum": list(range(1024))}],
    ids=lambda schema: str(schema)[:20],
)
def test_a_plain_schema_passes(schema: Any) -> None:
    check_json_schema(json.dumps(schema))


def test_32_levels_pass_and_not_one_more() -> None:
    check_json_schema(nested(32))
    assert refused("json_schema", nested(33)) == "more than 32 levels deep"
    check_regex("(" * 31 + "a" + ")" * 31)
    assert refused("regex", "(" * 32 + "a" + ")" * 32) == "more than 32 levels deep"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (nested(200), "more than 32 levels deep"),
        ("[" * 60_000, "more than 32 levels deep"),
        ('{"a":' * 10_000, "more than 32 levels deep"),
        ('{"default":' + "[" * 40 + "]" * 40 + "}", "more than 32 levels deep"),
        ('"' + "a" * 65_536 + '"', "65538 bytes, at most 65536 are taken"),
        ("{", "it is not JSON"),
        ("", "it is not JSON"),
        ('{"const":NaN}', "it is not JSON: NaN is not a value"),
        ('{"const":1e999}', "it is not JSON: a number out of range is not a value"),
        ('{"const":' + "1" * 5000 + "}", "it is not JSON"),
        ("[]", "a schema is an object, true or false"),
        ("null", "a schema is an object, true or false"),
        ('{"x-guidance":{"lenient":true}}', "the keyword x-guidance is not taken"),
        (json.dumps({"enum": [0] * 20_000}), "more than 1024 enum values"),
        (json.dumps({"properties": {f"p{n}": {} for n in range(513)}}), "more than 512 properties"),
        (json.dumps({"pattern": "((a{30}){30}){30}"}), "more than 10000 repetitions in patterns"),
        (json.dumps({"properties": {"pattern": {"pattern": "a{10001}"}}}), "more than 10000 repetitions in patterns"),
        (
            json.dumps({"default": {"pattern": "a{10001}"}}),
            "more than 10000 repetitions in patterns",
        ),
        (json.dumps({"patternProperties": {"a{10001}": {}}}), "more than 10000 repetitions in patterns"),
        (json.dumps({"items": {"multipleOf": 999_983}}), "more than 10000 as the sum of what multipleOf says"),
        (json.dumps({"multipleOf": 1e300}), "more than 10000 as the sum of what multipleOf says"),
        (json.dumps({"pattern": "a" * 4097}), "4097 bytes, at most 4096 are taken"),
    ],
)
def test_a_schema_that_would_cost_too_much_is_refused(text: str, reason: str) -> None:
    assert refused("json_schema", text).startswith(reason)


@pytest.mark.parametrize(
    "regex",
    [
        r"\d{4}-\d{2}-\d{2}",
        "(a?){50}a{50}",
        "((a|b)*c){1000}",
        r"[(){}[\]]{3}",
        r"\(\{10001}",
        r"\p{Lu}\x{1F600}",
        "a{,5}",
    ],
)
def test_a_plain_expression_passes(regex: str) -> None:
    check_regex(regex)


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        ("", "it is empty"),
        ("é" * 2049, "4098 bytes, at most 4096 are taken"),
        ("(" * 4000, "more than 32 levels deep"),
        ("a{10001}", "more than 10000 repetitions"),
        ("a{1,10001}", "more than 10000 repetitions"),
        ("a{10001,}", "more than 10000 repetitions"),
        ("(a{1000}){1000}", "more than 10000 repetitions"),
        ("(((a{30}){30}){30}){30}", "more than 10000 repetitions"),
        ("(?:x[ab]{200}|y){60}", "more than 10000 repetitions"),
        ("a{" + "9" * 4000 + "}", "more than 10000 repetitions"),
        ("a{100}{200}", "more than 10000 repetitions"),
    ],
)
def test_an_expression_that_explodes_is_refused(regex: str, reason: str) -> None:
    assert refused("regex", regex) == reason


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200) | st.text(alphabet=r"([{)]}\,09a*|?^-:{}", max_size=200))
def test_any_text_is_taken_or_refused_and_nothing_else(text: str) -> None:
    for check in (check_regex, check_json_schema):
        with contextlib.suppress(StructureError):
            check(text)
