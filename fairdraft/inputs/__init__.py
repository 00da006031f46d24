"""The door for prompts, conversations and sampling parameters.

What callers may write in many forms is checked here once and leaves in one form, which everything
behind it trusts. Neither torch nor the engine is known here: tensors and tokenizers are met by what
they can do.
"""

from fairdraft.inputs.conversations import (
    ROLES,
    Message,
    encode_chat,
    parse_conversation,
    parse_conversations,
)
from fairdraft.inputs.limits import check_against_model
from fairdraft.inputs.params import parse_params
from fairdraft.inputs.prompts import PromptInput, encode, parse_prompts

__all__ = [
    "ROLES",
    "Message",
    "PromptInput",
    "check_against_model",
    "encode",
    "encode_chat",
    "parse_conversation",
    "parse_conversations",
    "parse_params",
    "parse_prompts",
]
