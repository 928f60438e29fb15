#!/bin/sh
# Builds, once, the image that core/tests/real_image.rs and the benchmarks load:
#
#   tests/images/make.sh CACHE
#
# CACHE/app-oci/      OCI layout, two layers compressed by gzip, tagged app
# CACHE/app-oci.tar   the same as an OCI archive, named localhost/app:1
# CACHE/app.tar       the same as a docker-archive, named so, its layers plain
# CACHE/base.tar      the root file system of the lower layer
#
# Needs root, mmdebstrap with a configured apt, umoci and skopeo. No container is run and no
# storage of podman's or buildah's is touched. The upper layer deletes a file, makes a directory
# opaque, replaces a directory by a file, writes through usrmerge's /lib, and links to a file that
# only the lower layer has.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 CACHE" >&2
    exit 2
fi
mkdir -p "$1"
cache=$(cd "$1" && pwd)
if [ -e "$cache/complete" ]; then
    exit 0
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/skep-images.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

mmdebstrap --quiet --variant=minbase --include=python3 bookworm "$work/base.tar"

# The upper layer, written entry by entry: tools that compare trees never write an opaque mark.
python3 - "$work/upper.tar" <<'PYTHON'
import io
import sys
import tarfile

with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as tar:

    def add(name, type=tarfile.REGTYPE, data=b"", **fields):
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.mtime = type, len(data), 1700000000
        for field, value in fields.items():
            setattr(entry, field, value)
        tar.addfile(entry, io.BytesIO(data))

    add("etc/.wh.issue")
    add("usr/share/doc/", tarfile.DIRTYPE, mode=0o755)
    add("usr/share/doc/.wh..wh..opq")
    add("usr/share/doc/README", data=b"nothing else is left here\n")
    add("usr/share/.wh.man")
    add("usr/share/man", data=b"a file, once a directory\n")
    # /lib is a symlink to usr/lib below; no parent is in this layer.
    add("lib/skep/through-usrmerge", data=b"in usr/lib\n", mode=0o640, uid=33, gid=33)
    add("usr/bin/linked-sh", tarfile.LNKTYPE, linkname="usr/bin/dash")
    add("usr/bin/capable", data=b"#!/bin/sh\n", mode=0o4755, pax_headers={
        # cap_net_raw=ep, whose value has NULs.
        "SCHILY.xattr.security.capability":
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode(),
        "SCHILY.xattr.user.skep": "a\nb=c",
    })
    add("srv/app.py", data=b"print('hello')\n", uid=1000, gid=1000)
    add("srv/" + "long/" * 40 + "name", data=b"beyond ustar\n")
    add("srv/pipe", tarfile.FIFOTYPE, mode=0o600)
    add("srv/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
    add("srv/dangling", tarfile.SYMTYPE, linkname="/no/where")
PYTHON

umoci init --layout "$work/app-oci"
umoci new --image "$work/app-oci:app"
umoci raw add-layer --image "$work/app-oci:app" "$work/base.tar"
umoci raw add-layer --image "$work/app-oci:app" "$work/upper.tar"
umoci config --image "$work/app-oci:app" --config.cmd python3 --config.cmd /srv/app.py \
    --config.env PATH=/usr/local/bin:/usr/bin:/bin --config.env APP=skep \
    --config.workingdir /srv --config.user 1000:1000 --config.label made-by=skep
umoci gc --layout "$work/app-oci"
skopeo --insecure-policy copy --quiet "oci:$work/app-oci:app" \
    "docker-archive:$work/app.tar:localhost/app:1"
skopeo --insecure-policy copy --quiet "oci:$work/app-oci:app" \
    "oci-archive:$work/app-oci.tar:localhost/app:1"

for made in base.tar app.tar app-oci.tar app-oci; do
    rm -rf "${cache:?}/$made"
    mv "$work/$made" "$cache/$made"
done
touch "$cache/complete"
