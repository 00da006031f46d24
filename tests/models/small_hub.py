"""A hub on loopback that speaks as much of the Hugging Face hub's language as a download needs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """A model on the hub.

    Args:
        revisions: folders by branch or tag; "main" is the default.
        gated: nobody may fetch its files.
        broken: names of files whose next download breaks off after half of the bytes.
    """

    revisions: dict[str, Path]
    gated: bool = False
    broken: set[str] = field(default_factory=set)

    def folder(self, revision: str) -> Path | None:
        """The files of a branch, tag or commit; None if there is no such one."""
        for name, folder in self.revisions.items():
            if revision in (name, commit(folder)):
                return folder
        return None


def commit(folder: Path) -> str:
    """A commit hash that stands for a folder."""
    return hashlib.sha1(str(folder).encode()).hexdigest()


class SmallHub:
    """Serves repositories on a port of its own until `close`.

    `ranges` lists the files of which a part was asked for, each with its Range header.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.ranges: list[tuple[str, str]] = []
        self.closed = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                _answer(hub, self, body=True)

            def do_HEAD(self) -> None:
                _answer(hub, self, body=False)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening: connections are refused from now on, and open ones dropped."""
        self.closed = True
        self._server.shutdown()
        self._server.server_close()


def _answer(hub: SmallHub, handler: BaseHTTPRequestHandler, body: bool) -> None:
    if hub.closed:
        handler.close_connection = True
        return None
    path = unquote(urlsplit(handler.path).path)
    api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?/?", path)
    file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
    found = api or file
    repository = hub.repositories.get(found[1]) if found else None
    if found is None or repository is None:
        return _refuse(handler, 404, "RepoNotFound")
    folder = repository.folder((found[3] if api else found[2]) or "main")
    if folder is None:
        return _refuse(handler, 404, "RevisionNotFound")
    if api:
        names = sorted(each.name for each in folder.iterdir())
        if found[2] == "tree":
            entries = [
                {
                    "type": "file",
                    "path": n,
                    "size": (folder / n).stat().st_size,
                    "oid": etag(folder / n),
                }
                for n in names
            ]
            return _send(handler, json.dumps(entries).encode(), {}, body)
        info = {
            "id": found[1],
            "sha": commit(folder),
            "siblings": [{"rfilename": name} for name in names],
            "private": False,
            "gated": "manual" if repository.gated else False,
        }
        return _send(handler, json.dumps(info).encode(), {}, body)
    if repository.gated:
        return _refuse(handler, 403, "GatedRepo")
    if not (folder / found[3]).is_file():
        return _refuse(handler, 404, "EntryNotFound")
    return _send_file(hub, repository, handler, folder / found[3], body)


def _send_file(
    hub: SmallHub,
    repository: Repository,
    handler: BaseHTTPRequestHandler,
    path: Path,
    body: bool,
) -> None:
    content = path.read_bytes()
    headers = {"ETag": f'"{etag(path)}"', "X-Repo-Commit": commit(path.parent)}
    if body and path.name in repository.broken:
        repository.broken.discard(path.name)
        handler.send_response(200)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        handler.connection.close()
        handler.close_connection = True
        return None
    wanted = handler.headers.get("Range")
    if wanted is None:
        return _send(handler, content, headers, body)
    hub.ranges.append((path.name, wanted))
    first = int(wanted.removeprefix("bytes=").removesuffix("-"))
    headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    return _send(handler, content[first:], headers, body, status=206)


def _send(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    headers: dict[str, str],
    body: bool,
    status: int = 200,
) -> None:
    handler.send_response(status)
    for name, value in (headers | {"Content-Length": str(len(content))}).items():
        handler.send_header(name, value)
    handler.end_headers()
    if body:
        handler.wfile.write(content)


def _refuse(handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
    handler.send_response(status)
    handler.send_header("X-Error-Code", code)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def etag(path: Path) -> str:
    """What names a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
