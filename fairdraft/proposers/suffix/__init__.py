"""Suffix decoding: drafts of what followed the longest match, in this text or earlier answers."""

from fairdraft.proposers.suffix.proposer import SuffixProposer

__all__ = ["SuffixProposer"]
