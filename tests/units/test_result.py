"""result.json: its schema, its bytes, and what a `Result` refuses."""

from __future__ import annotations

import configparser
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from made_result import make_result
from pydantic import ValidationError

from archsim.metrics.accounts import ACCOUNTS, GROUPS, USEFUL, group_of
from archsim.result import ARCHSIM_VERSION, Result, schema_json

SCHEMA: dict[str, Any] = json.loads(schema_json())


def test_schema_is_itself_valid() -> None:
    """What `archsim schema` prints is a JSON Schema of the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


def test_json_form_follows_the_schema() -> None:
    """Every result.json validates against the exported schema."""
    jsonschema.validate(json.loads(make_result().to_json()), SCHEMA, jsonschema.Draft202012Validator)


def test_schema_refuses_missing_and_unknown_keys() -> None:
    """A key that is missing or new is a change of the schema, never a surprise."""
    content = json.loads(make_result().to_json())
    for changed in ({key: value for key, value in content.items() if key != "mbu"}, content | {"speed": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, SCHEMA, jsonschema.Draft202012Validator)


def test_json_form_holds_the_published_keys_and_no_tables() -> None:
    """The top level is what docs and the schema promise; columns are written beside it, not in it."""
    expected = (
        "schema provenance system model parallelism collectives simulated_s requests tokens throughput latency_s mbu "
        "mbu_array mfu ledger phases saturation energy cost carbon"
    )
    assert sorted(json.loads(make_result().to_json())) == sorted(expected.split())


def test_absent_metrics_are_null() -> None:
    """Energy, cost and carbon without a source are null, as is the saturation rate that was not reached."""
    content = json.loads(make_result(tokens_per_s=None).to_json())
    assert (content["energy"], content["cost"], content["carbon"]) == (None, None, None)
    assert content["saturation"]["output_tokens_per_s"] is None


def test_json_form_reads_back_to_the_same_bytes() -> None:
    """Floats are printed with the shortest digits that read back to the same float, keys are sorted."""
    text = make_result().to_json()
    assert Result.from_json(text).to_json() == text
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_result_refuses_what_is_not_finite(value: float) -> None:
    """NaN and infinity are no metrics."""
    content = json.loads(make_result().to_json()) | {"simulated_s": value}
    with pytest.raises(ValidationError):
        Result.model_validate(content)


def test_result_refuses_an_account_that_does_not_exist() -> None:
    """A ledger has the accounts of the ledger only: a misspelt one would balance and mean nothing."""
    content = json.loads(make_result().to_json())
    content["ledger"]["hbm"]["accounts"]["efficiency"] = 0.8
    with pytest.raises(ValidationError, match="efficiency"):
        Result.model_validate(content)


def test_accounts_are_named_once_in_the_order_of_the_ledger() -> None:
    """Useful parts come first, rounding last, and every account is in exactly one group."""
    assert len(set(ACCOUNTS)) == len(ACCOUNTS)
    assert ACCOUNTS[: len(USEFUL)] == USEFUL
    assert ACCOUNTS[-2:] == ("idle", "rounding")
    assert [account for group in GROUPS for account in ACCOUNTS if group_of(account) == group] == list(ACCOUNTS)


def test_version_is_that_of_the_package_metadata() -> None:
    """The version in provenance is the one in setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    assert setup["metadata"]["version"] == ARCHSIM_VERSION
