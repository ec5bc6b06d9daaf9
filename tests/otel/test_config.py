"""Settings come from code, environment, file and defaults, in this order, and a wrong one is named precisely."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from otel_agentcost._data import load
from otel_agentcost.errors import ConfigError
from otel_agentcost.otel import config_file
from otel_agentcost.otel.config import SETTINGS, Capture, Config, Identity, Limits, misspelt_variables
from otel_agentcost.pricing.overrides import PRICE_KEYS, Overrides


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import os

    for name in list(os.environ):
        if name.startswith("AGENTCOST_") and name != "AGENTCOST_RAISE":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return


def write(text: str, name: str = "agentcost.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_without_anything_the_defaults_hold() -> None:
    """No file, no variable: everything works."""
    assert Config.load() == Config()


def test_every_key_of_the_file_is_read() -> None:
    """The whole file form, with the price part handed to the price book."""
    write(
        """
        enabled: false
        detail: full
        mirrors: {gen_ai.usage.cost: true}
        capture: {http: false, http_spans: true, unsampled: true, fees: false, estimate_streams: false,
                  include_usage: false}
        identity: {tenant: acme, project: p, cost_center: "4711", purpose: evaluation, baggage: true,
                   baggage_hosts: [api.example, .internal.example]}
        limits: {open_sessions: 5, spans_per_session: 6, grace_seconds: 0, max_age_seconds: 7.5, names: 8}
        currency: EUR
        rates: {USD: 0.92}
        prices: [{model: own-*, units: {input_tokens: {price: 1.5, per: 1000000}}}]
        """
    )
    config = Config.load()

    assert config.enabled is False
    assert config.detail == "full"
    assert config.mirrors == {"gen_ai.usage.cost": True}
    assert config.capture == Capture(
        http=False, http_spans=True, unsampled=True, fees=False, estimate_streams=False, include_usage=False
    )
    assert config.identity == Identity(
        tenant="acme", project="p", cost_center="4711", purpose="evaluation", baggage=True,
        baggage_hosts=("api.example", ".internal.example"),
    )  # fmt: skip
    assert config.limits == Limits(
        open_sessions=5, spans_per_session=6, grace_seconds=0.0, max_age_seconds=7.5, names=8
    )
    assert config.overrides.currency == "EUR"
    assert len(config.overrides.prices) == 1
    assert config.source == "agentcost.yaml"


def test_code_stands_over_environment_over_file_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key, not file by file."""
    write("detail: full\nidentity: {tenant: file, project: file, cost_center: file}\nlimits: {names: 7}\n")
    monkeypatch.setenv("AGENTCOST_TENANT", "environment")
    monkeypatch.setenv("AGENTCOST_PROJECT", "environment")
    config = Config.load(identity={"tenant": "code"})

    assert config.detail == "full"
    assert config.identity == Identity(tenant="code", project="environment", cost_center="file")
    assert config.limits == Limits(names=7)


def test_groups_may_be_given_as_objects() -> None:
    """What type checkers help with works as well as the file's form."""
    config = Config.load(capture=Capture(http=False), limits=Limits(names=3), overrides=Overrides(currency="USD"))

    assert config.capture.http is False
    assert config.limits.names == 3


def test_the_variable_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENTCOST_CONFIG stands over ./agentcost.yaml, an argument over both."""
    write("detail: full\n")
    write("identity: {tenant: other}\n", "other.yaml")
    monkeypatch.setenv("AGENTCOST_CONFIG", "other.yaml")

    assert Config.load().identity.tenant == "other"
    assert Config.load().detail == "default"
    assert Config.load("agentcost.yaml").detail == "full"


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("AGENTCOST_ENABLED", "false", False),
        ("AGENTCOST_ENABLED", "0", False),
        ("AGENTCOST_DETAIL", "full", "full"),
        ("AGENTCOST_CAPTURE_HTTP", "off", False),
        ("AGENTCOST_CAPTURE_HTTP_SPANS", "yes", True),
        ("AGENTCOST_CAPTURE_UNSAMPLED", "1", True),
        ("AGENTCOST_CAPTURE_FEES", "No", False),
        ("AGENTCOST_CAPTURE_ESTIMATE_STREAMS", "false", False),
        ("AGENTCOST_CAPTURE_INCLUDE_USAGE", "FALSE", False),
        ("AGENTCOST_TENANT", "4711", "4711"),
        ("AGENTCOST_PROJECT", "p", "p"),
        ("AGENTCOST_COST_CENTER", "c", "c"),
        ("AGENTCOST_PURPOSE", "experiment", "experiment"),
        ("AGENTCOST_BAGGAGE", "true", True),
        ("AGENTCOST_BAGGAGE_HOSTS", "a.example, .b.example", ("a.example", ".b.example")),
        ("AGENTCOST_LIMITS_OPEN_SESSIONS", "12", 12),
        ("AGENTCOST_LIMITS_SPANS_PER_SESSION", "13", 13),
        ("AGENTCOST_LIMITS_GRACE_SECONDS", "0.5", 0.5),
        ("AGENTCOST_LIMITS_MAX_AGE_SECONDS", "60", 60.0),
        ("AGENTCOST_LIMITS_NAMES", "14", 14),
    ],
)
def test_every_variable_sets_its_key(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: object) -> None:
    """The environment needs no file."""
    monkeypatch.setenv(variable, text)
    config: Any = Config.load()
    (path,) = (path for path, setting in SETTINGS.items() if setting.variable == variable)
    for name in path:
        config = getattr(config, name)

    assert config == value


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenTelemetry has it."""
    monkeypatch.setenv("AGENTCOST_DETAIL", "")

    assert Config.load().detail == "default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detail: ful\n", r"agentcost\.yaml:1: detail: is 'ful'; allowed is one of default, full"),
        ("detial: full\n", r"agentcost\.yaml:1: detial: is not a setting.*did you mean detail"),
        ("\ncapture:\n  htp: true\n", r"agentcost\.yaml:3: capture\.htp: .*did you mean http\?"),
        ("capture: yes\n", r"agentcost\.yaml:1: capture: is True; allowed is a map"),
        ("capture:\n  http: 3\n", r"agentcost\.yaml:2: capture\.http: is 3; allowed is true or false"),
        ("identity: {tenant: 12}\n", r"identity\.tenant: is 12; .*quotes"),
        ("identity: {tenant: ''}\n", r"identity\.tenant"),
        ("identity: {purpose: fun}\n", r"identity\.purpose: is 'fun'; allowed is one of app"),
        ("identity: {baggage_hosts: ['*']}\n", r"baggage_hosts: .*leading dot"),
        ("identity: {baggage_hosts: ['http://x']}\n", r"baggage_hosts"),
        ("limits: {names: 0}\n", r"limits\.names: is 0; allowed is a whole number of at least 1"),
        ("limits: {names: 1.5}\n", r"limits\.names"),
        ("limits: {names: true}\n", r"limits\.names: is True"),
        ("limits: {grace_seconds: -1}\n", r"limits\.grace_seconds: .*0 or more"),
        ("limits: {grace_seconds: .inf}\n", r"limits\.grace_seconds"),
        ("limits: {max_age_seconds: long}\n", r"limits\.max_age_seconds: is 'long'"),
        ("mirrors: {llm.cost.total: true}\n", r"mirrors: .*no 'llm\.cost\.total'"),
        ("mirrors: {gen_ai.usage.cost: 1}\n", r"mirrors: .*true or false"),
        ("mirrors: [gen_ai.usage.cost]\n", r"mirrors: .*a map"),
        ("enabled: maybe\n", r"enabled: is 'maybe'; allowed is true or false"),
        ("a: 1\na: 2\n", r"agentcost\.yaml:2: a: is set twice"),
        ("limits:\n  names: 1\n  names: 2\n", r"agentcost\.yaml:3: limits\.names: is set twice"),
        ("- a\n- b\n", r"agentcost\.yaml: is a list; allowed is a map"),
        ("just text\n", r"agentcost\.yaml: is a str"),
        ("a: [1,\n", r"agentcost\.yaml:2: is not YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", r"agentcost\.yaml:1: is not YAML"),
        ("a: &x [*x]\n", r"refers to itself"),
        ("? [a]\n: 1\n", r"a key must be a plain text"),
        ("prices:\n- model: x\n  units:\n    input_tokens: {price: -1}\n", r"agentcost\.yaml:4: prices\[0\]\.units"),
        ("prices:\n- model: x\n  unit: {}\n", r"agentcost\.yaml:3: prices\[0\]\.unit: "),
        ("currency: euro\n", r"agentcost\.yaml:1: currency"),
    ],
)
def test_a_wrong_file_names_line_key_value_and_what_is_allowed(text: str, message: str) -> None:
    """Somebody who reads the error can mend the file."""
    write(text)
    with pytest.raises(ConfigError, match=message):
        Config.load()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("AGENTCOST_DETAIL", "ful", "AGENTCOST_DETAIL: is 'ful'; allowed is one of default, full"),
        ("AGENTCOST_CAPTURE_HTTP", "maybe", "AGENTCOST_CAPTURE_HTTP: .*true or false"),
        ("AGENTCOST_LIMITS_NAMES", "-3", "AGENTCOST_LIMITS_NAMES: .*at least 1"),
        ("AGENTCOST_TENANT", "x" * 300, "AGENTCOST_TENANT: "),
        ("AGENTCOST_CONFIG", "gone.yaml", "AGENTCOST_CONFIG=gone.yaml: there is no such file"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, message: str) -> None:
    """The variable, what it holds, what is allowed."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=message):
        Config.load()


def test_wrong_settings_in_code_are_named_by_both_ways_of_giving_them() -> None:
    """A Config that exists is a Config that works."""
    with pytest.raises(ConfigError, match="detail: is 'ful'"):
        Config.load(detail="ful")
    with pytest.raises(ConfigError, match="detail: is 'ful'"):
        Config(detail="ful")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"limits\.names"):
        Config(limits=Limits(names=0))
    with pytest.raises(ConfigError, match="did you mean detail"):
        Config.load(detial="full")


def test_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    """Missing, a folder, not text, far too large: each its own message."""
    with pytest.raises(ConfigError, match="no such file"):
        Config.load("gone.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: "):
        Config.load(tmp_path)
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Config.load("binary.yaml")
    Path("large.yaml").write_bytes(b"#" * (config_file.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="allowed are"):
        Config.load("large.yaml")


def test_an_empty_file_and_keys_without_value_say_nothing() -> None:
    """`tenant:` is a line somebody has not filled in yet."""
    write("")
    assert Config.load().limits == Limits()
    write("# nothing\n")
    assert Config.load().limits == Limits()
    write("identity:\n  tenant:\n")
    assert Config.load().identity == Identity()


def test_decimals_and_dates_stay_what_was_written() -> None:
    """A price of 0.1 is a tenth, not the double nearest to it."""
    parsed = config_file.parse("price: 0.1\nlarge: 1e-7\nday: 2026-01-31\nwhole: 3\n", "f")

    assert parsed.content == {"price": Decimal("0.1"), "large": "1e-7", "day": "2026-01-31", "whole": 3}
    assert isinstance(parsed.content["price"], Decimal)


def test_anchors_cannot_blow_up_the_reader() -> None:
    """Nine levels of ten aliases are parsed at once."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert len(config_file.parse("\n".join(lines), "f").lines) < 200


def test_a_nearly_right_variable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that nobody reads would otherwise be silence."""
    monkeypatch.setenv("AGENTCOST_DETIAL", "full")
    monkeypatch.setenv("AGENTCOST_SOMETHING_ELSE_ENTIRELY", "1")

    assert misspelt_variables() == {"AGENTCOST_DETIAL": "AGENTCOST_DETAIL"}


def test_the_shipped_schema_knows_the_same_keys_and_defaults() -> None:
    """Editors and this reader agree about agentcost.yaml."""
    schema = load("agentcost.schema")
    found = {
        (key, inner) if key in ("capture", "identity", "limits") else (key,)
        for key, node in schema["properties"].items()
        for inner in (node.get("properties", {"": {}}) if key in ("capture", "identity", "limits") else [""])
    }
    assert found == {*SETTINGS, *((key,) for key in PRICE_KEYS)}

    default = Config()
    for key in ("capture", "identity"):
        for inner, node in schema["properties"][key]["properties"].items():
            if "default" in node:
                assert getattr(getattr(default, key), inner) == node["default"], f"{key}.{inner}"


def test_the_identity_of_the_process_is_ready_as_attributes() -> None:
    """What the processor puts on every span."""
    assert Identity(tenant="acme", purpose="app").attributes == {
        "agentcost.tenant": "acme",
        "agentcost.purpose": "app",
    }
