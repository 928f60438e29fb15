#!/usr/bin/env python3
"""seeds.py DIR: writes a few inputs for each fuzz target into DIR/TARGET."""

import hashlib
import io
import json
import pathlib
import sys
import tarfile

DIRECTORY = pathlib.Path(sys.argv[1])
DIGEST = "sha256:" + hashlib.sha256(b"").hexdigest()
OCI = "application/vnd.oci.image."


def seed(target, *inputs):
    directory = DIRECTORY / target
    directory.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs):
        if isinstance(data, (dict, list)):
            data = json.dumps(data)
        (directory / str(number)).write_bytes(data if isinstance(data, bytes) else data.encode())


def archive(tar_format, *members, pax=None):
    """An archive of (type, name, target or data) members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for kind, name, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.pax_headers = pax or {}
            data = b""
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content
            elif kind == tarfile.REGTYPE:
                data = content
                info.size = len(data)
            elif content:
                info.devmajor, info.devminor = content
            tar.addfile(info, io.BytesIO(data))
    # Without the padding to whole records.
    return out.getvalue()[: out.tell()].rstrip(b"\0").ljust(512, b"\0") + bytes(1024)


def archives():
    reg, directory, link = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
    every = [
        (directory, "d", None),
        (reg, "d/file", b"hello"),
        (link, "s", "d"),
        (reg, "s/through", b""),
        (tarfile.LNKTYPE, "h", "d/file"),
        (tarfile.LNKTYPE, "low", "f"),
        (tarfile.FIFOTYPE, "fifo", None),
        (tarfile.CHRTYPE, "null", (1, 3)),
        (tarfile.CHRTYPE, "gone", (0, 0)),
        (reg, ".wh.f", b""),
        (reg, "d/.wh..wh..opq", b""),
        (reg, "l/deep", b"x"),
    ]
    for tar_format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        yield archive(tar_format, *every)
        yield archive(tar_format, (reg, "n" * 90 + "/" + "m" * 90, b"long"))
    one = (reg, "f", b"0123456789")
    pax = tarfile.PAX_FORMAT
    yield archive(pax, one, pax={"SCHILY.xattr.user.a": "b", "mtime": "-1.5", "uid": "3000000"})
    yield archive(pax, one, pax={"GNU.sparse.size": "20", "GNU.sparse.map": "0,4,10,6"})
    yield archive(
        pax,
        (reg, "GNUSparseFile.0/f", b"1\n8\n2\n".ljust(512, b"\0") + b"ab"),
        pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"},
    )
    sparse = {"GNU.sparse.size": "20", "GNU.sparse.numblocks": "1"}
    yield archive(
        pax, one, pax=sparse | {"GNU.sparse.offset": "5", "GNU.sparse.numbytes": "10"}
    )


def descriptor(kind, **more):
    return {"mediaType": OCI + kind, "digest": DIGEST, "size": 0} | more


def documents():
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": descriptor("config.v1+json"),
        "layers": [descriptor("layer.v1.tar+gzip"), descriptor("layer.v1.tar+zstd")],
        "annotations": {"a": "b"},
    }
    linux = {"os": "linux", "architecture": "amd64", "variant": "v2"}
    index = {
        "schemaVersion": 2,
        "manifests": [
            descriptor("manifest.v1+json", platform=linux),
            descriptor("index.v1+json", platform=linux, annotations={"x": "y"}),
        ],
    }
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["A=b"], "Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]},
        "history": [{"created_by": "x", "empty_layer": True}],
    }
    schema1 = {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [{"blobSum": DIGEST}]}
    return manifest, index, config, schema1, manifest | index, manifest | config


seed("tar", *archives())
seed("unpack", *archives())
seed("documents", *documents())
seed(
    "reference",
    "debian",
    "docker.io/library/debian:12",
    "localhost:5000/a_b/c--d.e:t@" + DIGEST,
    "[::1]:5000/a",
    DIGEST,
    "linux/arm/v7",
)
seed(
    "registry",
    b"\0" + (OCI + "manifest.v1+json").encode() + b"\0" + json.dumps(documents()[0]).encode(),
    b"\0\0" + json.dumps({"name": "a", "tags": ["1", "latest"]}).encode(),
    b"\0\0" + json.dumps(documents()[1]).encode(),
    '\1{"token": "abc", "access_token": "def", "expires_in": 60}',
    '\2{"errors": [{"code": "DENIED", "message": "no", "detail": []}]}',
    '\3Bearer realm="https://a/t",service="s",scope="repository:a:pull", Basic realm="x\\"y"',
    "\4https://[::1]:5000/v2/a/blobs/uploads/1?x=%20#f",
    "\4../up?_state=a",
    '\5</v2/a/tags/list?last=b&n=1>; rel="next", <c>; rel=prev',
    "\6bytes 7-9/10",
    "\0077",
)
seed(
    "credentials",
    'reg:5000/name\n{"auths": {"reg:5000/name": {"auth": "dTpw"}}}',
    'docker.io/a\n{"auths": {"https://index.docker.io/v1/": {"identitytoken": "t"}}}',
    'r/a\n{"credHelpers": {"r": "h"}, "credsStore": "s", "auths": {"r": {"registrytoken": "t"}}}',
)
