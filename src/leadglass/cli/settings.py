"""``leadglass settings``: every setting, from the fields that define it."""

from typing import Any

from leadglass.cli.answers import Answer, indented
from leadglass.cli.session import Session
from leadglass.config import Config, Setting, default_text, settings, toml_value


def run(session: Session) -> Answer:
    """Show them, or the settings file with all defaults."""
    if session.arguments.file and not session.as_json:
        return Answer(data={}, text=tuple(default_text().splitlines()))
    config = session.config
    text: list[str] = []
    for each in settings():
        value = toml_value(config.value(each))
        origin = config.origins.get(each.name, "default")
        text += [
            f"{each.name} = {value}  ({origin})",
            *indented((each.help, _range(each))),
        ]
    return Answer(
        data={"settings": [_item(each, config) for each in settings()]},
        text=tuple(text),
    )


def _range(setting: Setting) -> str:
    words = [f"{setting.type_name}, default {setting.default_toml}"]
    if setting.choices:
        words.append(f"one of {', '.join(setting.choices)}")
    elif setting.low is not None and setting.high is not None:
        words.append(f"{setting.low:.15g} to {setting.high:.15g}")
    return f"{', '.join(words)}; {setting.environment}"


def _item(setting: Setting, config: Config) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": config.value(setting),
        "origin": config.origins.get(setting.name, "default"),
        "default": setting.default,
        "type": setting.type_name,
        "unit": setting.unit,
        "low": setting.low,
        "high": setting.high,
        "choices": list(setting.choices),
        "environment": setting.environment,
        "is_unsafe": setting.is_unsafe,
        "help": setting.help,
    }
