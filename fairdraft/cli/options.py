"""What several verbs share: options, prompts, and loading a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from fairdraft.bench.grid import NO_SPECULATION
from fairdraft.config import SpeculativeConfig
from fairdraft.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from fairdraft.llm import LLM

Model = Annotated[str, typer.Option(help='Hub id, folder, GGUF file, or "demo".')]
Method = Annotated[str, typer.Option(help='Who drafts, such as "ngram"; "none" is off.')]
DraftLength = Annotated[
    int, typer.Option("--num-speculative-tokens", "-k", help="Draft length k: tokens a step.")
]
SpeculativeJson = Annotated[
    str | None,
    typer.Option(
        "--speculative-config",
        metavar="JSON",
        help="vLLM's keys, in place of --method and -k.",
    ),
]
MaxTokens = Annotated[int, typer.Option(help="Tokens to generate at most.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
MaxModelLen = Annotated[
    int | None,
    typer.Option(help="Longest prompt plus output in tokens; the model's own limit by default."),
]


def speculative_config(
    method: str, num_speculative_tokens: int, as_json: str | None = None
) -> SpeculativeConfig | None:
    """The configuration that the options mean; None is no speculation.

    Args:
        method: a proposer's name, or "none".
        num_speculative_tokens: draft length k, at least 1.
        as_json: an object with vLLM's keys; if given, the other two are ignored.

    Raises:
        ConfigError: k is out of range, or the JSON is broken.
    """
    if as_json is not None:
        try:
            return SpeculativeConfig.of(json.loads(as_json))
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"--speculative-config is {as_json!r}, which is not JSON ({error}): write it like "
                '{"method": "ngram", "num_speculative_tokens": 4}'
            ) from None
    if method == NO_SPECULATION:
        return None
    return SpeculativeConfig(method, num_speculative_tokens)


def words(text: str) -> tuple[str, ...]:
    """A list with commas between, each word once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between, each once.

    Raises:
        ConfigError: they are something else.
    """
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise ConfigError(
            f"{name} is {text!r}, but must be whole numbers with commas between, such as 1,2,4"
        ) from None


def load_llm(model: str, **options: Any) -> LLM:
    """An `LLM`, with a spinner on stderr while it loads."""
    with Console(stderr=True).status(Text(f"Loading {model} …")):
        from transformers.utils import logging

        from fairdraft.llm import LLM

        logging.disable_progress_bar()  # two moving lines would overwrite each other
        return LLM(model, **options)


def encode_prompt(llm: LLM, prompt: str, chat: bool | None = None) -> list[int]:
    """Token ids of a prompt.

    Args:
        llm: whose tokenizer to use.
        prompt: the text.
        chat: as a user's message through the chat template, or as it is; None is the former if
            the model has a chat template.

    Raises:
        RequestError: the prompt is empty, or there is no chat template but `chat` is True.
    """
    require_text(prompt)
    if chat is None:
        chat = bool(getattr(llm.tokenizer, "chat_template", None))
    if chat:
        return llm.encode_chat([{"role": "user", "content": prompt}])
    return list(llm.tokenizer.encode(prompt))


def require_text(prompt: str) -> None:
    """Raise `RequestError` if a prompt is nothing but white space, or not UTF-8."""
    if not prompt.strip():
        raise RequestError("the prompt is empty: give some text, or - to read it from stdin")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise RequestError("the prompt holds bytes that are not UTF-8: convert it") from None
