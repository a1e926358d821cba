"""A small store that speaks as much of S3 as listing and reading take, and cuts connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "photos"


class Store(ThreadingHTTPServer):
    """Objects by key; of those in `cuts` so many answers end in the middle."""

    daemon_threads = True

    def __init__(self, objects: dict[str, bytes], cuts: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.objects, self.cuts, self.asked = objects, cuts, []
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._object(body=False)

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        key = unquote(split.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if key:
            self._object(body=True)
        else:
            self._list(parse_qs(split.query, keep_blank_values=True))

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        contents, folders = [], set()
        for key in sorted(self.server.objects):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                contents.append(key)
        said = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size>"
            '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"x"</ETag>'
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in contents
        ) + "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(folders)
        )
        self._send(
            200,
            (
                '<?xml version="1.0"?><ListBucketResult '
                'xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>1000</MaxKeys>"
                f"<KeyCount>{len(contents) + len(folders)}</KeyCount>"
                f"<IsTruncated>false</IsTruncated>{said}</ListBucketResult>"
            ).encode(),
            {"Content-Type": "application/xml"},
        )

    def _object(self, *, body: bool) -> None:
        key = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")
        data = self.server.objects.get(key)
        if data is None:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {}, body=body)
            return
        status, headers = 200, {"ETag": '"x"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        asked = self.headers.get("Range")
        if asked:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            stop = int(end) + 1 if end else len(data)
            headers["Content-Range"] = f"bytes {begin}-{stop - 1}/{len(data)}"
            data, status = data[int(begin) : stop], 206
        with self.server.lock:
            self.server.asked.append(key)
            cut = body and self.server.cuts.get(key, 0) > 0
            if cut:
                self.server.cuts[key] -= 1
        self._send(status, data, headers, body=body, cut=cut)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], *, body: bool = True,
        cut: bool = False,
    ) -> None:  # fmt: skip
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self.close_connection = True


@contextmanager
def serving(objects: dict[str, bytes], cuts: dict[str, int] | None = None) -> Iterator[Store]:
    """A store that runs in this process."""
    store = Store(objects, dict(cuts or {}))
    thread = threading.Thread(target=store.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.shutdown()
        store.server_close()
        thread.join()
