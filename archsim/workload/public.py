"""Public traces by name: where they lie, how large they are, and a download that believes nothing unchecked.

A file is fetched over https alone, redirections included, up to a size; it is written where it has the schema and the
number of requests that its publisher states. Addresses name a commit, so that they mean the same file for ever.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsim.errors import ArchsimError, InputError, Problem, did_you_mean
from archsim.files import digest_of, write_atomically
from archsim.workload.text_rows import text_rows

__all__ = ["PUBLIC", "Public", "download", "fetched", "public_trace"]

_AZURE = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/b469a113cedca53ddc3bdea71a143dc4b7d8700c/data"
_MOONCAKE = (
    "https://raw.githubusercontent.com/kvcache-ai/Mooncake/3b5a594133958449a1feaf1c9e0fc1b553e34a28/FAST25-release"
)
_MIB = 2**20
_WAIT_S = 30


@dataclass(frozen=True, slots=True)
class Public:
    """A published trace."""

    url: str
    schema: str
    """Name of its `Schema`."""
    requests: int
    """As its publisher states."""
    most_bytes: int
    licence: str
    suffix: str


PUBLIC: Mapping[str, Public] = {
    "azure-2023-conv": Public(
        f"{_AZURE}/AzureLLMInferenceTrace_conv.csv", "azure", 19_366, 8 * _MIB, "CC-BY-4.0", ".csv"
    ),
    "azure-2023-code": Public(
        f"{_AZURE}/AzureLLMInferenceTrace_code.csv", "azure", 8_819, 8 * _MIB, "CC-BY-4.0", ".csv"
    ),
    "mooncake-conversation": Public(
        f"{_MOONCAKE}/traces/conversation_trace.jsonl", "mooncake", 12_031, 32 * _MIB, "Apache-2.0", ".jsonl"
    ),
    "mooncake-toolagent": Public(
        f"{_MOONCAKE}/traces/toolagent_trace.jsonl", "mooncake", 23_608, 64 * _MIB, "Apache-2.0", ".jsonl"
    ),
    "mooncake-synthetic": Public(
        f"{_MOONCAKE}/traces/synthetic_trace.jsonl", "mooncake", 3_993, 32 * _MIB, "Apache-2.0", ".jsonl"
    ),
}
"""Traces by name. Numbers of requests: Patel et al., Splitwise, ISCA 2024; Qin et al., Mooncake, FAST 2025."""

Fetch = Callable[[str, int], bytes]
"""(address, most bytes) -> content."""


def public_trace(name: str, table: Mapping[str, Public] = PUBLIC) -> Public:
    """Return the published trace *name*; raise `InputError` with the known ones."""
    if name not in table:
        expected = f"one of {', '.join(table)}{did_you_mean(name, table)}"
        raise InputError(Problem("", "public trace", name, expected))
    return table[name]


def download(trace: Public, path: Path, *, fetch: Fetch | None = None) -> str:
    """Write *trace* to *path*, which must not exist, and return the digest of its content.

    Raises `InputError` for an existing file; `ArchsimError` where there is no network, and where what came is too
    large, no such trace, or of another number of requests.
    """
    if path.exists() or path.is_symlink():
        raise InputError(Problem(str(path), "", "", "a file that does not exist yet"))
    content = (fetched if fetch is None else fetch)(trace.url, trace.most_bytes)
    try:
        text = content.decode()
        schema, _, places, _ = text_rows(Path(trace.url), iter(enumerate(text.splitlines(), 1)))
        count = sum(1 for _ in places)
    except (InputError, UnicodeDecodeError) as error:
        raise ArchsimError(f"{trace.url} is no trace of the schema {trace.schema}: {error}") from None
    if schema.name != trace.schema:
        raise ArchsimError(f"{trace.url} has the schema {schema.name}, not {trace.schema}: nothing is written")
    if count != trace.requests:
        raise ArchsimError(f"{trace.url} has {count:,} requests, not {trace.requests:,}: nothing is written")
    write_atomically(path, content)
    return digest_of(content)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection where its address is one that may be asked."""

    def __init__(self, allowed: Callable[[str], None]) -> None:
        self._allowed = allowed

    def redirect_request(  # the library's signature
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            self._allowed(newurl)
        except ArchsimError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetched(url: str, most_bytes: int, *, schemes: tuple[str, ...] = ("https",)) -> bytes:
    """Return what *url* holds. Raises `ArchsimError` where it cannot be reached or goes beyond *most_bytes*."""

    def allowed(address: str) -> None:
        if not address.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ArchsimError(f"{address[:200]} is not {' or '.join(schemes)}: nothing is fetched from there")

    allowed(url)
    try:
        with urllib.request.build_opener(_Redirects(allowed)).open(url, timeout=_WAIT_S) as answer:
            content: bytes = answer.read(most_bytes + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ArchsimError(f"{url} answers {error.code} {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ArchsimError(f"{url} cannot be reached; is there a network? ({reason})") from None
    if len(content) > most_bytes:
        raise ArchsimError(f"{url} goes on beyond {most_bytes:,} bytes: nothing is written")
    return content
