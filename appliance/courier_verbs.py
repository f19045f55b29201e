"""`appliance courier …`: studies on a USB stick when the line is dead: write it, take the hub's receipts from it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

from appliance import clock
from appliance.audit.person import person
from appliance.config import UnitConfig, load_unit, read_secret
from appliance.courier import keyfile, listing
from appliance.courier.cipher import check_public, public_of
from appliance.courier.export import Exporter, Sender
from appliance.courier.faults import CourierKeyError, StickRefusedError
from appliance.courier.plan import Fit, Item
from appliance.courier.seal import SEALED_MAX, digest_of_secret
from appliance.courier.stick import RECEIPTS, Stick, translated
from appliance.errors import UsageError
from appliance.model.priority import Priority
from appliance.store_forward.courier_queue import CourierQueue, Load, Taken
from appliance.terminal import size, table

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")
_directory = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
_WORDS: Final = [priority.word for priority in Priority]
_LEFT: Final = 1  # exit code when not everything that waits is on the stick


class PriorityShare(msgspec.Struct, frozen=True, kw_only=True):
    """What of one priority is on the stick, is to be written, and has no room. Counts are of parcels."""

    priority: str
    studies: int
    on_stick: int
    to_write: int
    no_room: int
    bytes: int  # of all three


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What `appliance courier export --json` prints. Bytes are of parcels, before encryption."""

    site: str
    directory: str
    dry_run: bool
    at: int  # Unix ms
    hub_key: str
    waiting: int  # parcels that the hub has not verified
    waiting_bytes: int
    written: int  # by this run
    written_bytes: int
    already: int  # that an earlier run wrote
    removed: int  # that the hub has meanwhile
    no_room: int
    no_room_bytes: int
    unreadable: int  # whose files at this unit are gone or damaged
    on_stick: int  # all that the list names
    on_stick_bytes: int
    unpacked_instances: int  # that wait to be packed, and so can't be carried yet
    unpacked_bytes: int
    priorities: tuple[PriorityShare, ...]


@click.group()
def courier() -> None:
    """Studies on a USB stick, when the line is dead: export, receipts."""


@courier.command()
@_directory
@click.option("--study", metavar="UID", help="Only the study with this Study Instance UID.")
@click.option("--priority", "words", multiple=True, type=click.Choice(_WORDS), help="Only these; may be given again.")
@click.option("--max-bytes", type=click.IntRange(min=1), help="At most so many bytes of parcels on the stick.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written; change nothing.")
@click.option("--same-disk", is_flag=True, help="DIRECTORY may be on this box's own disk.")
@_as_json
@click.pass_obj
def export(
    config_path: Path,
    directory: Path,
    study: str | None,
    words: Sequence[str],
    max_bytes: int | None,
    dry_run: bool,
    same_disk: bool,
    as_json: bool,
) -> None:
    """Write what waits for the line onto the stick that is mounted at DIRECTORY, encrypted to the hub.

    Run it again on the same stick: it writes only what is missing. Sending over the line goes on meanwhile; nothing is
    delivered but by a receipt of the hub. It packs nothing itself.

    Exit code 0: all that waits, of the choice, is on the stick. 1: some is not (no room, or unreadable here).
    """
    config = load_unit(config_path)
    sender = _sender(config)
    _check_disk(config, directory, same_disk)
    priorities = [Priority.from_word(word) for word in words] or list(Priority)
    with _queue(config) as queue, Stick(directory, config.site.id, make=not dry_run) as stick:
        if not dry_run:
            stick.lock()
        load = queue.load(study, priorities)
        exporter = Exporter(stick, sender, load.studies, queue.spent)
        fit, now = exporter.look(load.items, max_bytes), clock.now_ms()
        if not dry_run:
            _write(exporter, queue, fit, now)
    facts = _facts(config, directory, exporter, load, fit, now, dry_run=dry_run)
    _tell(facts, as_json=as_json)
    if facts.no_room or facts.unreadable:
        click.get_current_context().exit(_LEFT)


def _sender(config: UnitConfig) -> Sender:
    """Raises ConfigError, CourierKeyError."""
    secret = read_secret(config)
    if not config.courier.hub_key:
        raise CourierKeyError("[courier] hub_key is not set: nobody could read the stick")
    check_public(config.courier.hub_key)
    own = keyfile.keys_of(config.data / keyfile.FILE_NAME)
    return Sender(
        site=config.site.id,
        secret_digest=digest_of_secret(secret),
        hub_key=config.courier.hub_key,
        reply_to=public_of(own[0]),
    )


def _check_disk(config: UnitConfig, directory: Path, same_disk: bool) -> None:
    """A stick that is not mounted leaves its directory behind, and the box's own disk would be filled."""
    with translated():
        same = directory.stat().st_dev == config.data.stat().st_dev
    if same and not same_disk:
        hint = "Mount the stick, or add --same-disk if you mean a directory of this disk."
        raise UsageError(f"{directory} is on this box's own disk: is the stick mounted?", hint=hint)


@contextmanager
def _queue(config: UnitConfig) -> Iterator[CourierQueue]:
    queue = CourierQueue(config)
    try:
        yield queue
    finally:
        queue.close()


def _write(exporter: Exporter, queue: CourierQueue, fit: Fit, now: int) -> None:
    """The trail has what was written also when the stick is torn out in the middle."""
    done = exporter.done
    _warn_of_key(exporter.sender.hub_key, queue.hub_key())
    total = 2 * sum(item.bytes for item in fit.take) + sum(item.bytes for item in fit.there)
    try:
        with click.progressbar(length=total, label="Writing and reading back", file=sys.stderr) as bar:
            exporter.write(fit, now, bar.update)
    finally:
        parcels, bytes_ = exporter.on_stick
        detail = f"{done.written} parcels written, {parcels} on the stick"
        queue.note_export(person(), parcels, bytes_, detail, now)


def _warn_of_key(pinned: str, said: str) -> None:
    if said and said != pinned:
        click.echo(
            click.style("The hub says that its key is another one than [courier] hub_key:", fg="yellow")
            + f"\n  hub:    {said}\n  pinned: {pinned}\n"
            "The pinned one is used. Ask the hub which one is right (`appliance hub courier key`).",
            err=True,
        )


def _facts(
    config: UnitConfig, directory: Path, exporter: Exporter, load: Load, fit: Fit, now: int, *, dry_run: bool
) -> Exported:
    done, (parcels, bytes_) = exporter.done, exporter.on_stick
    return Exported(
        site=config.site.id,
        directory=str(directory),
        dry_run=dry_run,
        at=now,
        hub_key=config.courier.hub_key,
        waiting=len(load.items),
        waiting_bytes=_bytes(load.items),
        written=done.written,
        written_bytes=done.written_bytes,
        already=len(fit.there),
        removed=done.removed,
        no_room=len(fit.leave),
        no_room_bytes=_bytes(fit.leave),
        unreadable=done.unreadable,
        on_stick=parcels,
        on_stick_bytes=bytes_,
        unpacked_instances=load.unpacked_instances,
        unpacked_bytes=load.unpacked_bytes,
        priorities=tuple(share for priority in Priority if (share := _share(priority, load, fit))),
    )


def _share(priority: Priority, load: Load, fit: Fit) -> PriorityShare | None:
    def of(items: Sequence[Item]) -> list[Item]:
        return [item for item in items if item.priority is priority]

    items = of(load.items)
    if not items:
        return None
    return PriorityShare(
        priority=priority.word,
        studies=len({item.study for item in items}),
        on_stick=len(of(fit.there)),
        to_write=len(of(fit.take)),
        no_room=len(of(fit.leave)),
        bytes=_bytes(items),
    )


def _bytes(items: Sequence[Item]) -> int:
    return sum(item.bytes for item in items)


def _tell(facts: Exported, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(facts).decode())
        return
    if facts.priorities:
        head = ("priority", "studies", "there before", "to write" if facts.dry_run else "new", "no room", "size")
        rows = [
            (s.priority, str(s.studies), str(s.on_stick), str(s.to_write), str(s.no_room), size(s.bytes))
            for s in facts.priorities
        ]
        click.echo(table(head, rows, right=frozenset(range(1, 6))))
    for line in _sentences(facts):
        click.echo(line)


def _sentences(facts: Exported) -> Iterator[str]:
    if not facts.waiting:
        yield "Nothing that is packed waits for the line."
    elif facts.dry_run:
        yield "Nothing was written: --dry-run."
    if facts.no_room:
        yield f"No room for {facts.no_room} parcels ({size(facts.no_room_bytes)}): take another stick for them."
    if facts.unreadable:
        yield f"{facts.unreadable} parcels can't be read here; they are packed anew by themselves. Run it again later."
    if facts.unpacked_instances:
        yield (
            f"{facts.unpacked_instances} images ({size(facts.unpacked_bytes)}) wait to be packed and can't be carried"
            " yet. Run it again later."
        )
    if not facts.dry_run:
        whole = f"{facts.on_stick} parcels, {size(facts.on_stick_bytes)}"
        yield f"On the stick: {whole}. Unmount it, then bring it to the hub."


@courier.command()
@_directory
@_as_json
@click.pass_obj
def receipts(config_path: Path, directory: Path, as_json: bool) -> None:
    """Take the hub's receipts from the stick that is mounted at DIRECTORY, and mark as delivered what they prove."""
    config = load_unit(config_path)
    digest = digest_of_secret(read_secret(config))
    with Stick(directory, config.site.id) as stick:
        content = stick.read(RECEIPTS, SEALED_MAX)
    if content is None:
        hint = "The hub writes them with `appliance hub courier import`, once it has checked what is on the stick."
        raise StickRefusedError(f"There are no receipts for {config.site.id} on this stick", hint=hint)
    try:
        own = keyfile.read_keys(config.data / keyfile.FILE_NAME)
    except FileNotFoundError as error:
        raise CourierKeyError("This unit has written no stick, so no receipts can be for it", hint=_ANOTHER) from error
    cover, found = listing.read_receipts(content, site=config.site.id, secret_digest=digest, secrets=own)
    with _queue(config) as queue:
        taken = queue.take(found.verdicts, person(), clock.now_ms())
    _tell_taken(taken, cover.at, as_json=as_json)


_ANOTHER: Final = "Was this box replaced? Then the hub tells the new one what it has when the line is back."


def _tell_taken(taken: Taken, written_at: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"written_at": written_at, **msgspec.structs.asdict(taken)}).decode())
        return
    click.echo(f"{taken.delivered} parcels with {taken.instances} images are verified at the hub.")
    sentences = (
        (taken.refused, "parcels could not be used by the hub; they are packed anew or sent again by themselves."),
        (taken.known, "were known to be settled before."),
        (taken.unknown, "are of another unit of this site."),
    )
    for count, what in sentences:
        if count:
            click.echo(f"{count} {what}")
