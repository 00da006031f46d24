"""The requests of one call, and the outputs that they fill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fairdraft.engine.router import Router, Sink
from fairdraft.engine.step_output import StepOutput
from fairdraft.errors import FairdraftError, GenerationError
from fairdraft.outputs import CompletionOutput, RequestOutput, StreamEvent
from fairdraft.request import Request


class Call:
    """What one caller asked for at once.

    Args:
        router: runs the requests.

    Attributes:
        requests: one per completion.
        outputs: one per prompt, filled by `apply`.
    """

    def __init__(self, router: Router) -> None:
        self.router = router
        self.requests: list[Request] = []
        self.outputs: list[RequestOutput] = []
        self._owners: dict[str, tuple[RequestOutput, CompletionOutput]] = {}

    def add(self, request: Request, output: RequestOutput, completion: CompletionOutput) -> None:
        """Let a request fill a completion of an output."""
        self.requests.append(request)
        self._owners[request.request_id] = output, completion

    @property
    def finished(self) -> bool:
        """Whether every completion has ended, as far as was applied."""
        return all(output.finished for output in self.outputs)

    @contextmanager
    def running(self, sink: Sink, wait: bool = True) -> Iterator[None]:
        """Begin the requests, and abort those that have not ended when the caller leaves.

        Args:
            sink: gets their outputs, in the engine's thread.
            wait: for the blocks of aborted requests to be given back.
        """
        self.router.submit(self.requests, sink)
        try:
            yield
        finally:
            left = [name for name, (_, c) in self._owners.items() if c.finish_reason is None]
            self.router.abort(left, wait)
            for name in left:
                self._owners[name][1].finish_reason = "abort"

    def apply(self, step: StepOutput) -> StreamEvent:
        """Add what a step gave one of the requests to its completion."""
        output, completion = self._owners[step.request.request_id]
        completion.text += step.text
        completion.token_ids.extend(step.token_ids)
        completion.finish_reason = step.finish_reason
        completion.stop_reason = step.stop_reason
        completion.error = step.error
        output.num_cached_tokens = step.request.num_cached_tokens
        if step.logprobs is not None:
            completion.logprobs = (completion.logprobs or []) + step.logprobs
        nodes = [*step.path, *(n for n in range(len(step.draft)) if n not in step.path)]
        return StreamEvent(
            output,
            completion.index,
            step.text,
            step.token_ids,
            tuple(step.draft.token_ids[node] for node in nodes),
            len(step.path),
        )

    def next_event(self, step: StepOutput) -> StreamEvent:
        """Apply a step.

        Raises:
            FairdraftError: what the request ended with.
        """
        event = self.apply(step)
        if step.error is not None:
            raise step.error
        return event

    def raise_errors(self) -> None:
        """Raise `GenerationError` if a completion ended with an error."""
        errors: list[tuple[str, FairdraftError]] = [
            (output.request_id, completion.error)
            for output in self.outputs
            for completion in output.outputs
            if completion.error is not None
        ]
        if errors:
            name, first = errors[0]
            raise GenerationError(
                f"{len(errors)} of {len(self.requests)} completions ended with an error, the first "
                f"one (request {name}) with this: {first}. What the others gained is in the "
                "`outputs` of this exception",
                self.outputs,
            ) from first
