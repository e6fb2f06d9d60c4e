"""Every shard at this moment, looked over and kept in the store for whoever shows the fleet.

Not a step of a restore: it runs on its own, every few minutes, anywhere the store can be reached.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from relight.overview.card import Overview
from relight.overview.health import WORDS
from relight.overview.keeping import keep, newest
from relight.overview.looking import look_over_and_ask
from relight.site import Site


def overview_fleet(site: Site) -> Overview:
    """Look at the whole fleet and keep what was seen.

    :raises StoreUnavailable: (retryable) the store does not answer.
    """
    found = look_over_and_ask(site, newest(site.store, datetime.now(UTC)))
    keep(site.store, found)
    counts = Counter(card.state for card in found.cards)
    told = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    site.progress.say(f"{len(found.cards)} shards in {found.seconds:.1f} s: {told}")
    for card in found.cards:
        if card.state != "good":
            site.progress.say(f"{card.shard}: {WORDS[card.state]}: {'; '.join(card.warnings)}")
    return found
