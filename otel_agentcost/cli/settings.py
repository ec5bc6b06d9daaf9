"""The settings and the price book a command works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_agentcost.cli.console import Console

if TYPE_CHECKING:
    from otel_agentcost.otel.config import Config
    from otel_agentcost.pricing.book import PriceBook


def load_config(console: Console) -> Config:
    """Read `--config FILE`, else $AGENTCOST_CONFIG, else ./agentcost.yaml, else the defaults. Raises ConfigError."""
    from otel_agentcost.otel.config import Config

    return Config.load(console.config_file)


def price_book(config: Config) -> PriceBook:
    """Return the bundled price book with the user's own prices, discounts and fees over it."""
    from otel_agentcost.pricing.book import PriceBook

    return PriceBook.bundled().with_overrides(config.overrides)
