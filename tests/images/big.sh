#!/bin/sh
# Builds, once, the image that `skep-bench images` pulls and unpacks: Debian, python3, numpy, gcc and
# nginx, each in a layer of its own, more than 500 MB unpacked; and a second image that shares all but
# the last layer with it.
#
#   tests/images/big.sh CACHE
#
# CACHE/big-oci/   OCI layout, layers compressed by gzip, tagged big and sibling
#
# Needs root, mmdebstrap with a configured apt, umoci and python3. No container is run and no storage
# of podman's or buildah's is touched. The same packages make the same layers: names are sorted, logs
# left out and times cut off.
set -eu

# The mode that mmdebstrap calls back: what changed in ROOT since the last call becomes OUT/NAME.tar.
if [ "$1" = --layer ]; then
    root=$2 out=$3 name=$4
    cd "$root"
    # What apt keeps, logs, and what dpkg says of a day.
    find . -mindepth 1 '(' -path './proc/*' -o -path './sys/*' -o -path './dev/*' -o -path './tmp/*' \
        -o -path './var/lib/apt/lists/*' -o -path './var/cache/apt/*' \
        -o -path ./var/cache/ldconfig/aux-cache -o -path './var/log/*' ')' -prune -o -print |
        LC_ALL=C sort >"$out/names.new"
    if [ -e "$out/names" ]; then
        find . -mindepth 1 -cnewer "$out/stamp" | LC_ALL=C sort >"$out/changed"
        LC_ALL=C comm -12 "$out/changed" "$out/names.new" >"$out/list"
    else
        cp "$out/names.new" "$out/list"
    fi
    LC_ALL=C tar --create --file "$out/$name.tar" --format=pax --no-recursion --numeric-owner \
        --xattrs --clamp-mtime --mtime=@1700000000 \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
        --warning=no-file-changed --files-from "$out/list" || [ $? -eq 1 ]
    if [ -e "$out/names" ] && LC_ALL=C comm -23 "$out/names" "$out/names.new" >"$out/gone" &&
        [ -s "$out/gone" ]; then
        python3 - "$out/$name.tar" "$out/gone" <<'PYTHON'
import os
import sys
import tarfile

gone = [line.rstrip("\n") for line in open(sys.argv[2])]
with tarfile.open(sys.argv[1], "a", format=tarfile.PAX_FORMAT) as tar:
    for name in gone:
        if os.path.dirname(name) not in gone:
            entry = tarfile.TarInfo(os.path.dirname(name) + "/.wh." + os.path.basename(name))
            entry.mtime = 1700000000
            tar.addfile(entry)
PYTHON
    fi
    mv "$out/names.new" "$out/names"
    touch "$out/stamp"
    # What is changed next is to be newer.
    while touch "$out/now" && [ ! "$out/now" -nt "$out/stamp" ]; do :; done
    exit 0
fi

if [ $# -ne 1 ]; then
    echo "usage: $0 CACHE" >&2
    exit 2
fi
script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
mkdir -p "$1"
cache=$(cd "$1" && pwd)
if [ -e "$cache/big-oci/index.json" ]; then
    exit 0
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/skep-images.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# With the option, or this machine would get the packages.
install='APT_CONFIG=$MMDEBSTRAP_APT_CONFIG DEBIAN_FRONTEND=noninteractive apt-get -qq --yes
    --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Chroot-Directory="$1" install'
install=$(echo "$install" | tr '\n' ' ')
layer="'$script' --layer \"\$1\" '$work'"
mmdebstrap --quiet --variant=minbase --mode=root --skip=cleanup \
    --customize-hook="$layer 0-debian" \
    --customize-hook="$install python3 && $layer 1-python" \
    --customize-hook="$install python3-numpy && $layer 2-numpy" \
    --customize-hook="$install gcc g++ make libc6-dev && $layer 3-gcc" \
    --customize-hook="$install nginx git && $layer 4-nginx" \
    --customize-hook="$install python3-scipy && $layer 5-scipy" \
    bookworm "$work/root" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

mkdir "$work/own" && (
    cd "$work/own" && mkdir -p srv && echo "print('hello')" >srv/app.py
    tar --create --file "$work/6-app.tar" --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime=@1700000000 srv
    echo "print('good bye')" >srv/app.py
    tar --create --file "$work/sibling.tar" --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime=@1700000000 srv
)
export SOURCE_DATE_EPOCH=1700000000
layout=$work/big-oci
umoci init --layout "$layout"
umoci new --image "$layout:base"
for archive in "$work"/[0-5]-*.tar; do
    umoci raw add-layer --image "$layout:base" --history.created 2023-11-14T22:13:20Z "$archive"
done
for name in big sibling; do
    umoci tag --image "$layout:base" "$name"
done
umoci raw add-layer --image "$layout:big" --history.created 2023-11-14T22:13:20Z "$work/6-app.tar"
umoci raw add-layer --image "$layout:sibling" --history.created 2023-11-14T22:13:20Z \
    "$work/sibling.tar"
for name in big sibling; do
    umoci config --image "$layout:$name" --created 2023-11-14T22:13:20Z \
        --history.created 2023-11-14T22:13:20Z --config.cmd python3 --config.cmd /srv/app.py \
        --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
done
umoci rm --image "$layout:base"
umoci gc --layout "$layout"
rm -rf "${cache:?}/big-oci"
mv "$layout" "$cache/big-oci"
