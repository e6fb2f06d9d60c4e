"""Whether a person has to agree before a shard is opened, and whether one has. Asked and refused is elsewhere."""

from __future__ import annotations

from relight.fleet import Approval

PLACEHOLDERS = ("NAME", "WHY")
"""Stand in a printed command for the name and the reason of whoever approves. Nobody approves with them as they are."""


def needed(policy: Approval, *, doubts: bool) -> bool:
    """Whether a name has to stand in the certificate.

    What is inconclusive needs one whatever the policy is: ``never`` means that nobody is asked for it.
    """
    return doubts or policy == "always"


def asked(policy: Approval, *, doubts: bool, named: bool) -> bool:
    """Whether a person is asked. ``named``: the request says already who approves.

    That does not count where the policy is ``always``: whoever made the request had not seen what it would bring.
    """
    return policy == "always" or (policy == "on_inconclusive" and doubts and not named)


def lacking(policy: Approval, *, doubts: bool, approved_by: str, reason: str) -> str:
    """What an approval lacks, in words; empty where the shard may be opened."""
    if approved_by.strip() and not reason.strip():
        return "the approval has no reason"
    if not needed(policy, doubts=doubts) or approved_by.strip():
        return ""
    return "something is inconclusive, and nobody has approved of it" if doubts else "nobody has approved of it"
