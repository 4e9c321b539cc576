"""``lb send DESTINATION [FILE|-]``: any message to a destination at a broker, through the logger.

What is printed is the message's id, by which receivers know it however often it comes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lb.client.cli import SUCCESS, Surroundings
from lb.client.cli.numbers import decimal, whole
from lb.client.cli.output import write_json
from lb.client.cli.parser import Parser, add_connection, add_output, logger, open_client, readable
from lb.client.outgoing import BINARY, TEXT, new_message


def run(arguments: list[str], around: Surroundings) -> int:
    """Send a message; prints its id."""
    options = _parser(around).parse_args(arguments)
    body = _body(options.file)
    with open_client(options, around, logger=options.logger) as client:
        message = new_message(
            options.destination,
            body,
            now=time.time(),
            host=client.session.producer.settings.host,
            content_type=options.type or (TEXT if _is_text(body) else BINARY),
            headers=dict(options.header),
            persistent=not options.transient,
            lifetime=options.expires,
            priority=options.priority,
            correlation_id=options.correlation_id,
            reply_to=options.reply_to,
            id=options.id,
            synchronous=options.sync,
        )
        client.send(message)
    if options.json:
        write_json(around.stdout, {"id": message.id, "destination": message.destination})
    else:
        around.stdout.write(f"{message.id}\n")
    return SUCCESS


def _parser(around: Surroundings) -> Parser:
    parser = Parser("send", "Send a message to a destination at a broker that the logger knows.", around)
    parser.add_argument("destination", metavar="DESTINATION", help="x-msg://BROKER/topic/NAME, /queue/NAME, …")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="the body (default: -, standard input)")
    parser.add_argument("--type", metavar="TYPE", help="content type (default: plain text for UTF-8, else bytes)")
    parser.add_argument(
        "--header", type=_header, metavar="NAME=VALUE", action="append", default=[], help="a header; may be repeated"
    )
    parser.add_argument(
        "--expires", type=decimal(0, 1e9, "seconds"), metavar="SECONDS", help="after which nobody wants it"
    )
    parser.add_argument("--transient", action="store_true", help="the broker need not keep it over its own restart")
    parser.add_argument("--priority", type=whole(0, 9), metavar="0-9", help="for brokers and queues that look at it")
    parser.add_argument("--correlation-id", metavar="TEXT", help="what it belongs to")
    parser.add_argument("--reply-to", metavar="DESTINATION", help="where answers are wanted")
    parser.add_argument("--id", metavar="TEXT", help="its id (default: a new one); the same for a message sent again")
    parser.add_argument("--sync", "-p", action="store_true", help="wait until the broker has it")
    parser.add_argument(
        "--logger", "-m", type=readable(logger), metavar="HOST[:PORT]", help="the logger (GLITE_WMS_LOG_DESTINATION)"
    )
    add_output(parser)
    add_connection(parser)
    return parser


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _body(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _is_text(body: bytes) -> bool:
    try:
        return b"\0" not in body and body.decode() is not None
    except UnicodeDecodeError:
        return False
