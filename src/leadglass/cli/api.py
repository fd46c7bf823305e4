"""``leadglass api``: what HTTPS offers, as programs read it."""

import json

from leadglass import __version__
from leadglass.app import Node, web_routes
from leadglass.archive.doors import Knocks
from leadglass.cli.answers import Answer
from leadglass.cli.session import Session
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.api.openapi import document


def run(session: Session) -> Answer:
    """Describe the routes of this node; nothing is served for it."""
    with (
        Node.open(session.config) as node,
        Transcoder() as transcoder,
    ):
        routes = web_routes(node, transcoder, Knocks(node.parts))
        told = document(routes, __version__)
    return Answer(data=told, text=(json.dumps(told, indent=2),))
