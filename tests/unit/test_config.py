"""Settings: one definition each, all problems at once, nothing open by default."""

import re
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.config import (
    FILE_NAME,
    SECTIONS,
    Address,
    Config,
    default_text,
    home_folder,
    settings,
    toml_value,
    write_default,
)
from leadglass.errors import Misconfigured


def load(home: Path, text: str = "", **environ: str) -> Config:
    if text:
        (home / FILE_NAME).write_text(text)
    return Config.load(home, environ)


def problems(home: Path, text: str = "", **environ: str) -> tuple[str, ...]:
    with pytest.raises(Misconfigured) as caught:
        load(home, text, **environ)
    return caught.value.problems


# ── defaults ─────────────────────────────────────────────────────────────────


def test_a_node_without_a_file_has_the_defaults_and_exposes_nothing(
    tmp_path: Path,
) -> None:
    config = load(tmp_path)
    assert config == Config(home=tmp_path)
    assert config.problems() == []
    assert config.weaknesses() == []
    assert config.listen.host.is_loopback
    assert config.unsafe_plaintext_listen is None
    assert config.origins == {}


def test_every_setting_is_explained_and_no_default_is_unsafe() -> None:
    known = list(settings())
    assert len({each.name for each in known}) == len(known)
    assert len({each.environment for each in known}) == len(known)
    for each in known:
        assert each.help.endswith(".")
        assert each.problem(each.default) is None
        if each.is_unsafe:
            assert not each.default


def test_every_number_has_a_unit_or_is_a_count_and_has_bounds() -> None:
    for each in settings():
        if each.type_name in ("number", "whole number"):
            assert each.unit or re.search("count|depth|ratio|tasks", each.key)
            assert each.low is not None
            assert each.high is not None
            assert each.problem(each.low) is None
            assert each.problem(each.high) is None
            assert each.problem(each.high + 1) is not None
            assert each.problem(each.low - 1) is not None


def test_config_has_a_field_for_every_section() -> None:
    config = Config(home=Path("/data"))
    for name, cls in SECTIONS.items():
        assert isinstance(getattr(config, name), cls)


def test_the_default_file_is_all_comments_and_says_the_defaults(
    tmp_path: Path,
) -> None:
    path = write_default(tmp_path)
    assert path.read_text() == default_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(tmp_path).origins == {}

    uncommented = re.sub("^# (?=[a-z0-9_]+ = )", "", default_text(), flags=re.MULTILINE)
    config = load(tmp_path, uncommented)
    assert config == Config(home=tmp_path)
    assert set(config.origins) == {each.name for each in settings()}
    assert max(map(len, default_text().splitlines())) <= 79


def test_the_default_file_never_replaces_another(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("# mine\n")
    assert write_default(tmp_path).read_text() == "# mine\n"


# ── sources ──────────────────────────────────────────────────────────────────


def test_the_later_source_wins(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        '[dimse]\nlisten = "127.0.0.1:1"\nidle_timeout_s = 5\nartim_timeout_s = 6\n'
    )
    config = Config.load(
        tmp_path,
        {
            "LEADGLASS_DIMSE_LISTEN": "127.0.0.1:2",
            "LEADGLASS_DIMSE_IDLE_TIMEOUT_S": "7",
        },
        {"dimse.listen": "127.0.0.1:0", "tls.node_names": ("pacs.example",)},
    )
    assert str(config.listen) == "127.0.0.1:0"
    assert config.dimse.idle_timeout_s == 7.0
    assert config.dimse.artim_timeout_s == 6.0
    assert isinstance(config.dimse.artim_timeout_s, float)
    assert config.tls.node_names == ("pacs.example",)
    assert config.origins == {
        "dimse.listen": "command line",
        "dimse.idle_timeout_s": "LEADGLASS_DIMSE_IDLE_TIMEOUT_S",
        "dimse.artim_timeout_s": FILE_NAME,
        "tls.node_names": "command line",
    }


def test_a_list_in_the_environment_is_separated_by_commas(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        LEADGLASS_STORAGE_PRIVATE_SOP_CLASSES="1.3.46.670589., 1.2.840.113619.",
    )
    assert config.storage.private_sop_classes == ("1.3.46.670589.", "1.2.840.113619.")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_texts_survive_the_file(text: str) -> None:
    assert tomllib.loads(f"a = {toml_value(text)}")["a"] == text


def test_only_values_of_settings_are_written() -> None:
    with pytest.raises(TypeError):
        toml_value(None)


# ── problems ─────────────────────────────────────────────────────────────────


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        colour = "blue"
        find = 3
        [dimse]
        listn = "127.0.0.1:2762"
        pdu_length_bytes_max = 100
        association_count_max = "many"
        unsafe_plaintext_listen = "0.0.0.0:104"
        [node]
        ae_title = "LONGER THAN SIXTEEN"
        [log]
        level = "loud"
        """,
        LEADGLASS_FIND_RESULT_COUNT_MAX="1.5",
        LEADGLASS_DIMSE_IDLE="5",
    )
    assert [text.split(":")[0] for text in found] == [
        "colour (leadglass.toml)",
        "find",
        "dimse.listn (leadglass.toml)",
        "dimse.association_count_max (leadglass.toml)",
        "LEADGLASS_DIMSE_IDLE",
        "find.result_count_max (LEADGLASS_FIND_RESULT_COUNT_MAX)",
        "node.ae_title",
        "dimse.unsafe_plaintext_listen",
        "dimse.pdu_length_bytes_max",
        "log.level",
    ]


@pytest.mark.parametrize(
    "origin",
    [
        "https://pacs.example",
        "https://pacs.example:8443",
        "https://[::1]:1",
        "https://10.4.0.5",
    ],
)
def test_an_origin_is_what_a_browser_says(tmp_path: Path, origin: str) -> None:
    config = load(tmp_path, f'[https]\npublic_origins = ["{origin}"]')
    assert config.https.public_origins == (origin,)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[dimse]\nlistn = 1", "did you mean dimse.listen?"),
        ('listen = "127.0.0.1:1"', "did you mean dimse.listen?"),
        ("[dimmse]\nlisten = 1", "did you mean dimse?"),
        ("[xyzzy]\nplugh = 1", "leadglass check"),
        ("[dimse]\nlisten = 5", "must be a text"),
        ("[dimse]\npdu_length_bytes_max = true", "must be a whole number"),
        ("[dimse]\nidle_timeout_s = nan", "out of range"),
        ("[dimse]\nidle_timeout_s = false", "must be a number"),
        ("[tls]\nnode_names = [1]", "must be a list of texts"),
        ('[tls]\nnode_names = "a"', "must be a list of texts"),
        ("[tls]\nnode_names = []", "at least one"),
        ('[tls]\nnode_names = ["-x"]', "host names"),
        ('[tls]\nminimum_version = "1.1"', "1.2, 1.3"),
        ('[https]\npublic_origins = ["pacs.example"]', "origins"),
        ('[https]\npublic_origins = ["http://pacs.example"]', "origins"),
        ('[https]\npublic_origins = ["https://pacs.example/"]', "origins"),
        ('[https]\npublic_origins = ["https://Pacs.example"]', "origins"),
        ('[https]\npublic_origins = ["https://pacs.example:443"]', "origins"),
        ('[https]\npublic_origins = ["https://pacs.example:99999"]', "origins"),
        ('[https]\npublic_origins = ["https://a@pacs.example"]', "origins"),
        ('[https]\npublic_origins = ["https://::1"]', "origins"),
        ('[https]\npublic_origins = ["https://*"]', "origins"),
        ('[storage]\nprivate_sop_classes = ["1"]', "UIDs"),
        ('[storage]\nprivate_sop_classes = [""]', "UIDs"),
        ('[keys]\nmaster_file = "key"', "whole path"),
        ('[keys]\nmaster_file = "/a\\u0000b"', "whole path"),
        ("[storage]\nfree_bytes_min = 1", "use 67108864 to 1099511627776"),
        ('[keys]\ncredential = "../key"', "file name"),
        ('[keys]\nsource = "passphrase"', "LEADGLASS_PASSPHRASE_FILE"),
        ('[keys]\nsource = "credential"', "LoadCredential"),
        ('[node]\nae_title = ""', "1 to 16"),
        ('[node]\nae_title = "A\\\\B"', "1 to 16"),
        ('[node]\nae_title = " A"', "1 to 16"),
        ("[dimse]\nassociation_count_max = 2", "association_count_per_device_max"),
        ('[dimse]\nunsafe_plaintext_listen = "127.0.0.1:2762"', "same as dimse.listen"),
        ("[limits]\nheader_bytes_max = 16777216\nobject_bytes_max = 1048576", "lower"),
        ("[dimse\n", "not TOML"),
    ],
)
def test_each_problem_has_its_remedy(tmp_path: Path, text: str, part: str) -> None:
    assert any(part in each for each in problems(tmp_path, text))


def test_a_file_that_cannot_be_taken_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"# \xff\n")
    assert "UTF-8" in problems(tmp_path)[0]
    path.write_bytes(b"#" * (2 << 20))
    assert "larger" in problems(tmp_path)[0]
    path.unlink()
    path.mkdir()
    assert "cannot be read" in problems(tmp_path)[0]


def test_a_file_that_anyone_may_change_is_a_problem(tmp_path: Path) -> None:
    path = write_default(tmp_path)
    path.chmod(0o606)
    assert "chmod o-w" in problems(tmp_path)[0]


def test_an_unknown_override_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"did you mean dimse\.listen"):
        Config.load(tmp_path, {}, {"dimse.listens": "127.0.0.1:0"})
    with pytest.raises(Misconfigured, match="must be a whole number"):
        Config.load(tmp_path, {}, {"find.result_count_max": "x"})


# ── keys ─────────────────────────────────────────────────────────────────────


def test_the_master_key_lies_beside_the_data_folder(tmp_path: Path) -> None:
    home = tmp_path / "archive"
    assert Config(home=home).master_key_file == tmp_path / "archive.key"


@pytest.mark.parametrize("key", ["master_file", "passphrase_file"])
def test_a_key_inside_the_data_folder_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "home").mkdir()
    inside = tmp_path / "home" / "x.key"
    text = f'[keys]\n{key} = "{inside}"'
    assert "move it out" in problems(tmp_path / "home", text)[0]


def test_a_link_does_not_hide_where_the_key_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "elsewhere").symlink_to(home)
    text = f'[keys]\nmaster_file = "{tmp_path / "elsewhere" / "x.key"}"'
    assert "move it out" in problems(home, text)[0]


def test_passphrase_and_credential_are_found(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[keys]\nsource = "passphrase"',
        LEADGLASS_PASSPHRASE_FILE="/dev/fd/3",
    )
    assert config.passphrase_file == Path("/dev/fd/3")
    config = load(
        tmp_path, '[keys]\nsource = "credential"', CREDENTIALS_DIRECTORY="/run/c"
    )
    assert config.credential_file == Path("/run/c/leadglass-master-key")
    assert Config(home=tmp_path).credential_file is None
    assert Config(home=tmp_path).passphrase_file is None


# ── addresses ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:2762", "127.0.0.1:2762"),
        ("[::1]:0", "[::1]:0"),
        ("localhost:104", "127.0.0.1:104"),
        ("[fe80::1%eth0]:104", "[fe80::1%eth0]:104"),
    ],
)
def test_addresses_are_read(text: str, shown: str) -> None:
    assert str(Address.parse(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", ":2762", "::1:104", "a:b", "1.2.3.4:65536", "pacs:104"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|must be"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("10.4.0.5", True),
        ("172.31.0.1", True),
        ("192.168.1.1", True),
        ("169.254.7.7", True),
        ("[::1]", True),
        ("[fd00::1]", True),
        ("[fe80::1]", True),
        ("0.0.0.0", False),
        ("[::]", False),
        ("[::ffff:0.0.0.0]", False),
        ("[::ffff:8.8.8.8]", False),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("100.64.0.1", False),  # carrier-grade NAT: other customers are behind it
        ("192.0.2.1", False),  # is_private of Python, but not RFC 1918
        ("[2001:db8::1]", False),
    ],
)
def test_plaintext_is_heard_only_where_no_stranger_is(
    tmp_path: Path, host: str, *, allowed: bool
) -> None:
    text = f'[dimse]\nunsafe_plaintext_listen = "{host}:104"'
    if allowed:
        (weakness,) = load(tmp_path, text).weaknesses()
        assert weakness.startswith("dimse.unsafe_plaintext_listen")
        assert "path reads" in weakness
    else:
        assert "plaintext" in problems(tmp_path, text)[0]


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("0.0.0.0", "every address"),
        ("[::]", "every address"),
        ("[::ffff:0.0.0.0]", "every address"),
        ("8.8.8.8", "public address"),
        ("[2001:db8::1]", "public address"),
    ],
)
def test_a_wide_tls_listener_is_allowed_and_never_silent(
    tmp_path: Path, host: str, part: str
) -> None:
    config = load(tmp_path, f'[dimse]\nlisten = "{host}:2762"')
    assert [part in each for each in config.weaknesses()] == [True]


def test_weaknesses_can_be_asked_of_a_wrong_config(tmp_path: Path) -> None:
    wrong = Config(home=tmp_path, dimse=SECTIONS["dimse"](listen="nowhere"))
    assert wrong.weaknesses() == []
    assert len(wrong.problems()) == 1


# ── the data folder ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"LEADGLASS_HOME": "/srv/pacs", "HOME": "/h"}, "/srv/pacs"),
        ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/leadglass"),
        ({"XDG_DATA_HOME": "x", "HOME": "/h"}, "/h/.local/share/leadglass"),
        ({"LEADGLASS_HOME": "", "HOME": "/h"}, "/h/.local/share/leadglass"),
    ],
)
def test_home_folder(environ: dict[str, str], folder: str) -> None:
    assert home_folder(environ) == Path(folder)


def test_home_folder_is_never_relative() -> None:
    assert home_folder({"LEADGLASS_HOME": "data"}).is_absolute()
    assert home_folder({}).is_absolute()


# ── notices, and where people come from ──────────────────────────────────────

MAIL = {
    "notices.smtp_server": "mail.example:465",
    "notices.sender": "pacs@hospital.example",
    "notices.recipients": "privacy@hospital.example,deputy@hospital.example",
}


def test_a_mail_server_is_a_name_and_a_port(tmp_path: Path) -> None:
    config = Config.load(tmp_path, {}, MAIL)
    assert config.mail_server == ("mail.example", 465)
    assert len(config.notices.recipients) == 2
    v6 = Config.load(tmp_path, {}, MAIL | {"notices.smtp_server": "[fd00::5]:587"})
    assert v6.mail_server == ("fd00::5", 587)
    assert Config.load(tmp_path, {}, {}).mail_server is None


@pytest.mark.parametrize(
    "changes",
    [
        {"notices.smtp_server": "mail.example"},
        {"notices.smtp_server": "mail.example:0"},
        {"notices.smtp_server": "mail.example:65536"},
        {"notices.smtp_server": "fd00::5:465"},
        {"notices.smtp_server": "mail example:465"},
        {"notices.smtp_server": ":465"},
        {"notices.smtp_server": ""},
        {"notices.sender": ""},
        {"notices.sender": "a@b\nBcc: c@d"},
        {"notices.recipients": ""},
        {"notices.recipients": "nobody"},
        {"notices.recipients": "a@b c@d"},
        {"notices.tls": "none"},
        {"notices.user": "pacs"},
        {"notices.password_file": "/etc/password"},
        {"https.people_networks": "0.0.0.0/0"},
        {"https.people_networks": "10.0.0.1/8"},
        {"https.people_networks": "here"},
        {"https.people_networks": "::/0"},
    ],
)
def test_notices_and_networks_that_cannot_be_are_told(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    with pytest.raises(Misconfigured, match=r"^(notices|https)\."):
        Config.load(tmp_path, {}, MAIL | changes)


def test_the_mail_password_is_not_in_the_data_folder(tmp_path: Path) -> None:
    inside = {
        "notices.user": "pacs",
        "notices.password_file": str(tmp_path / "password"),
    }
    with pytest.raises(Misconfigured, match="inside the data folder"):
        Config.load(tmp_path, {}, MAIL | inside)


# ── single sign-on ───────────────────────────────────────────────────────────

SIGN_ON = """
[oidc]
issuer = "https://login.example/realms/hospital"
client_id = "leadglass"
client_secret_file = "/etc/leadglass/oidc"
group_roles = ["CN=Radiology,OU=Groups=radiologist", "pacs=administrator"]
"""


def test_single_sign_on_needs_all_of_its_settings(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(SIGN_ON)
    assert load(tmp_path).oidc_secret_file == Path("/etc/leadglass/oidc")
    found = problems(tmp_path, '[oidc]\nissuer = "https://login.example"')
    assert [text.partition(":")[0] for text in found] == [
        "oidc.client_id",
        "oidc.client_secret_file",
        "oidc.group_roles",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('issuer = "http://login.example"', "https://"),
        ('issuer = "https://name@login.example"', "without user"),
        ('issuer = "https://login.example?realm=x"', "neither query"),
        ('issuer = "ftp://login.example"', "https://"),
        ('issuer = "https://[::"', "address"),
        ('name = ""', "1 to 40"),
        ('scopes = ["profile"]', "openid"),
        ('scopes = ["openid profile"]', "scopes"),
        ('group_roles = ["radiology"]', "GROUP=ROLE"),
        ('group_roles = ["=radiologist"]', "GROUP=ROLE"),
        ('group_roles = ["radiology=Radiologist"]', "GROUP=ROLE"),
        ('group_roles = ["a=radiologist", "a=technologist"]', "twice"),
        ('algorithms = ["HS256"]', "RS256"),
        ('algorithms = ["none"]', "RS256"),
        ("algorithms = []", "RS256"),
        ('groups_claim = ""', "claim"),
        ('client_secret_file = "secret"', "whole path"),
    ],
)
def test_what_single_sign_on_cannot_be(tmp_path: Path, line: str, told: str) -> None:
    (problem,) = problems(tmp_path, f"[oidc]\n{line}")
    assert problem.startswith(f"oidc.{line.split(maxsplit=1)[0]}: ")
    assert told in problem


def test_a_provider_on_this_machine_may_be_without_tls(tmp_path: Path) -> None:
    for host in ("127.0.0.1:9000", "localhost", "[::1]:9000"):
        local = SIGN_ON.replace("https://login.example", f"http://{host}")
        (tmp_path / FILE_NAME).write_text(local)
        assert host in load(tmp_path).oidc.issuer


def test_the_secret_is_never_in_what_a_backup_takes(tmp_path: Path) -> None:
    inside = SIGN_ON.replace("/etc/leadglass/oidc", str(tmp_path / "secret"))
    (problem,) = problems(tmp_path, inside)
    assert problem.startswith("oidc.client_secret_file: inside the data folder")


def test_one_factor_is_told_as_a_weakness(tmp_path: Path) -> None:
    unsafe = SIGN_ON + 'unsafe_single_factor = "until the tokens are here"\n'
    (tmp_path / FILE_NAME).write_text(unsafe)
    (weakness,) = load(tmp_path).weaknesses()
    assert "until the tokens are here" in weakness
    none = SIGN_ON + "second_factor_amr = []\n"
    assert problems(tmp_path, none)[0].startswith("oidc.second_factor_amr: empty")


# ── directories ──────────────────────────────────────────────────────────────

DIRECTORY = """
[ldap]
url = "ldaps://dc.hospital.example"
base_dn = "ou=people,dc=hospital,dc=example"
group_roles = ["cn=radiology,dc=example=radiologist"]
unsafe_single_factor = "passkeys come in May"
"""


def test_a_directory_needs_all_of_its_settings(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(DIRECTORY)
    (weakness,) = load(tmp_path).weaknesses()
    assert "passkeys come in May" in weakness
    found = problems(tmp_path, '[ldap]\nurl = "ldaps://dc.hospital.example"')
    assert [text.partition(":")[0] for text in found] == [
        "ldap.group_roles",
        "ldap.unsafe_single_factor",
        "ldap.base_dn",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('url = "ldapi:///"', "ldaps://HOST"),
        ('url = "https://dc"', "ldaps://HOST"),
        ('url = "ldaps://"', "ldaps://HOST"),
        ('url = "ldaps://dc:x"', "ldaps://HOST"),
        ('url = "ldaps://u@dc"', "nothing behind"),
        ('url = "ldaps://dc/dc=example??sub"', "nothing behind"),
        ('user_filter = "(uid=alice)"', "{name}"),
        ('user_filter = "(|(uid={name})(mail={name}))"', "once"),
        ('user_dn_template = "uid=alice"', "{name}"),
        ('group_filter = "(member=x)"', "{dn}"),
        ('id_attribute = "entry UUID"', "attribute"),
        ('name_attribute = ""', "attribute"),
        ('bind_dn = "cn=x"', "go together"),
        ('group_roles = ["cn=radiology"]', ""),
    ],
)
def test_what_a_directory_cannot_be(tmp_path: Path, line: str, told: str) -> None:
    if told:
        (problem,) = problems(tmp_path, f"[ldap]\n{line}")
        assert told in problem
    else:  # one equals sign alone: a group "cn" of a role "radiology"
        (tmp_path / FILE_NAME).write_text(f"[ldap]\n{line}")
        assert load(tmp_path).ldap.group_roles == ("cn=radiology",)


@pytest.mark.parametrize(
    "url", ["ldap://dc.hospital.example", "ldaps://127.0.0.1", "ldap://127.0.0.1.nip"]
)
def test_plaintext_to_a_directory_never_leaves_the_machine(
    tmp_path: Path, url: str
) -> None:
    weak = DIRECTORY.replace("ldaps://dc.hospital.example", url)
    weak += 'unsafe_plaintext = "a test"\n'
    (problem,) = problems(tmp_path, weak)
    assert problem.startswith("ldap.unsafe_plaintext: ")
    here = weak.replace(url, "ldap://127.0.0.1:389")
    (tmp_path / FILE_NAME).write_text(here)
    assert len(load(tmp_path).weaknesses()) == 2
