"""`appliance send`: a test modality. It stores DICOM files at a unit, as a scanner would."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from appliance.dimse.send import SendProgress, SendSummary, echo, send_files
from appliance.errors import UsageError
from appliance.terminal import bar, size

_FAILED = 4  # exit code: some of the files did not arrive


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the unit.")
@click.option("--port", type=click.IntRange(1, 65535), default=11112, show_default=True, help="Its DICOM port.")
@click.option("--called", default="APPLIANCE", show_default=True, help="AE title of the unit.")
@click.option("--calling", default="MODALITY", show_default=True, help="AE title that this modality goes by.")
@click.option("--tls", is_flag=True, help="DICOM TLS (PS3.15 B.12).")
@click.option("--ca", type=click.Path(path_type=Path, exists=True), help="PEM file of whom to trust, with --tls.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True), help="Our own PEM chain, with --tls.")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="Its private key, with --tls.")
@click.option("--echo", "only_echo", is_flag=True, help="Only ask whether it answers (C-ECHO); send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
@click.pass_context
def send(
    ctx: click.Context,
    paths: tuple[Path, ...],
    host: str,
    port: int,
    called: str,
    calling: str,
    tls: bool,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    only_echo: bool,
    as_json: bool,
) -> None:
    """Send DICOM files, or all files below directories, as a modality does.

    Exit code 0: every DICOM file was stored. 4: some were not. 5: nobody answered, or the association was refused.
    """
    context = _tls_context(ca, certificate, key) if tls else None
    if only_echo:
        seconds = echo(host=host, port=port, called_ae=called, calling_ae=calling, tls=context)
        _say({"echo_seconds": round(seconds, 6)}, f"{called} answers in {seconds * 1000:.0f} ms", as_json=as_json)
        return
    files = list(_files(paths))
    if not files:
        raise UsageError("There is nothing to send", hint="Name files, or directories that have some.")
    watched = not as_json and sys.stderr.isatty()
    summary = send_files(
        files,
        host=host,
        port=port,
        called_ae=called,
        calling_ae=calling,
        tls=context,
        on_progress=_show if watched else _show_nothing,
    )
    _say(_facts(summary), _sentences(summary), as_json=as_json)
    ctx.exit(_FAILED if summary.failed or not summary.sent else 0)


def _tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Trusts `ca` (or the system's authorities), and shows our certificate when there is one."""
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--ca, --certificate or --key can't be used: {error}") from error
    return context


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files named, and all below the directories named, in order of name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        else:
            yield path


def _show(progress: SendProgress) -> None:
    """One line on a terminal, drawn anew after each file."""
    share = progress.bytes / max(1, progress.bytes_total)
    rate = size(progress.bytes / max(progress.seconds, 0.001))
    text = f"Sending {bar(share)} {share:4.0%}  {progress.files} of {progress.files_total} files, {rate}/s"
    click.echo(f"\r{text:<78}", nl=progress.files == progress.files_total, err=True)


def _show_nothing(_progress: SendProgress) -> None:
    """For `--json`, and when nobody watches."""


def _facts(summary: SendSummary) -> dict[str, object]:
    return {
        "sent": summary.sent,
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 3),
        "failed": [{"file": str(path), "status": status} for path, status in summary.failed],
        "skipped": [str(path) for path in summary.skipped],
    }


def _sentences(summary: SendSummary) -> str:
    lines = [f"{summary.sent} stored, {size(summary.bytes)} in {summary.seconds:.1f} s"]
    lines += [f"not stored: {path} ({_status(status)})" for path, status in summary.failed]
    lines += [f"not DICOM:  {path}" for path in summary.skipped]
    return "\n".join(lines)


def _status(status: int | None) -> str:
    return "this kind or encoding is not accepted" if status is None else f"status {status:04X}"


def _say(facts: dict[str, object], words: str, *, as_json: bool) -> None:
    click.echo(msgspec.json.encode(facts).decode() if as_json else words)
