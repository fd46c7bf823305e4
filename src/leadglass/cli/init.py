"""``leadglass init``: everything that a node needs before it can serve."""

from leadglass.app import Initialised, Layout, Node
from leadglass.cli.answers import Answer
from leadglass.cli.certificates import root_sha256
from leadglass.cli.session import Session
from leadglass.config import Config, write_default


def initialise(config: Config) -> Initialised:
    """Make what is missing, the commented settings file too."""
    made = Node.init(config)
    write_default(config.home)
    return made


def run(session: Session) -> Answer:
    """Make the data folder."""
    config = session.config
    made = initialise(config)
    authority = Layout(made.home).authority / "ca.pem"
    root = root_sha256(authority)
    lines = [
        f"{'made' if made.created else 'was there already'}: {made.home}",
        f"master key: {made.master_key}: back it up, apart from the data folder",
        f"certificate authority: {authority}, root SHA-256 {root}",
    ]
    if made.one_time_secret:
        lines.append(
            f"administrator: {made.administrator}, one-time secret "
            f"{made.one_time_secret} (shown this once)"
        )
    lines.append("next: leadglass serve")
    return Answer(
        data={
            "created": made.created,
            "home": str(made.home),
            "master_key": made.master_key,
            "administrator": made.administrator,
            "one_time_secret": made.one_time_secret,
            "ae_title": config.node.ae_title,
            "root_sha256": root,
            "ca_file": str(authority),
        },
        text=tuple(lines),
    )
