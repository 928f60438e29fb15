"""Registries and images out of containers: what the behaviours have not shown of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import pickle
import re
import socket
import subprocess
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import skep
import skep.aio
from conftest import IMAGE, temporary
from test_host import run_program

HTTP = skep.Access(plain_http=True)
KEYS = Path(__file__).parents[2] / "core/src/image/signature/testdata"
PEM = (KEYS / "p256.pub").read_bytes()

# Of a program in a process of its own: a registry that never answers.
SILENT = """
import atexit, fcntl, socket
silent = socket.create_server(("127.0.0.1", 0))
name = f"localhost:{silent.getsockname()[1]}"
atexit.register(silent.close)
registries = {name: skep.Access(plain_http=True)}
tasks = lambda: len(os.listdir("/proc/self/task"))
def interrupt_once_connected(sent=signal.SIGINT):
    def work():
        connection, _ = silent.accept()
        os.kill(os.getpid(), sent)
        # Until it is closed.
        with connection:
            while connection.recv(1 << 20): pass
    thread = threading.Thread(target=work)
    thread.start()
    return thread
"""


class EnoughError(Exception):
    """Raised by callbacks."""


@pytest.fixture(scope="session")
def registry() -> str:
    """The one of tests/registry/run that is open to all."""
    if "SKEP_TEST_REGISTRY" not in os.environ:
        assert "SKEP_FORBID_SKIPS" not in os.environ
        pytest.skip("SKEP_TEST_REGISTRY is not set: see tests/registry/run")
    return os.environ["SKEP_TEST_REGISTRY"]


@pytest.fixture
def own_engine(rootfs: Path) -> Iterator[skep.Engine]:
    """An engine on a store of this test's own, with the image, which is not unpacked."""
    for directory in temporary("skep-own-"):
        with skep.Engine(directory) as engine:
            engine.images.import_(rootfs, IMAGE)
            yield engine


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """What listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def name_of(silent: socket.socket) -> str:
    return f"localhost:{silent.getsockname()[1]}"


def tasks() -> int:
    return len(os.listdir("/proc/self/task"))


def test_progress_is_told_in_the_calling_thread(own_engine: skep.Engine, registry: str) -> None:
    images, reference = own_engine.images, f"{registry}/skep/python-progress:1"
    threads: set[int] = set()
    pushed: list[skep.PushProgress] = []
    pulled: list[skep.PullProgress] = []

    def push_progress(told: skep.PushProgress) -> None:
        threads.add(threading.get_ident())
        pushed.append(told)

    digest = images.push(IMAGE, reference, registries={registry: HTTP}, progress=push_progress)
    image = images.find(IMAGE)
    assert digest == image.digest
    manifest = image.inspect()["manifest"]
    sizes = {blob["digest"]: blob["size"] for blob in [*manifest["layers"], manifest["config"]]}
    done = {told.blob: (told.total, told.done) for told in pushed if told.done}
    assert {blob: total for blob, (total, _) in done.items()} == sizes
    assert {how for _, how in done.values()} <= {"sent", "existed", "mounted"}
    assert all(told.sent <= told.total for told in pushed)
    images.remove(IMAGE)

    def pull_progress(told: skep.PullProgress) -> None:
        threads.add(threading.get_ident())
        pulled.append(told)

    reach = skep.Registries({registry: HTTP})
    with ThreadPoolExecutor(1) as pool:
        pull = pool.submit(images.pull, reference, registries=reach, progress=pull_progress)
        assert pull.result().digest == digest
        assert threads == {threading.get_ident(), pool.submit(threading.get_ident).result()}
    assert pulled[-1] == skep.PullProgress(
        manifest["layers"][-1]["digest"], pulled[-1].total, pulled[-1].total, True
    )
    assert [told.fetched for told in pulled] == sorted(told.fetched for told in pulled)
    assert pickle.loads(pickle.dumps(pulled)) == pulled


def test_what_a_callback_raises_ends_the_operation(own_engine: skep.Engine, registry: str) -> None:
    images, reference = own_engine.images, f"{registry}/skep/python-enough:1"
    registries, before = {registry: HTTP}, tasks()

    def enough(_: object) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        images.push(IMAGE, reference, registries=registries, progress=enough)
    with pytest.raises(skep.NotFoundError):
        images.pull(reference, registries=registries)
    images.push(IMAGE, reference, registries=registries)
    images.remove(IMAGE)
    with pytest.raises(EnoughError):
        images.pull(reference, registries=registries, progress=enough)
    assert tasks() == before
    assert images.pull(reference, registries=registries).references == [reference]


def test_a_cancel_ends_a_pull(engine: skep.Engine, silent: socket.socket) -> None:
    name, cancel = name_of(silent), skep.Cancel()
    reference = f"{name}/skep/any:1"

    def stop() -> None:
        connection, _ = silent.accept()
        with connection:
            cancel.cancel()

    threading.Thread(target=stop).start()
    before = time.monotonic()
    with pytest.raises(skep.CancelledError) as raised:
        engine.images.pull(reference, registries={name: HTTP}, cancel=cancel)
    assert str(raised.value) == f"cannot pull {reference}: it was cancelled"
    assert cancel.cancelled
    assert repr(cancel) == "<skep.Cancel cancelled>"
    # For good.
    with pytest.raises(skep.CancelledError):
        engine.images.load("any.tar", cancel=cancel)
    with pytest.raises(skep.CancelledError):
        skep.Registries({name: HTTP}).tags(f"{name}/any", cancel=cancel)
    assert time.monotonic() - before < 30


def test_an_image_outlives_the_cancel_that_it_came_with(
    own_engine: skep.Engine, directory: Path
) -> None:
    cancel = skep.Cancel()
    own_engine.images.save(IMAGE, directory / "saved.tar")
    image = own_engine.images.load(directory / "saved.tar", cancel=cancel)
    cancel.cancel()
    assert own_engine.run(image, ["echo", "x"]).stdout == b"x\n"
    assert image.squash().references == []
    with own_engine.spawn(image, ["true"], keep_files=True) as child:
        child.wait()
        with pytest.raises(skep.CancelledError):
            child.diff(cancel=cancel)
        assert [change.path for change in child.diff()] == ["/dev"]


def test_a_waiting_pull_lets_other_threads_run(engine: skep.Engine, silent: socket.socket) -> None:
    name, cancel, counted = name_of(silent), skep.Cancel(), 0
    # In a thread that is not the main one, too.
    with ThreadPoolExecutor(2) as pool:
        pull = engine.images.pull
        pulls = [
            pool.submit(
                pull, f"{name}/any:1", registries={name: HTTP}, cancel=cancel, progress=told
            )
            for told in (None, print)
        ]
        connections = [silent.accept()[0] for _ in pulls]
        while counted < 100_000:
            counted += 1
        assert engine.run(IMAGE, ["echo", "x"]).stdout == b"x\n"
        assert not any(pulled.done() for pulled in pulls)
        cancel.cancel()
        for pulled in pulls:
            assert isinstance(pulled.exception(), skep.CancelledError)
        for connection in connections:
            connection.close()


def test_a_policy_wants_all_of_its_keys(own_engine: skep.Engine, registry: str) -> None:
    images, reference = own_engine.images, f"{registry}/skep/python-policy:1"
    images.push(IMAGE, reference, registries={registry: HTTP})
    images.remove(IMAGE)
    # In each form that a key has, and by each identity.
    pair = skep.Signed([PEM, str(KEYS / "rsa.pub"), KEYS / "p384.pub"], at_least=2)
    signed = [pair, skep.Signed([PEM], identity={"named": reference})]
    signed += [skep.Signed([PEM], identity=word) for word in ("signed_tag", "exact", "repository")]
    for wanted in signed:
        policy = skep.Policy(default="accept", prefixes={f"{registry}/skep": wanted})
        for progress in (None, print):
            with pytest.raises(skep.PermissionDeniedError, match="there is no signature") as raised:
                images.pull(
                    reference, registries={registry: HTTP}, policy=policy, progress=progress
                )
            assert raised.value.operation == "accept"
            assert raised.value.subject == reference
    assert images.list() == []
    assert repr(pair) == "<skep.Signed>"
    assert repr(skep.Policy("reject", {registry: pair})) == "<skep.Policy>"


def send(method: str, url: str, data: bytes, kind: str) -> str:
    """A request to a registry; where it says to go on."""
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        location: str = response.headers["Location"]
    return location


def sign(reference: str, name: str, digest: str, directory: Path) -> bytes:
    """Signs an image of a registry as `name`, as cosign does, with a key that is returned."""
    registry, _, path = reference.rpartition(":")[0].partition("/")
    base = f"http://{registry}/v2/{path}"

    def openssl(*arguments: str) -> bytes:
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        location = send("POST", f"{base}/blobs/uploads/", b"", kind)
        send("PUT", f"{location}&digest={digest}", data, "application/octet-stream")
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    identity = {"docker-reference": name}
    critical = {"type": "cosign container image signature", "identity": identity}
    critical["image"] = {"docker-manifest-digest": digest}
    payload, key = directory / "payload", str(directory / "key")
    payload.write_text(json.dumps({"critical": critical, "optional": None}))
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    signature = base64.b64encode(openssl("dgst", "-sha256", "-sign", key, str(payload)))
    layer = blob(payload.read_bytes(), "application/vnd.dev.cosign.simplesigning.v1+json")
    layer["annotations"] = {"dev.cosignproject.cosign/signature": signature.decode()}
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind, "layers": [layer]}
    manifest["config"] = blob(b"{}", "application/vnd.oci.image.config.v1+json")
    tag = f"{digest.replace(':', '-')}.sig"
    send("PUT", f"{base}/manifests/{tag}", json.dumps(manifest).encode(), kind)
    return openssl("ec", "-in", key, "-pubout")


@pytest.mark.parametrize(
    ("signed_tag", "taken"),
    [
        ("", {"signed_tag", "repository", "named"}),
        (":1", {"signed_tag", "exact", "repository", "named"}),
        (":2", {"repository", "named"}),
    ],
)
def test_a_policy_takes_what_is_signed(
    own_engine: skep.Engine, directory: Path, registry: str, signed_tag: str, taken: set[str]
) -> None:
    images, repository = own_engine.images, f"{registry}/skep/python-signed{len(taken)}"
    reference, reach = f"{repository}:1", {registry: HTTP}
    digest = images.push(IMAGE, reference, registries=reach)
    key = sign(reference, f"{repository}{signed_tag}", digest, directory)
    wanted = {
        "signed_tag": skep.Signed([PEM, key]),
        "exact": skep.Signed([key], identity="exact"),
        "repository": skep.Signed([key], identity="repository"),
        "named": skep.Signed([key], identity={"named": repository}),
        "other": skep.Signed([key], identity={"named": f"{repository}-other"}),
        "two": skep.Signed([PEM, key], at_least=2, identity="repository"),
    }
    found: set[str] = set()
    for word, signed in wanted.items():
        policy = skep.Policy("reject", {registry: signed})
        with contextlib.suppress(skep.PermissionDeniedError):
            assert images.pull(reference, registries=reach, policy=policy).digest == digest
            found.add(word)
    assert found == taken


def test_a_bound_holds_wherever_images_come_in(
    own_engine: skep.Engine, rootfs: Path, directory: Path, registry: str
) -> None:
    images, tar = own_engine.images, directory / "saved.tar"
    reference, reach = f"{registry}/skep/python-bound:1", {registry: HTTP}
    images.push(IMAGE, reference, registries=reach)
    images.save(IMAGE, tar)
    images.remove(IMAGE)
    calls: list[Callable[[str], object]] = [
        lambda most: images.load(tar, max_size=most).layers(),
        lambda most: [image.layers() for image in images.load_all(tar, max_size=most)],
        lambda most: images.import_(rootfs, max_size=most),
        lambda most: images.pull(reference, registries=reach, max_size=most),
        lambda most: images.pull(reference, registries=reach, progress=print, max_size=most),
        lambda most: images.pull(reference, registries=reach, unpack=False, max_size=most).layers(),
    ]
    for call in calls:
        with pytest.raises(skep.ResourceExhaustedError, match="more than 4096 bytes"):
            call("4k")
        for image in images.list():
            images.remove(image.id)
    for call in calls:
        call("64m")


def test_the_closed_registry(own_engine: skep.Engine, registry: str) -> None:
    name, ca = os.environ["SKEP_TEST_REGISTRY_CLOSED"], os.environ["SKEP_TEST_REGISTRY_CA"]
    password = skep.Credentials.password("bee", "skep-secret")
    for access in (
        skep.Access(ca=ca, credentials=("bee", "skep-secret")),
        skep.Access(ca=Path(ca), credentials=password),
        skep.Access(ca=Path(ca).read_bytes(), credentials=password),
    ):
        skep.Registries({name: access}, attempts=1, pause=0, timeout=10).ping(name)
        assert "secret" not in repr(access)
    assert repr(password) == "<skep.Credentials>"
    wrong = skep.Registries({name: skep.Access(ca=ca)}, credential_files=[])
    with pytest.raises(skep.PermissionDeniedError):
        wrong.ping(name)


anything: Any = object()
# Of no type, for what is wrong by its types.
access: Any = skep.Access
registries: Any = skep.Registries
signed: Any = skep.Signed
policy: Any = skep.Policy


WRONG: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (lambda _: access(ca=b"none"), skep.InvalidInputError, "cannot use certificate auth"),
    (
        lambda _: access(client_certificate=(b"", b"")),
        skep.InvalidInputError,
        "cannot use client certificate given in PEM: it holds none",
    ),
    (lambda _: access(ca="/no/such"), FileNotFoundError, "/no/such"),
    (lambda _: access(ca=anything), TypeError, ""),
    (lambda _: access(client_certificate=(b"",)), ValueError, "length 2"),
    (lambda _: access(credentials="bee:secret"), TypeError, r"\(user, password\)"),
    (lambda _: access(mirrors="mirror"), TypeError, ""),
    (lambda _: access(http=True), TypeError, "http"),
    (lambda _: registries({"x": anything}), TypeError, "expected an Access, not object"),
    (lambda _: registries([]), TypeError, ""),
    (lambda _: registries(timeout=-1), skep.InvalidInputError, "-1 s"),
    (lambda _: registries(pause=float("nan")), skep.InvalidInputError, "NaN s"),
    (
        lambda _: registries(attempts=-1),
        skep.InvalidInputError,
        "cannot make -1 attempts; give at least 1",
    ),
    (
        lambda _: registries(attempts=2**32),
        skep.InvalidInputError,
        "4294967296 attempts; give",
    ),
    (lambda _: registries(credential_files="x"), TypeError, ""),
    (
        lambda _: registries({"http://x": HTTP}).tags("localhost:1/x"),
        skep.InvalidInputError,
        '"http://x" is no registry\'s name',
    ),
    (lambda _: signed([]), skep.InvalidInputError, "cannot require signatures by 1 of 0 keys"),
    (lambda _: signed([PEM], at_least=2), skep.InvalidInputError, "by 2 of 1 keys"),
    (lambda _: signed([PEM, PEM], at_least=2), skep.InvalidInputError, "by 2 of 1 keys"),
    (lambda _: signed([PEM], at_least=0), skep.InvalidInputError, "by 0 of 1 keys"),
    (
        lambda _: signed([PEM], at_least=-1),
        skep.InvalidInputError,
        "cannot require -1 signatures; give at least 1",
    ),
    (lambda _: signed([PEM], at_least=2**64), skep.InvalidInputError, "signatures; give fewer"),
    (lambda _: signed([PEM], at_least=1.5), TypeError, ""),
    (lambda _: signed([PEM[:40]]), skep.InvalidInputError, "cannot use public key given in PEM"),
    (lambda _: signed(["/no/such"]), FileNotFoundError, "/no/such"),
    (lambda _: signed([anything]), TypeError, ""),
    (lambda _: signed(PEM), TypeError, ""),
    (lambda _: signed("ours.pub"), TypeError, ""),
    (
        lambda _: signed([PEM], identity="tag"),
        skep.InvalidInputError,
        'cannot compare signed names by "tag": there is no such; give "signed_tag", "exact"',
    ),
    (lambda _: signed([PEM], identity={}), TypeError, '{"named": reference} alone'),
    (lambda _: signed([PEM], identity={"named": "x", "tag": "y"}), TypeError, "alone, not dict"),
    (lambda _: signed([PEM], identity={"named": "a b"}), skep.InvalidInputError, '"a b"'),
    (lambda _: signed([PEM], identity={"named": 1}), TypeError, ""),
    (lambda _: signed([PEM], identity=1), TypeError, "expected an identity, not int"),
    (lambda _: policy(), TypeError, "default"),
    (
        lambda _: policy("refuse"),
        skep.InvalidInputError,
        'cannot require "refuse": there is no such; give "accept", "reject" or Signed',
    ),
    (lambda _: policy(None), TypeError, '"accept", "reject" or Signed, not NoneType'),
    (lambda _: policy("reject", ["docker.io"]), TypeError, ""),
    (lambda _: policy("reject", {"docker.io": PEM}), TypeError, "or Signed, not bytes"),
    (lambda _: policy("reject", {1: "accept"}), TypeError, ""),
    (
        lambda _: policy("reject", {"debian": "accept"}),
        skep.InvalidInputError,
        'cannot set the policy for "debian": it is no part of a complete name',
    ),
    (lambda images: images.pull("x", policy="reject"), TypeError, "'Policy'"),
    (lambda images: images.pull("x", max_size=-1), skep.InvalidInputError, 'read the size "-1"'),
    (lambda images: images.load("x", max_size="much"), skep.InvalidInputError, "much"),
    (lambda images: images.load_all("x", max_size=1.5), TypeError, ""),
    (lambda images: images.import_("x", max_size=2**63), skep.InvalidInputError, "below 2^63"),
    (lambda images: images.pull("a b"), skep.InvalidInputError, 'parse reference "a b"'),
    (
        lambda images: images.pull("x", platform="linux"),
        skep.InvalidInputError,
        'cannot parse platform "linux"',
    ),
    (
        lambda images: images.pull("x", parallel=-1),
        skep.InvalidInputError,
        "cannot move -1 blobs at once; give at least 1",
    ),
    (lambda images: images.pull("x", parallel=1.5), TypeError, ""),
    (lambda images: images.pull("x", registries=1), TypeError, "Registries or a mapping"),
    (lambda images: images.pull("x", progress=1), TypeError, "something to call, not int"),
    (lambda images: images.pull("x", cancel=1), TypeError, ""),
    (lambda images: images.pull("x", chunk=1), TypeError, "chunk"),
    (lambda images: images.push("x"), TypeError, "reference"),
    (lambda images: images.push(1, "x"), TypeError, "a name or an Image, not int"),
    (lambda images: images.push(IMAGE, "x", chunk=-1), skep.InvalidInputError, "-1"),
    (
        lambda images: images.push(IMAGE, "localhost:1/x", mount_from=["a b"]),
        skep.InvalidInputError,
        '"a b", to mount from, is no repository\'s name',
    ),
    (
        lambda images: images.save(IMAGE, "x", format="zip"),
        skep.InvalidInputError,
        'cannot save images as "zip": there is no such; give "docker" or "oci"',
    ),
    (lambda images: images.save(1, "x"), TypeError, "names or Images, not int"),
    (
        lambda images: images.prune("all"),
        skep.InvalidInputError,
        'cannot prune "all": there is no such',
    ),
    (lambda images: images.find(IMAGE).squash(autor="me"), TypeError, "autor"),
    (
        lambda images: images.find(IMAGE).squash(time=-1),
        skep.InvalidInputError,
        "cannot use time -1 s",
    ),
    (lambda images: images.find(IMAGE).squash(time="now"), TypeError, ""),
    (
        lambda images: images.find(IMAGE).squash(max_size="much"),
        skep.InvalidInputError,
        "much",
    ),
    (
        lambda images: images.find(IMAGE).squash(config={"Cmd": 1}),
        skep.InvalidInputError,
        "cannot commit with this config: ",
    ),
    (lambda images: images.find(IMAGE).diff(IMAGE), TypeError, ""),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_bad_input_is_refused(
    engine: skep.Engine,
    call: Callable[[Any], object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error) as raised:
        call(engine.images)
    assert re.search(message, str(raised.value)) or message in str(raised.value)


def test_keep_files_is_for_children(engine: skep.Engine) -> None:
    with pytest.raises(TypeError, match="keep_files"):
        engine.run(IMAGE, ["true"], keep_files=True)  # type: ignore  # pyright: ignore


def test_commits(own_engine: skep.Engine, directory: Path) -> None:
    day = datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)
    config = {"Cmd": ["cat", "/greeting"], "Labels": {"by": "a bee"}}
    with own_engine.spawn(IMAGE, ["sh", "-c", "echo hello >/greeting"], keep_files=True) as child:
        assert child.wait().success
        assert [str(change) for change in child.diff()] == ["A /dev", "A /greeting"]
        assert child.diff()[1] == skep.Change("added", "/greeting")
        first = child.commit("localhost/mine:1", time=day, config=config, max_size="1m")
        second = child.commit(time=day.timestamp(), config=config, author=None)
        child.export(directory / "files.tar")
    with pytest.raises(skep.InvalidStateError):
        child.diff()
    assert second.id == first.id
    assert first.inspect()["config"]["created"] == "2024-02-29T00:00:00Z"
    assert own_engine.run(first).stdout == b"hello\n"
    (layer,) = (step.layer for step in first.squash().history() if step.layer)
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert [str(change) for change in first.diff(own_engine.images.find(IMAGE))] == [
        "A /dev",
        "A /greeting",
    ]
    assert (directory / "files.tar").stat().st_size > 0
    assert all((path / "greeting").exists() for path in first.layers()[-1:])

    # By its id an image is saved under all its names.
    images = own_engine.images
    images.save([first, IMAGE], directory / "two.tar", format="oci")
    usage = images.disk_usage()
    assert [image.in_use for image in usage.images] == [False] * 3
    assert usage.blobs > 0
    assert len(images.prune("nameless").images) == 1
    assert images.prune() == skep.Pruned([], 0, 0, 0)
    assert pickle.loads(pickle.dumps(usage)) == usage
    loaded = images.load_all(directory / "two.tar")
    assert {name for image in loaded for name in image.references} == {IMAGE, "localhost/mine:1"}


def test_ctrl_c_ends_a_pull(store: Path) -> None:
    body = """
    thread = interrupt_once_connected()
    try:
        engine.images.pull(f"{name}/any:1", registries=registries)
        raise SystemExit("was not interrupted")
    except KeyboardInterrupt:
        pass
    # The connection is closed, so that this ends.
    thread.join()
    assert tasks() == 1
    # With what tells of progress, and with questions.
    reach = skep.Registries(registries)
    for call in (
        lambda: engine.images.push(IMAGE, f"{name}/any:1", registries=reach, progress=print),
        lambda: reach.tags(f"{name}/any"),
        lambda: reach.ping(name),
    ):
        thread = interrupt_once_connected()
        try:
            call()
            raise SystemExit("was not interrupted")
        except KeyboardInterrupt:
            thread.join()
    assert engine.run(IMAGE, ["echo", "again"]).stdout == b"again\\n"
    """
    run_program(store, SILENT + textwrap.dedent(body))


def test_a_handlers_exception_ends_it_and_others_do_not(store: Path) -> None:
    body = """
    class Enough(Exception): pass
    handled = []
    def enough(*_):
        handled.append(1)
        if len(handled) == 3: raise Enough
    signal.signal(signal.SIGALRM, enough)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        engine.images.pull(f"{name}/any:1", registries=registries)
        raise SystemExit("was not ended")
    except Enough:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(handled) == 3
    """
    run_program(store, SILENT + textwrap.dedent(body))


def test_ctrl_c_ends_a_load_from_a_slow_pipe(store: Path, directory: Path) -> None:
    body = f"""
    pipe = {str(directory / "pipe")!r}
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    for call in (engine.images.load, engine.images.load_all, engine.images.import_):
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            call(pipe)
            raise SystemExit("was not interrupted")
        except KeyboardInterrupt:
            pass
    """
    run_program(store, textwrap.dedent(body))


def test_ctrl_c_ends_the_wait_for_a_lock(rootfs: Path, directory: Path) -> None:
    """For another program that has the store; of a first start, which unpacks its image, too."""
    body = f"""
    engine.images.import_({str(rootfs)!r}, IMAGE)
    image = engine.images.find(IMAGE)
    lock = open(engine.store + "/images.lock", "r+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    for call in (
        lambda: engine.run(image, ["true"]),
        lambda: engine.spawn(image, ["true"]),
        image.layers,
        lambda: engine.images.tag(IMAGE, "localhost/other:1"),
        lambda: engine.images.remove(IMAGE),
        lambda: engine.images.prune("unused"),
        engine.images.disk_usage,
    ):
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            call()
            raise SystemExit("was not interrupted")
        except KeyboardInterrupt:
            pass
    lock.close()
    assert [one.references for one in engine.images.list()] == [[IMAGE]]
    assert engine.run(image, ["echo", "again"]).stdout == b"again\\n"
    """
    run_program(directory, SILENT + textwrap.dedent(body))


def test_ctrl_c_in_a_callback_and_a_fork_there(
    rootfs: Path, directory: Path, registry: str
) -> None:
    body = f"""
    name, registries = {registry!r}, {{{registry!r}: skep.Access(plain_http=True)}}
    def push(progress):
        reference = name + "/skep/python-host:1"
        engine.images.push(IMAGE, reference, registries=registries, progress=progress)
    engine.images.import_({str(rootfs)!r}, IMAGE)
    def interrupt(_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
    try:
        push(progress=interrupt)
        raise SystemExit("was not interrupted")
    except KeyboardInterrupt:
        pass
    assert tasks() == 1
    pids = []
    def fork(_):
        pids or pids.append(os.fork())
    try:
        push(progress=fork)
    except skep.InvalidStateError as error:
        assert pids == [0]
        assert "forked copy" in str(error)
        os._exit(7)
    assert pids != [0]
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7
    """
    run_program(directory, SILENT + textwrap.dedent(body))


def test_threads_are_there_as_long_as_an_operation(store: Path, directory: Path) -> None:
    body = f"""
    seen = []
    def look():
        connection, _ = silent.accept()
        seen.append(tasks())
        connection.close()
    tar = {str(directory / "saved.tar")!r}
    engine.images.save([IMAGE], tar)
    assert tasks() == 1
    engine.images.load(tar)
    assert tasks() == 1
    # This one, that which looks, and the pull's.
    thread = threading.Thread(target=look)
    thread.start()
    try:
        reach = skep.Registries(registries, attempts=1)
        engine.images.pull(f"{{name}}/any:1", registries=reach)
        raise SystemExit("it has answered")
    except skep.Error:
        thread.join()
    assert seen == [3], seen
    """
    run_program(store, SILENT + textwrap.dedent(body))


def test_cancelling_a_task_ends_its_pull(store: Path, silent: socket.socket) -> None:
    name = name_of(silent)
    silent.setblocking(False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with skep.aio.Engine(store) as engine:
            registries = skep.aio.Registries({name: HTTP})
            for call in (
                lambda: engine.images.pull(f"{name}/any:1", registries=registries),
                lambda: engine.images.pull(
                    f"{name}/any:1", registries={name: HTTP}, progress=print
                ),
                lambda: registries.tags(f"{name}/any"),
            ):
                pull = asyncio.ensure_future(call())
                connection, _ = await loop.sock_accept(silent)
                # The loop turns meanwhile.
                assert (await engine.run(IMAGE, ["echo", "x"])).stdout == b"x\n"
                pull.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await pull
                # It has ended, and so has its connection.
                with connection:
                    connection.setblocking(True)
                    connection.settimeout(10)
                    while connection.recv(1 << 16):
                        pass
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(registries.ping(name), 0.05)

    asyncio.run(main())


def test_pulls_that_hang_hold_up_nothing_in_the_loop(store: Path, silent: socket.socket) -> None:
    name = name_of(silent)
    silent.setblocking(False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with skep.aio.Engine(store) as engine:
            # More than there are threads for.
            pulls = [
                asyncio.ensure_future(
                    engine.images.pull(f"{name}/any{number}:1", registries={name: HTTP})
                )
                for number in range(70)
            ]
            # The loop's executor is the program's: names are resolved by it.
            assert await asyncio.wait_for(asyncio.to_thread(int), 20) == 0
            image = await asyncio.wait_for(engine.images.find(IMAGE), 20)
            assert image.references == [IMAGE]
            connections = [(await loop.sock_accept(silent))[0] for _ in range(20)]
            # The last waits for a thread, and not for one to end.
            for pull in (pulls[-1], pulls[0]):
                pull.cancel()
                done, _ = await asyncio.wait([pull], timeout=20)
                assert pull in done
                assert pull.cancelled()
            for pull in pulls:
                pull.cancel()
            await asyncio.gather(*pulls, return_exceptions=True)
            for connection in connections:
                connection.close()

    asyncio.run(main())


def test_cancelling_a_first_start_ends_its_unpacking(rootfs: Path, directory: Path) -> None:
    async def main() -> None:
        async with skep.aio.Engine(directory) as engine:
            image = await engine.images.import_(rootfs, IMAGE)
            with (directory / "images.lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # As many as there are threads for starts.
                runs = [asyncio.ensure_future(engine.run(image, ["true"])) for _ in range(4)]
                done, _ = await asyncio.wait(runs, timeout=0.05)
                assert not done
                for run in runs:
                    run.cancel()
                await asyncio.gather(*runs, return_exceptions=True)
                other = engine.run(skep.Root.host(), ["echo", "x"])
                assert (await asyncio.wait_for(other, 60)).stdout == b"x\n"
            assert (await engine.run(image, ["echo", "y"])).stdout == b"y\n"

    asyncio.run(main())


def test_progress_is_told_in_the_loop(rootfs: Path, directory: Path, registry: str) -> None:
    reference, registries = f"{registry}/skep/python-aio:1", {registry: HTTP}

    async def main() -> None:
        async with skep.aio.Engine(directory) as engine:
            image = await engine.images.import_(rootfs, IMAGE)
            assert repr(image) == f"<skep.aio.Image {IMAGE}>"
            threads: list[int] = []
            told: list[skep.PullProgress] = []

            def enough(_: object) -> None:
                threads.append(threading.get_ident())
                raise EnoughError

            with pytest.raises(EnoughError):
                await engine.images.push(image, reference, registries=registries, progress=enough)
            assert threads == [threading.get_ident()]
            digest = await engine.images.push(image, reference, registries=registries)
            await engine.images.remove(image.id)
            image = await engine.images.pull(reference, registries=registries, progress=told.append)
            assert image.digest == digest
            assert told[-1].unpacked
            assert told[-1].fetched == told[-1].total
            # An image of asyncio's is one wherever an image is asked for.
            async with await engine.spawn(image, ["true"], keep_files=True) as child:
                await child.wait()
                committed = await child.commit("localhost/mine:1", comment="mine")
            await engine.images.save([image, committed], directory / "saved.tar")
            await engine.images.save(committed, directory / "saved.tar", format="oci")
            assert [str(change) for change in await committed.diff(image)] == ["A /dev"]
            assert committed.history()[-1].comment == "mine"
            assert len((await engine.images.disk_usage()).images) == 2
            with pytest.raises(TypeError):
                await engine.images.pull("x", progress=anything)
            with pytest.raises(skep.PermissionDeniedError) as raised:
                await engine.images.pull(
                    reference, registries=registries, policy=skep.Policy("reject")
                )
            assert raised.value.operation == "accept"
            for call in (
                lambda: engine.images.import_(rootfs, max_size=1000),
                lambda: engine.images.load(directory / "saved.tar", max_size=1000),
                lambda: engine.images.load_all(directory / "saved.tar", max_size=1000),
            ):
                with pytest.raises(skep.ResourceExhaustedError):
                    await call()

    asyncio.run(main())


def test_a_loop_that_is_dropped_ends_its_pull(store: Path, silent: socket.socket) -> None:
    name, engine = name_of(silent), skep.aio.Engine(store)
    pull = engine.images.pull(f"{name}/any:1", registries={name: HTTP})

    async def begin() -> None:
        task.append(asyncio.ensure_future(pull))
        connections.append((await asyncio.to_thread(silent.accept))[0])

    task: list[asyncio.Task[Any]] = []
    connections: list[socket.socket] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    task[0].get_coro().close()  # pyright: ignore
    with contextlib.closing(connections[0]) as connection:
        while connection.recv(1 << 16):
            pass
    with contextlib.suppress(BaseException):
        loop.run_until_complete(task[0])
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.run(engine.close())
