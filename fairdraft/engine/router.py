"""Requests of any number of callers on one engine: one thread steps it, each caller gets its own.

A caller subscribes with a sink per request and is handed every `StepOutput` of that request, in
order, whoever else uses the engine meanwhile. Requests and aborts wait in an inbox until the step
under way is over, so the engine is never touched in the middle of a step. The thread begins with
the first request and ends with the last; an interrupt (Ctrl-C) therefore ends a caller's waiting,
never a step.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from fairdraft.engine.engine import Engine
from fairdraft.engine.step_output import StepOutput
from fairdraft.errors import EngineError, FairdraftError, IntegrityError
from fairdraft.request import Request

Sink = Callable[[StepOutput], None]

_log = logging.getLogger("fairdraft")


class Router:
    """Steps an engine while it has requests, and delivers what each of them gains.

    Args:
        engine: only this router's thread touches it from now on.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._lock_holder: int | None = None  # the thread that is in `_locked`
        self._submitted: deque[tuple[Request, Sink]] = deque()
        self._aborted: deque[tuple[str, threading.Event | None]] = deque()
        self._sinks: dict[str, tuple[Request, Sink]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, requests: Sequence[Request], sink: Sink) -> None:
        """Queue requests together.

        Args:
            requests: from `Admission.make_request`, with ids that nobody else uses.
            sink: gets every output of each of them, the last one with a finish reason. The stepping
                thread calls it: it hands on, and does not work or wait.

        Raises:
            EngineError: the router was closed.
        """
        with self._locked():
            if self._closed:
                raise EngineError("the LLM was closed: load it again")
            self._submitted.extend((request, sink) for request in requests)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fairdraft-engine")
                self._thread.start()

    def abort(self, request_ids: Iterable[str], wait: bool = True) -> None:
        """End requests whose caller left; those that have ended are left alone.

        Args:
            request_ids: theirs. Their sinks are not called any more.
            wait: until their blocks are given back, which takes at most the step under way.
        """
        # No lock: a stream may be collected, and so aborted, while this very thread holds it.
        thread = self._thread
        done = threading.Event()
        left = [(request_id, done) for request_id in request_ids]
        if thread is None or not left:
            return
        self._aborted.extend(left)
        while wait and thread is not threading.current_thread() and thread.is_alive():
            if self._lock_holder == threading.get_ident() or done.wait(0.05):
                return

    def close(self) -> None:
        """Abort whatever runs, wait for the thread, and take nothing more; may be called twice."""
        with self._locked():
            self._closed = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            self._lock_holder = threading.get_ident()
            try:
                yield
            finally:
                self._lock_holder = None

    def _run(self) -> None:
        """Step until nothing is left to do or nobody is left to do it for."""
        wanted = True
        while wanted:
            try:
                wanted = self._take_in() and self._is_wanted()
                if wanted:
                    self._step()
            except BaseException:  # whatever it is, the other callers wait for this thread
                _log.exception("the engine failed between two steps")
        with self._locked():
            if self._thread is threading.current_thread():  # nobody has started another one
                self._thread = None
                for _, done in self._aborted:
                    if done is not None:
                        done.set()

    def _step(self) -> None:
        """Run a step and deliver what it gave, an error of the step's own included."""
        try:
            self._engine.step()
        except BaseException as error:  # its requests are told; a broken invariant is for us
            level = logging.ERROR if isinstance(error, IntegrityError) else logging.DEBUG
            _log.log(level, "a step failed", exc_info=error)
        for output in self._engine.outputs:
            self._deliver(output)

    def _is_wanted(self) -> bool:
        """Whether a thread lives that could wait for an answer; at a program's end none does."""
        if threading.main_thread().is_alive():
            return True
        others = (t for t in threading.enumerate() if t is not threading.current_thread())
        return any(thread.is_alive() and not thread.daemon for thread in others)

    def _take_in(self) -> bool:
        """Do what waits in the inbox.

        Returns:
            Whether there is anything to step for. If not, the thread must end: the next request
            starts another one.
        """
        while True:
            with self._locked():
                submitted = [self._submitted.popleft() for _ in range(len(self._submitted))]
                aborted = [self._aborted.popleft() for _ in range(len(self._aborted))]
                if not self._closed and not (submitted or aborted):
                    if not self._engine.has_unfinished_requests:
                        self._thread = None
                    return self._thread is not None
            for request, sink in submitted:
                self._admit(request, sink)
            self._forget(aborted)
            if self._closed:
                self._end_all()
                return False

    def _end_all(self) -> None:
        """Abort every request and tell whoever waits for it."""
        for request_id, (request, _) in list(self._sinks.items()):
            self._engine.abort(request_id)
            request.end("abort")
            self._deliver(StepOutput.of(request))

    def _admit(self, request: Request, sink: Sink) -> None:
        self._sinks[request.request_id] = request, sink
        try:
            self._engine.admit(request)
        except FairdraftError as error:
            request.end("error", error)
            self._deliver(StepOutput.of(request))

    def _forget(self, aborted: Sequence[tuple[str, threading.Event | None]]) -> None:
        """Abort requests and tell who waits for that."""
        try:
            for request_id, _ in aborted:
                self._sinks.pop(request_id, None)
                self._engine.abort(request_id)
        finally:
            for _, done in aborted:
                if done is not None:
                    done.set()

    def _deliver(self, output: StepOutput) -> None:
        """Hand an output to its request's sink; behind one that fails nobody is left."""
        request_id = output.request.request_id
        if request_id not in self._sinks:
            return
        _, sink = self._sinks[request_id]
        if output.finish_reason is not None:
            del self._sinks[request_id]
        try:
            sink(output)
        except Exception as error:
            _log.warning("request %s has lost its caller (%s) and is aborted", request_id, error)
            self._forget([(request_id, None)])
