#!/bin/sh
# Writes the root file system that the behaviours run in, as a tar:
#
#   tests/behaviours/rootfs.sh OUT.tar
#
# It is a static busybox with a few users and files. Needs root, busybox (BUSYBOX, or the one in
# PATH) and tar; busybox's own will do.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 OUT.tar" >&2
    exit 2
fi
# By which: in a busybox shell, command -v says the bare name of the applet.
busybox=${BUSYBOX:-$(which busybox)}
work=$(mktemp -d "${TMPDIR:-/tmp}/skep-rootfs.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

umask 022
root=$work/root
mkdir -p "$root/bin" "$root/etc" "$root/home/bee" "$root/srv" "$root/tmp" "$root/proc" "$root/sys"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
bee:x:1000:1000:a bee:/home/bee:/bin/sh
PASSWD
cat >"$root/etc/group" <<'GROUP'
root:x:0:
bee:x:1000:
hive:x:2000:bee
GROUP
chown 1000:1000 "$root/home/bee"
echo "not a program" >"$root/srv/text"
printf '#!/bin/sh\nexec cat\n' >"$root/srv/echo"
chmod 755 "$root/srv/echo"
tar -cf "$work/root.tar" -C "$root" .
mv "$work/root.tar" "$1"
