"""Providers: one id per biller, and hosts that cannot be faked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_agentcost._data import load
from otel_agentcost.usage.providers import canonical_provider, host_facts, provider_kind


def test_every_alias_leads_to_a_known_provider() -> None:
    """An alias is a name of a provider of the table, and the id is its own alias."""
    table = load("providers")

    for alias, provider in table["aliases"].items():
        assert provider in table["providers"]
        assert canonical_provider(alias) == provider
        assert canonical_provider(provider) == provider


def test_spelling_does_not_matter() -> None:
    """Case, underscores, spaces and a trailing API name lead to the same id."""
    assert {canonical_provider(n) for n in ("Azure OpenAI", "azure_openai", "azure-openai.responses")} == {"azure"}


def test_an_unknown_provider_keeps_its_name_in_lower_case() -> None:
    """What nobody knows comes back as it is, so that a user can price it."""
    assert canonical_provider("Acme_Models") == "acme_models"
    assert canonical_provider(None) is None
    assert canonical_provider("") is None


def test_kinds_tell_who_really_sells() -> None:
    """A framework or gateway is not the biller of a model call."""
    assert provider_kind("openai") == "vendor"
    assert provider_kind("strands-agents") == "framework"
    assert provider_kind("litellm") == "gateway"
    assert provider_kind("local") == "local"
    assert provider_kind("acme") == ""
    assert provider_kind(None) == ""


@given(st.sampled_from(sorted(load("providers")["hosts"])), st.text("abc-.:/@", max_size=12))
def test_a_host_below_somebody_elses_domain_is_never_a_provider(host: str, tail: str) -> None:
    """A known host as the front of another domain is unknown, whatever stands in between."""
    assert host_facts(f"{host}.{tail}.example") is None
    assert host_facts(f"{host}.evil.com") is None


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_host_raises(host: str, path: str) -> None:
    """Any text is a host; most are unknown."""
    host_facts(host, path)
    canonical_provider(host)
