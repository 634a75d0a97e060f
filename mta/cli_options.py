"""Options that several commands share."""

import click

CONFIG_FILE = "/etc/mta/mta.toml"

config_option = click.option(
    "-c",
    "--config",
    "config_file",
    default=CONFIG_FILE,
    envvar="MTA_CONFIG",
    show_default=True,
    show_envvar=True,
    metavar="FILE",
    help="The configuration file.",
)
