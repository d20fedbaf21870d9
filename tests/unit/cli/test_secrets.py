"""Passwords in addresses, well or badly written, through every command that meets one: nothing shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from magflow.campaign.templates import template_text
from magflow.cli.app import app
from magflow.core import credentials
from magflow.core.credentials import remember
from magflow.core.masking import mask
from magflow.stores.jobstore import campaign_store

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
SECRET = "S3cr3t"
FORMS = (
    "mongodb://bob:S3cr3tpw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t%2Fpw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t/pw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t?pw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t#pw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t@pw@127.0.0.1:1/db",
    "mongodb://bob:a:S3cr3t@127.0.0.1:1/db",
    "mongodb://bob:/S3cr3t@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t%zz@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t pw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t\npw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t\tpw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t'pw\"x@127.0.0.1:1/db",
    "mongodb://bob:S3cr3t<pw>@127.0.0.1:1/db",
    "mongodb://S3cr3tpw@127.0.0.1:1/db",
    "mongodb://:S3cr3tpw@127.0.0.1:1/db",
    "mongodb://bob:S3cr3tpw@[::1/db",
    "mongodb://bob:S3cr3tpw@[::1]:1/db",
    "mongodb://bob:S3cr3tpw@127.0.0.1:notaport/db",
    "mongodb://bob:S3cr3tpw@127.0.0.1:99999/db",
    "mongodb://bob:S3cr3tpw@",
    "mongodb://bob:S3cr3tpw@/db",
    "mongodb://bob:S3cr3tpw@127.0.0.1:1,127.0.0.1:2/db?replicaSet=r",
    "mongodb+srv://bob:S3cr3tpw@nohost.invalid/db",
    "mongodb+srv://bob:S3cr3tpw@127.0.0.1:1/db",
    "MONGODB://bob:S3cr3tpw@127.0.0.1:1/db",
    "mongo://bob:S3cr3tpw@127.0.0.1:1/db",
    "postgres://bob:S3cr3tpw@127.0.0.1:1/db",
    "bob:S3cr3tpw@127.0.0.1:1",
    "bob:S3cr3t/pw@127.0.0.1:1/db",
    "mongodb://127.0.0.1:1/db?authMechanismProperties=AWS_SESSION_TOKEN:S3cr3tpw",
    "mongodb://127.0.0.1:1/db?tlsCertificateKeyFilePassword=S3cr3tpw&tls=true",
    "mongodb://bob:S3cr3tpw@127.0.0.1:1/db?authMechanism=S3cr3t",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home of its own, a campaign in MongoDB, an embedded store to copy, and nothing that is remembered."""
    monkeypatch.setattr(credentials, "_known", {})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = "store: {mongodb: {patience: 0.0, options: {serverSelectionTimeoutMS: 1}}}\n"
    Path("mongo.yaml").write_text(template_text("model_hamiltonian") + store)
    Path("plain.yaml").write_text(template_text("model_hamiltonian"))
    Path("old").mkdir()
    campaign_store("old").connect()
    return tmp_path


def _by_environment(command: str):
    def way(form: str, patch: pytest.MonkeyPatch) -> str:
        patch.setenv("MAGFLOW_MONGO_URI", form.replace("\0", ""))
        return command

    return way


def _by_file(section: str):
    def way(form: str, patch: pytest.MonkeyPatch) -> str:
        Path("it.yaml").write_text(
            template_text("model_hamiltonian") + section.replace("FORM", json.dumps(form)) + "\n"
        )
        return "check it.yaml"

    return way


def _by_settings(line: str, mode: int = 0o600):
    def way(form: str, patch: pytest.MonkeyPatch) -> str:
        settings = Path(".magflow.yaml")
        settings.write_text(line.replace("FORM", json.dumps(form)) + "\n")
        settings.chmod(mode)
        return "check mongo.yaml"

    return way


def _by_hand(form: str, patch: pytest.MonkeyPatch) -> str:
    return f"db move --from old --to {form}"


WAYS = (
    _by_environment("check mongo.yaml"),
    _by_environment("run mongo.yaml --dir r -q"),
    _by_environment("submit mongo.yaml --dir s"),
    _by_environment("db move --from old --to mongodb"),
    _by_environment("db move --from mongodb --to new"),
    _by_file("store: {mongodb: {uri: FORM}}"),
    _by_file("store: {mongodb: {url: FORM}}"),
    _by_file("store: {mongodb: [FORM]}"),
    _by_file("store: FORM"),
    _by_file("strore: FORM"),
    _by_file(
        "store: {docs_store: {type: MongoURIStore, uri: FORM, collection_name: x, database: y}, "
        "additional_stores: {data: {type: MemoryStore}}}"
    ),
    _by_file("store: {mongodb: {uri: FORM}"),
    _by_hand,
    _by_settings("mongo_uri: FORM"),
    _by_settings("mongo_uri: FORM", 0o644),
    _by_settings("mongo_url: FORM"),
    _by_settings("mongo_uri: [FORM]"),
    _by_settings("mongo_uri: {uri: FORM}"),
    _by_settings("mongo_uri: FORM\n  - x"),
    _by_settings("[FORM"),
    _by_settings("abinit_command: [FORM]"),
)


def shown(form: str, way, debug: bool) -> str:
    """What a command says that is led to an address in this way; it ends as the page of exits has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "_known", {})
        command = way(form, patch)
        words = command.split(" ", 5) if way is _by_hand else command.split()
        done = runner.invoke(app, words, env={"MAGFLOW_DEBUG": "1" if debug else ""})
        Path(".magflow.yaml").unlink(missing_ok=True)
    assert done.exit_code in (0, 2, 3, 4, 5), (words, form, done.output, done.exception)
    assert done.output
    return done.output


@pytest.mark.parametrize("number", range(len(WAYS)))
def test_no_command_shows_a_password(place, number):
    """Every way, with one form each."""
    form = FORMS[(3 * number + 1) % len(FORMS)]
    assert SECRET not in shown(form, WAYS[number], debug=number % 2 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_an_address_shows_a_password(place, form):
    """Every form, in every way."""
    for number, way in enumerate(WAYS):
        for debug in (False, True):
            assert SECRET not in shown(form, way, debug), number


def test_nothing_of_a_password_is_kept_in_the_campaigns_directory(place):
    store = _by_file(
        "store: {docs_store: {type: MongoStore, host: h, port: 1, username: bob, password: S3cr3tpw, database: y, "
        "collection_name: x}, additional_stores: {data: {type: MemoryStore}}}"
    )
    done = runner.invoke(app, ["run", store("", pytest.MonkeyPatch()).split()[1], "--dir", "r", "-q"])
    assert done.exit_code == 2
    assert SECRET not in done.output
    assert not Path("r").exists()


passwords = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=12).map(SECRET.__add__)


@given(
    st.sampled_from(["mongodb://", "mongodb+srv://", "https://", ""]),
    st.sampled_from(["bob", "", "bob.the-1st"]),
    passwords,
    st.sampled_from(["h", "h:27017", "[::1]:1", "a.b.c/db?x=1", ""]),
    st.booleans(),
    st.sampled_from(["{}", "seen: {}; hint: x", "Port could not be cast to integer value as {}", "{!r}"]),
)
def test_no_piece_of_a_remembered_password_is_shown(scheme, user, password, host, encoded, message):
    uri = f"{scheme}{user}:{quote(password, safe='') if encoded else password}@{host}"
    remember(uri)
    for text in (uri, password, quote(password, safe=""), *re.split(r"[/?#@:]", password)):
        assert SECRET not in mask(message.format(text)), text


@pytest.mark.parametrize("word", ["test", "iron", "magflow", "database", "12345", "labels"])
def test_a_password_that_is_a_word_is_hidden_where_it_stands_and_nowhere_else(word):
    uri = f"mongodb://bob:{word}@h/db"
    remember(uri)
    assert mask(f"the latest {word} of {word}ing") == f"the latest {word} of {word}ing"
    assert mask(f"cannot reach {uri}, {{'password': '{word}'}}") == "cannot reach mongodb://***@h/db, {'password': ***}"


@pytest.mark.parametrize("word", ["Tr0mbone", "xkcdxkcd", "a1b2c3", "abc-12"])
def test_one_that_is_none_is_hidden_everywhere(word):
    remember(f"mongodb://bob:{word}@h/db")
    assert mask(f"Port could not be cast from {word!r}; {word}s") == f"Port could not be cast from '***'; {word}s"


@pytest.mark.parametrize("form", ["mongodb://bob:pw@h/db?authMechanism=S3cr3t", "mongodb://h/?authmechanism=S3cr3t"])
def test_what_stands_in_place_of_a_mechanism_may_be_a_password(form):
    remember(form)
    assert SECRET not in mask(f"seen [{form!r}], {SECRET}")


def test_a_mechanism_is_none():
    remember("mongodb://bob:pw@h/db?authMechanism=scram-sha-256")
    assert mask("SCRAM-SHA-256, scram-sha-256") == "SCRAM-SHA-256, scram-sha-256"
