"""The command `appliance`. Each verb calls one function of one room, which is imported only then.

Facts go to standard output, everything else to standard error. Exit codes and every field of `--json` are a contract:
docs/reference/cli.md.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from appliance import __version__, clock, logs, supervise
from appliance import config as configuration
from appliance.errors import ApplianceError, ConfigError, MissingPackagesError, UsageError

CONFIG: Final = Path("/etc/appliance/appliance.toml")
_Run = Callable[[configuration.UnitConfig, threading.Event], None]
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; docs/reference/cli.md.")


# Each process of a unit: the module with its `run(config, stop)`, and what it does.
_PROCESSES: Final = {
    "receive": (
        "appliance.store_forward.receive",
        "Run the DICOM listener that modalities send to.",
    ),
    "compress": (
        "appliance.store_forward.packing",
        "Run the packer: lossless, byte-exact, sandboxed.",
    ),
    "forward": (
        "appliance.store_forward.forward",
        "Run the sender to the hub.",
    ),
    "web": ("appliance.webui.server", "Run the radiographer's page."),
    "tunnel": ("appliance.store_forward.tunnel", "Look after the tunnel to the hub, when [tunnel] is configured."),
}

# Groups of verbs that are loaded when they are asked for: a unit has no packages of the hub.
_LAZY: Final = {
    "courier": ("appliance.courier_verbs", "Studies on a USB stick: export, receipts."),
    "clock": ("appliance.clock_verbs", "The time that this box keeps for its next start."),
    "hub": ("appliance.hub.commands", "The hub: run it; its sites and studies."),
    "link": ("appliance.link_verbs", "How the line may be used: show, pause, resume."),
    "send": ("appliance.send_verb", "Send DICOM files as a modality does."),
    "user": ("appliance.user_verbs", "The logins of the page: add, list, disable, enable, pin."),
}


class Root(click.Group):
    """Shows our errors as id, what happened, and what to do; loads groups of verbs only when they are asked for."""

    order: Final = [
        "init",
        "run",
        *_PROCESSES,
        "hub",
        "send",
        "status",
        "doctor",
        "link",
        "courier",
        "clock",
        "user",
        "completion",
    ]

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return self.order

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return _load_group(name) if name in _LAZY else super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._meaning(ctx, name)) for name in self.order]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _meaning(self, ctx: click.Context, name: str) -> str:
        command = super().get_command(ctx, name)
        return command.get_short_help_str(80) if command else _LAZY[name][1]

    def invoke(self, ctx: click.Context) -> Any:
        if "NO_COLOR" in os.environ:
            ctx.color = False
        try:
            return super().invoke(ctx)
        except ApplianceError as error:
            click.echo(click.style(f"appliance: {error.id}: {error.message}", fg="red"), err=True)
            if error.hint:
                click.echo(f"  What to do: {error.hint}", err=True)
            ctx.exit(error.exit_code)


def _load_group(name: str) -> click.Command:
    try:
        group: click.Command = getattr(import_module(_LAZY[name][0]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "appliance":
            raise
        raise MissingPackagesError(f"{name} needs the package {error.name}, which is not installed here") from error
    return group


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="appliance")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="APPLIANCE_CONFIG",
    default=CONFIG,
    show_default=True,
    help="Configuration file of this unit or hub; also APPLIANCE_CONFIG.",
)
@click.pass_context
def cli(ctx: click.Context, config_path: Path) -> None:
    """Edge gateway for teleradiology: takes every study from the modality, loses none, brings it to the hub."""
    ctx.obj = config_path


@cli.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--role", type=click.Choice(["unit", "hub"]), default="unit", show_default=True)
@click.option("--data", help="Directory of everything it keeps.")
@click.option("--site-id", help="Short name that the hub knows this site by. Unit only.")
@click.option("--site-name", help="Name as people say it. Unit only.")
@click.option("--hub-url", help="Base URL of the hub on its tunnel address. Unit only.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other key, e.g. web.port=8081.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def init(path: Path, role: str, settings: tuple[str, ...], force: bool, **named: str | None) -> None:
    """Write a configuration file with every key explained."""
    from appliance import provision

    values = provision.values_of(role, named, settings)
    provision.write_config(path, role, values, force=force)
    click.echo(f"{path} is written. Read it, change what differs here, then:", err=True)
    for line in provision.next_steps(role, path):
        click.echo(f"  {line}", err=True)


def _process(name: str) -> click.Command:
    """The verb that runs one process of the unit until SIGTERM or SIGINT."""
    module, meaning = _PROCESSES[name]

    @click.pass_obj
    def verb(config_path: Path) -> None:
        config = _load_unit(config_path)
        logs.configure(name)
        stop = _stop_on_signals()
        threading.Thread(target=supervise.announce, args=(config.data, name, stop), daemon=True).start()
        run: _Run = import_module(module).run
        run(config, stop)

    return click.Command(name, callback=verb, help=meaning)


def _load_unit(path: Path) -> configuration.UnitConfig:
    """The configuration; its data directory is made when it is not there."""
    config = configuration.load_unit(path)
    try:
        config.data.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        hint = f"Make it, owned by the user that runs appliance: install -d -m 750 -o USER {config.data}"
        raise ConfigError(f"storage.data: {config.data} can't be made: {error.strerror}", hint=hint) from error
    return config


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


for _name in _PROCESSES:
    cli.add_command(_process(_name))


@cli.command()
@click.pass_obj
def run(config_path: Path) -> None:
    """Run all processes of a unit, and keep them running.

    Four, and `tunnel` when [tunnel] is configured.
    """
    config = _load_unit(config_path)
    click.echo(f"unit {config.site.id}: DICOM {config.dicom.ae_title} on {config.dicom.bind}:{config.dicom.port}")
    click.echo(f"page: http://{config.web.bind}:{config.web.port}/")
    supervise.run(config, supervise.command_of(config_path), _stop_on_signals(), click.echo)


@cli.command()
@_as_json
@click.pass_obj
def status(config_path: Path, as_json: bool) -> None:
    """Print what is here, on its way, and how the line is."""
    from appliance.store_forward.status import read_status
    from appliance.words import status_lines

    config = configuration.load_unit(config_path)
    facts = read_status(config, clock.now_ms())
    if as_json:
        _print_json(facts)
        return
    for line in status_lines(facts, config):
        click.echo(line)


@cli.command()
@_as_json
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this unit: what is wrong, since when, what to do.

    Exit code 0: all is well. 1: a warning. 2: something fails.
    """
    from appliance.store_forward.doctor import examine, exit_code
    from appliance.words import check_lines

    now = clock.now_ms()
    checks = examine(ctx.obj, now)
    if as_json:
        _print_json({"at": now, "exit_code": exit_code(checks), "checks": checks})
    else:
        for line in check_lines(checks, now):
            click.echo(line)
    ctx.exit(exit_code(checks))


def _print_json(facts: object) -> None:
    click.echo(msgspec.json.encode(facts).decode())


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(appliance completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"There is no completion for {shell}")
    click.echo(kind(cli, {}, "appliance", "_APPLIANCE_COMPLETE").source())


def main() -> None:
    """Entry point of the console script."""
    logs.guard()
    cli(prog_name="appliance")


if __name__ == "__main__":
    main()
