"""What several verbs share: options, prompts, and loading a model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from fairdraft.bench.grid import NO_SPECULATION
from fairdraft.config import SpeculativeConfig, parse_json, require
from fairdraft.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from fairdraft.llm import LLM

Model = Annotated[str, typer.Option(help='Hub id, folder, GGUF file, or "demo".')]
OldTarget = Annotated[str | None, typer.Option("--target", hidden=True)]  # renamed in 0.2
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
    """Return the configuration that the options mean; None is no speculation.

    Args:
        method: a proposer's name, or "none".
        num_speculative_tokens: draft length k, at least 1.
        as_json: an object with vLLM's keys; if given, the other two are ignored.

    Raises:
        ConfigError: k is out of range, or the JSON is broken, no object, or says a key twice.
    """
    if as_json is not None:
        remedy = 'write it like {"method": "ngram", "num_speculative_tokens": 4}'
        found = parse_json(as_json, "--speculative-config")
        require(
            isinstance(found, dict),
            f"--speculative-config is {as_json!r}, but must be an object: {remedy}",
        )
        return SpeculativeConfig.of(found)
    if method == NO_SPECULATION:
        return None
    return SpeculativeConfig(method, num_speculative_tokens)


def refuse_old_target(target: str | None) -> None:
    """Raise `ConfigError` if the target is named by the option of old."""
    require(target is None, f"--target is {target!r}, but the option is called --model now: use it")


def words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas between, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers of a list with commas between, each once.

    Args:
        name: the option, to begin an error with.
        text: the list.

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
    """Load an `LLM`; a terminal shows one line on stderr meanwhile."""
    with loading(model):
        from fairdraft.llm import LLM

        return LLM(model, **options)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Show one line on stderr while a model loads: what the library logs, as it comes.

    Only a terminal shows it, and it is gone when the model is there.

    Args:
        name: what is loaded.
    """
    with Console(stderr=True).status(Text(f"Loading {name} …")) as status:

        class Line(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                status.update(Text(f"{record.getMessage()} …"))

        logger, line = logging.getLogger("fairdraft"), Line(logging.INFO)
        before = logger.level
        logger.addHandler(line)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(line)
            logger.setLevel(before)


def encode_prompt(llm: LLM, prompt: str, chat: bool | None = None) -> list[int]:
    """Return the token ids of a prompt for an `LLM`; see `encode_text`."""
    return encode_text(llm.tokenizer, prompt, chat)


def encode_text(tokenizer: Any, prompt: str, chat: bool | None = None) -> list[int]:
    """Return the token ids of a prompt.

    Args:
        tokenizer: the model's.
        prompt: the text.
        chat: as a user's message through the chat template, or as it is; None is the former if
            the model has a chat template.

    Raises:
        RequestError: the prompt is empty, or there is no chat template but `chat` is True.
    """
    from fairdraft.inputs import encode_chat, parse_conversation

    require_text(prompt)
    if chat is None:
        chat = bool(getattr(tokenizer, "chat_template", None))
    if chat:
        return encode_chat(tokenizer, parse_conversation([{"role": "user", "content": prompt}]))
    return list(tokenizer.encode(prompt))


def require_text(prompt: str) -> None:
    """Raise `RequestError` if a prompt is nothing but white space, or not UTF-8."""
    if not prompt.strip():
        raise RequestError("the prompt is empty: give some text, or - to read it from stdin")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise RequestError("the prompt holds bytes that are not UTF-8: convert it") from None
