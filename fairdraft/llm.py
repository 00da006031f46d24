"""Offline use: give prompts, get texts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.progress import Progress

from fairdraft.call import Call
from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.engine.engine import Engine
from fairdraft.engine.router import Router
from fairdraft.engine.step_output import StepOutput
from fairdraft.inputs import (
    PromptInput,
    encode,
    encode_chat,
    parse_conversation,
    parse_conversations,
    parse_params,
    parse_prompts,
)
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.outputs import CompletionOutput, RequestOutput, StreamEvent
from fairdraft.process_bound import ProcessBound
from fairdraft.proposers import build_proposer
from fairdraft.sampling.noise import Purpose, derive_seed
from fairdraft.telemetry import SpecCounters, StepTimes, StepTrace

Prompt = str | Mapping[str, Any] | Sequence[int]
Message = Mapping[str, object]


class LLM(ProcessBound):
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
        self._trace = StepTrace(trace) if trace is not None else None
        checkpoint = load_checkpoint(
            model, self.config.dtype, self.config.device, self.config.revision
        )
        self.tokenizer = checkpoint.tokenizer
        self.runner = ModelRunner(
            checkpoint.model, self.config.batch_invariant, self.tokenizer, model
        )
        self.engine = Engine(
            self.config,
            self.runner,
            self.tokenizer,
            checkpoint.eos_token_ids,
            proposer,
            trace=self._trace,
        )
        self.router = Router(self.engine)
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
        """Abort what still runs, stop the engine's thread, flush the trace; may be called twice."""
        self.router.close()
        if self._trace is not None:
            self._trace.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            RequestError: a prompt is empty, too long or not understood; nothing was begun.
            GenerationError: a request ended with an error of its own; `outputs` holds the others.
        """
        finished: SimpleQueue[StepOutput] = SimpleQueue()
        call = self.call(prompts, sampling_params)

        def collect(step: StepOutput) -> None:  # in the engine's thread
            call.apply(step)
            if step.finish_reason is not None:
                finished.put(step)

        with Progress(disable=not use_tqdm, transient=True) as progress, call.running(collect):
            task = progress.add_task("generating", total=len(call.requests))
            for _ in call.requests:
                finished.get()
                progress.advance(task)
        call.raise_errors()
        return call.outputs

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = False,
    ) -> list[RequestOutput]:
        """Answer one conversation or a list of them, through the model's chat template.

        Args:
            messages: mappings with "role" and "content", or a list of such lists. Content is a text
                or a list of parts `{"type": "text", "text": …}`.
            sampling_params: as in `generate`.
            use_tqdm: show a progress bar.
        """
        prompts: list[Prompt] = [
            {"prompt_token_ids": encode_chat(self.tokenizer, conversation)}
            for conversation in parse_conversations(messages)
        ]
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a conversation, ready for the assistant's turn.

        Raises:
            RequestError: the messages are no conversation, or the model has no chat template.
        """
        return encode_chat(self.tokenizer, parse_conversation(messages))

    def stream(
        self, prompt: Prompt, sampling_params: SamplingParams | None = None
    ) -> Iterator[StreamEvent]:
        """Complete one prompt and yield what each step adds.

        Leaving the loop early, or closing the iterator, aborts the request: its completions then
        have the finish reason "abort".

        Raises:
            RequestError: as in `generate`.
            FairdraftError: the request ended with this, behind the events before it.
        """
        call = self.call([prompt], sampling_params)

        def events() -> Iterator[StreamEvent]:
            steps: SimpleQueue[StepOutput] = SimpleQueue()
            with call.running(steps.put):
                while not call.finished:
                    yield call.next_event(steps.get())

        return events()

    def call(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None,
    ) -> Call:
        """Check prompts and make a call of them, which is not begun.

        Raises:
            ProcessError: this is not the process that loaded the model.
        """
        self.require_own_process()
        each = parse_prompts(prompts)
        call = Call(self.router)
        for prompt, params in zip(each, parse_params(sampling_params, len(each)), strict=True):
            self._add(call, prompt, params)
        return call

    def _add(self, call: Call, prompt: PromptInput, params: SamplingParams) -> None:
        token_ids = encode(self.tokenizer, prompt)
        number = next(self._numbers)
        output = RequestOutput(str(number), prompt.text, token_ids, [])
        for i in range(params.n):
            request_id = str(number) if params.n == 1 else f"{number}-{i}"
            seed = params.seed
            if seed is not None and params.n > 1:
                seed = derive_seed(seed, Purpose.COMPLETION, i)
            request = self.engine.admission.make_request(
                token_ids, params, request_id, seed, prompt.cache_salt
            )
            lossless = self.engine.rule.lossless
            output.outputs.append(CompletionOutput(i, spec=request.counters, lossless=lossless))
            call.add(request, output, output.outputs[-1])
        call.outputs.append(output)


class AsyncLLM(ProcessBound):
    """An `LLM` for asyncio: `async for event in llm.generate(prompt)`.

    Any number of tasks may use it at once, and threads may use `llm` beside them: one thread of the
    engine steps for all.

    Args:
        model, options: as for `LLM`.

    Attributes:
        llm: the `LLM` behind it.
    """

    def __init__(self, model: str, **options: Any) -> None:
        self.llm = LLM(model, **options)

    @classmethod
    def of(cls, llm: LLM) -> AsyncLLM:
        """Make an asynchronous front of an `LLM` that is loaded."""
        front = cls.__new__(cls)
        front.llm = llm
        return front

    async def generate(
        self, prompt: Prompt, sampling_params: SamplingParams | None = None
    ) -> AsyncIterator[StreamEvent]:
        """Complete one prompt and yield what each step adds; leaving the loop aborts the request.

        Args and errors are those of `LLM.stream`.
        """
        call = self.llm.call([prompt], sampling_params)
        loop = asyncio.get_running_loop()
        steps: asyncio.Queue[StepOutput] = asyncio.Queue()

        def put(step: StepOutput) -> None:  # in the engine's thread
            loop.call_soon_threadsafe(steps.put_nowait, step)

        with call.running(put, wait=False):
            while not call.finished:
                yield call.next_event(await steps.get())

    def chat(
        self, messages: Sequence[Message], sampling_params: SamplingParams | None = None
    ) -> AsyncIterator[StreamEvent]:
        """Answer one conversation as `generate` does, through the model's chat template."""
        prompt: Prompt = {"prompt_token_ids": self.llm.encode_chat(messages)}
        return self.generate(prompt, sampling_params)

    def close(self) -> None:
        """Close the `LLM` behind it."""
        self.llm.close()
