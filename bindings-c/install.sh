#!/bin/sh
# Installs what Cargo has built of this directory:
#
#   bindings-c/install.sh BUILT VERSION PREFIX [DESTDIR]
#
# BUILT is Cargo's directory (target/release). PREFIX is what skep.pc says; with a DESTDIR all files go
# below that. A PREFIX of ${pcfiledir}/../.. makes a skep.pc that can be moved with its files; it needs
# a DESTDIR, which is the prefix itself then.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: $0 BUILT VERSION PREFIX [DESTDIR]" >&2
    exit 2
fi
built=$1 version=$2 prefix=$3 here=$(dirname "$0")
case $prefix:${4:-} in
/*) root=${4:-}$prefix ;;
'${pcfiledir}/../..':?*) root=$4 ;;
*)
    # Its files would be in the machine's /lib and /include.
    echo "$0: the prefix $prefix is not an absolute path" >&2
    exit 2
    ;;
esac
work=$(mktemp -d "${TMPDIR:-/tmp}/skep-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# One object in which only our own names are global: a program's own zstd, or another library that is
# written in Rust, is not in the way. Without std's LLVM bitcode, at which ar's plugin of another LLVM
# gives up.
ld -r --whole-archive "$built/libskep_c.a" -o "$work/skep.o"
objcopy --wildcard --keep-global-symbol='skep_*' --strip-debug \
    -R .llvmbc -R .llvmcmd "$work/skep.o"
ar rcs "$work/libskep.a" "$work/skep.o"
objcopy --strip-debug "$built/libskep_c.so" "$work/libskep.so"
# A space is escaped for pkg-config, and then all of it for sed.
escaped=$(printf '%s\n' "$prefix" | sed 's/ /\\ /g; s/[\\&|]/\\&/g')
sed "s|@PREFIX@|$escaped|; s|@VERSION@|$version|" "$here/skep.pc.in" >"$work/skep.pc"

install -d "$root/include" "$root/lib/pkgconfig"
install -m 644 "$here/../include/skep.h" "$root/include/skep.h"
install -m 644 "$work/skep.pc" "$root/lib/pkgconfig/skep.pc"
install -m 644 "$work/libskep.a" "$root/lib/libskep.a"
install -m 755 "$work/libskep.so" "$root/lib/libskep.so.$version"
ln -sf "libskep.so.$version" "$root/lib/libskep.so.0"
ln -sf libskep.so.0 "$root/lib/libskep.so"
