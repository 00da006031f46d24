"""Offline use: give prompts, get texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.engine.batches import StepOutput
from fairdraft.engine.engine import Engine
from fairdraft.errors import ConfigError, RequestError
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.outputs import CompletionOutput, RequestOutput, StreamEvent
from fairdraft.proposers import build_proposer
from fairdraft.sampling.noise import Purpose, derive_seed
from fairdraft.telemetry import SpecCounters, StepTimes, StepTrace

Prompt = str | Mapping[str, Any] | Sequence[int]
Message = Mapping[str, str]


class LLM:
    """A model that writes, with or without speculation, the same words.

        llm = LLM("demo", speculative_config={"method": "ngram", "num_speculative_tokens": 4})
        for output in llm.generate(["The capital of France is"]):
            print(output.outputs[0].text)

    Args:
        model: hub id, local folder, GGUF file, or "demo" for the packaged small model.
        speculative_config: mapping or `SpeculativeConfig` with vLLM's keys; None is off.
        trace: file for a step trace as JSON lines.
        options: see `EngineConfig`.

    Raises:
        ConfigError: an option is unknown or out of range.
        CheckpointError: the model cannot be loaded or is not supported.
    """

    def __init__(
        self,
        model: str,
        *,
        speculative_config: SpeculativeConfig | Mapping[str, Any] | None = None,
        trace: str | Path | None = None,
        **options: Any,
    ) -> None:
        self.config = EngineConfig.of(model, speculative_config, **options)
        speculative = self.config.speculative_config
        # Before the model, so that a misspelt method is told at once.
        proposer = build_proposer(speculative) if speculative is not None else None
        checkpoint = load_checkpoint(model, self.config.dtype, self.config.device)
        self.tokenizer = checkpoint.tokenizer
        self._trace = StepTrace(trace) if trace is not None else None
        self.runner = ModelRunner(
            checkpoint.model, bool(self.config.batch_invariant), self.tokenizer, model
        )
        self.engine = Engine(
            self.config,
            self.runner,
            self.tokenizer,
            checkpoint.eos_token_ids,
            proposer,
            trace=self._trace,
        )
        self._numbers = itertools.count()

    @property
    def counters(self) -> SpecCounters:
        """Drafted and accepted counts over everything generated so far."""
        return self.engine.counters

    @property
    def times(self) -> StepTimes:
        """Where the time of all steps so far went."""
        return self.engine.times

    def close(self) -> None:
        """Flush the trace, if there is one."""
        if self._trace is not None:
            self._trace.close()

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = False,
    ) -> list[RequestOutput]:
        """Complete prompts, batched as the engine's limits allow.

        Args:
            prompts: a text, `{"prompt": text}`, `{"prompt_token_ids": [...]}`, a list of token
                ids, or a list of any of these. A mapping may bring a `cache_salt`: it then shares
                cached prefixes and past text only with prompts of the same salt.
            sampling_params: one for all or one each; None takes the defaults.
            use_tqdm: show a progress bar.

        Returns:
            One output per prompt, in order.

        Raises:
            RequestError: a prompt is empty, too long or not understood.
        """
        outputs: list[RequestOutput] = []
        with Progress(disable=not use_tqdm, transient=True) as progress:
            task = progress.add_task("generating", total=None)
            for event in self._run(prompts, sampling_params, outputs):
                done = sum(output.finished for output in outputs)
                if event.output.finished:
                    progress.update(task, total=len(outputs), completed=done)
        return outputs

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = False,
    ) -> list[RequestOutput]:
        """Answer one conversation or a list of them, through the model's chat template.

        Args:
            messages: mappings with "role" and "content", or a list of such lists.
            sampling_params: as in `generate`.
            use_tqdm: show a progress bar.
        """
        single = bool(messages) and isinstance(messages[0], Mapping)
        conversations = [messages] if single else list(messages)
        prompts: list[Prompt] = [
            {"prompt_token_ids": self.encode_chat(each)}  # type: ignore[arg-type]
            for each in conversations
        ]
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, ready for the assistant's turn.

        Raises:
            RequestError: there are no messages, or the model has no chat template.
        """
        if not messages:
            raise RequestError("the conversation is empty: give at least one message")
        if not getattr(self.tokenizer, "chat_template", None):
            raise RequestError("the model has no chat template: use generate() with plain text")
        encoded = self.tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, return_dict=True
        )
        return list(encoded["input_ids"])

    def stream(
        self, prompt: Prompt, sampling_params: SamplingParams | None = None
    ) -> Iterator[StreamEvent]:
        """Complete one prompt and yield what each step adds.

        Leaving the loop early aborts the request.
        """
        outputs: list[RequestOutput] = []
        return self._run([prompt], sampling_params, outputs)

    def _run(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None,
        outputs: list[RequestOutput],
    ) -> Iterator[StreamEvent]:
        """Queue everything, step until it is done, and yield each gain; `outputs` fills up."""
        each = _as_list(prompts)
        params = _one_each(sampling_params, len(each))
        owners: dict[str, tuple[RequestOutput, CompletionOutput]] = {}
        try:
            for prompt, one in zip(each, params, strict=True):
                outputs.append(self._add(prompt, one, owners))
            while self.engine.has_unfinished_requests:
                for step in self.engine.step():
                    if step.request.request_id in owners:
                        yield _apply(step, *owners[step.request.request_id])
        finally:
            for request_id in owners:
                self.engine.abort(request_id)

    def _add(
        self,
        prompt: Prompt,
        params: SamplingParams,
        owners: dict[str, tuple[RequestOutput, CompletionOutput]],
    ) -> RequestOutput:
        text, token_ids = self._encode(prompt)
        salt = _cache_salt(prompt)
        number = next(self._numbers)
        output = RequestOutput(str(number), text, token_ids, [])
        for i in range(params.n):
            request_id = str(number) if params.n == 1 else f"{number}-{i}"
            seed = params.seed
            if seed is not None and params.n > 1:
                seed = derive_seed(seed, Purpose.COMPLETION, i)
            request = self.engine.add_request(token_ids, params, request_id, seed, salt)
            lossless = self.engine.rule.lossless
            output.outputs.append(CompletionOutput(i, spec=request.counters, lossless=lossless))
            owners[request_id] = (output, output.outputs[-1])
        return output

    def _encode(self, prompt: Prompt) -> tuple[str | None, list[int]]:
        text: str | None = None
        if isinstance(prompt, Mapping) and "prompt_token_ids" in prompt:
            token_ids = [int(token) for token in prompt["prompt_token_ids"]]
        elif isinstance(prompt, str) or (isinstance(prompt, Mapping) and "prompt" in prompt):
            text = prompt if isinstance(prompt, str) else str(prompt["prompt"])
            try:
                token_ids = list(self.tokenizer.encode(text))
            except (TypeError, UnicodeError):
                raise RequestError(
                    "the prompt is not valid Unicode text (it holds a lone surrogate): decode the "
                    "bytes it came from with the right encoding"
                ) from None
        elif not isinstance(prompt, Mapping):
            token_ids = [int(token) for token in prompt]
        else:
            raise RequestError(
                f"a prompt with the keys {sorted(prompt)} is not understood: give text, "
                '{"prompt": …} or {"prompt_token_ids": […]}'
            )
        if not token_ids:
            raise RequestError("the prompt is empty: give at least one token")
        return text, token_ids


def _cache_salt(prompt: Prompt) -> str | None:
    """vLLM's `cache_salt` of a prompt given as a mapping."""
    salt = prompt.get("cache_salt") if isinstance(prompt, Mapping) else None
    if salt is not None and not (isinstance(salt, str) and salt):
        raise RequestError(f"cache_salt is {salt!r}, but must be a non-empty text, or left out")
    return salt


def _as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    single = isinstance(prompts, (str, Mapping)) or (
        bool(prompts) and all(isinstance(token, int) for token in prompts)
    )
    return [prompts] if single else list(prompts)  # type: ignore[list-item,arg-type]


def _one_each(
    params: SamplingParams | Sequence[SamplingParams] | None, count: int
) -> list[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * count
    if len(params) != count:
        raise ConfigError(
            f"there are {len(params)} sampling_params for {count} prompts: give one for all or "
            "one each"
        )
    return list(params)


def _apply(step: StepOutput, output: RequestOutput, completion: CompletionOutput) -> StreamEvent:
    """Add a step's gain to a completion."""
    completion.text += step.text
    completion.token_ids.extend(step.token_ids)
    completion.finish_reason = step.request.finish_reason
    completion.stop_reason = step.request.stop_reason
    output.num_cached_tokens = step.request.num_cached_tokens
    if step.logprobs is not None:
        completion.logprobs = (completion.logprobs or []) + step.logprobs[: len(step.token_ids)]
    return StreamEvent(
        output,
        completion.index,
        step.text,
        step.token_ids,
        _accepted_first(step),
        len(step.path),
    )


def _accepted_first(step: StepOutput) -> tuple[int, ...]:
    """The draft's tokens: those that stood, then the others."""
    nodes = [*step.path, *(n for n in range(len(step.draft)) if n not in step.path)]
    return tuple(step.draft.token_ids[node] for node in nodes)
