//! How each operation is written as calls: one method an operation that takes more than one.

use std::ffi::{CStr, CString};

use nix::libc;

use super::Arg::{Slot as S, Value as V};
use super::*;

impl Encoder {
    /// A line for each operation, long as the list is.
    pub(super) fn operation(&mut self, operation: &Operation) {
        use Operation as O;
        match operation {
            O::Join { group } => {
                let zero = self.bytes(b"0");
                self.call(libc::SYS_write, &[S(*group), zero, V(1)]);
            }
            O::Enter { namespace, .. } => {
                self.call(libc::SYS_setns, &[S(*namespace), V(0)]);
            }
            O::Unshare { flags } => {
                self.call(libc::SYS_unshare, &[V(u64::from(*flags))]);
            }
            O::SessionKeyring => {
                // KEYCTL_JOIN_SESSION_KEYRING; a kernel without keyrings has none to leave.
                self.call(libc::SYS_keyctl, &[V(1), V(0)]).tolerate = errnos(&[libc::ENOSYS]);
            }
            O::Hostname { name } => self.named(libc::SYS_sethostname, name),
            O::Domainname { name } => self.named(libc::SYS_setdomainname, name),
            O::Pivot { root } => self.pivot(*root),
            O::Directory { path, mode } => self.directory(path, *mode),
            O::File { path } => self.file(path),
            O::Symlink { target, path } => self.symlink(target, path),
            O::Mount { fs, options, attributes, target } => {
                self.mount(fs, options, *attributes, target);
            }
            O::Attach { mount, target } => {
                self.open_target(target);
                self.attach(*mount);
            }
            O::Overlay { layers } => self.overlay(*layers),
            O::SendMount { path } => self.send_mount(path),
            O::Nodes => self.nodes(),
            O::Node { name, path } => self.node(name, path),
            O::Mask { path } => self.mask(path),
            O::ReadOnly { path } => self.read_only(path),
            O::RootReadOnly => {
                let root = self.text(c"/");
                self.set_read_only(cwd(), root, V(0));
            }
            O::Propagation { flags } => {
                let root = self.text(c"/");
                self.call(libc::SYS_mount, &[V(0), root, V(0), V(*flags), V(0)]);
            }
            O::Write { path, contents } => self.write(path, contents),
            O::Limit { resource, soft, hard } => {
                let limit = self.words(&[*soft, *hard]);
                self.call(libc::SYS_prlimit64, &[V(0), V(u64::from(*resource)), limit, V(0)]);
            }
            O::Session => {
                self.call(libc::SYS_setsid, &[]);
            }
            O::Stdio { from, to } => {
                self.call(libc::SYS_dup3, &[S(*from), V(*to as u64), V(0)]);
            }
            O::CloseOnExec => {
                // CLOSE_RANGE_CLOEXEC came in Linux 5.11. All that is open here was opened
                // close-on-exec; this is the second lock on that door.
                let args = [V(3), V(u64::from(u32::MAX)), V(4)];
                self.call(libc::SYS_close_range, &args).tolerate = errnos(&[libc::EINVAL]);
            }
            O::Umask { mask } => {
                self.call(libc::SYS_umask, &[V(u64::from(*mask))]);
            }
            O::Bounding { keep } => self.bounding(*keep),
            O::User { uid, gid, groups } => self.user(*uid, *gid, groups),
            O::WorkingDirectory { path } => {
                self.open(path, OPEN_PATH | libc::O_DIRECTORY as u64, TARGET);
                self.call(libc::SYS_fchdir, &[S(TARGET)]);
            }
            O::Capabilities { effective, permitted, inheritable, ambient } => {
                self.capabilities(*effective, *permitted, *inheritable, *ambient);
            }
            O::Find { paths, .. } => self.find(paths),
            O::Send => {
                let report = self.words32(&[u32::from(self.op), 0, 0]);
                let args = [S(Slot(0)), report, V(12), V(libc::MSG_NOSIGNAL as u64), V(0), V(0)];
                self.call(libc::SYS_sendto, &args);
            }
            O::Await { go } => {
                let byte = self.words(&[0]);
                self.call(libc::SYS_read, &[S(*go), byte, V(1)]).min = 1;
            }
            O::NoNewPrivileges => self.prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
            O::Seccomp { filter, flags } => self.seccomp(filter, *flags),
            O::Exec { paths, argv, envp } => self.exec(paths, argv, envp),
        }
    }

    fn named(&mut self, nr: libc::c_long, name: &str) {
        let text = self.bytes(name.as_bytes());
        self.call(nr, &[text, V(name.len() as u64)]);
    }

    fn prctl(&mut self, option: i32, value: u64) {
        self.call(libc::SYS_prctl, &[V(option as u64), V(value), V(0), V(0), V(0)]);
    }

    fn pivot(&mut self, root: Slot) {
        let (empty, slash, dot) = (self.text(c""), self.text(c"/"), self.text(c"."));
        self.call(libc::SYS_move_mount, &[S(root), empty, cwd(), slash, V(EMPTY_FROM)]);
        self.call(libc::SYS_fchdir, &[S(root)]);
        self.call(libc::SYS_pivot_root, &[dot, dot]);
        self.call(libc::SYS_umount2, &[dot, V(libc::MNT_DETACH as u64)]);
        self.call(libc::SYS_chdir, &[slash]);
    }

    fn directory(&mut self, path: &CStr, mode: u32) {
        let path = self.text(path);
        self.call(libc::SYS_mkdirat, &[cwd(), path, V(u64::from(mode))]).tolerate =
            errnos(&[libc::EEXIST]);
    }

    fn file(&mut self, path: &CStr) {
        let path = self.text(path);
        let mode = V(u64::from(libc::S_IFREG | 0o644));
        self.call(libc::SYS_mknodat, &[cwd(), path, mode, V(0)]).tolerate = errnos(&[libc::EEXIST]);
    }

    fn symlink(&mut self, target: &CStr, path: &CStr) {
        let (target, path) = (self.text(target), self.text(path));
        self.call(libc::SYS_symlinkat, &[target, cwd(), path]).tolerate = errnos(&[libc::EEXIST]);
    }

    /// `openat2(path)` into a slot, never through a magic link.
    fn open(&mut self, path: &CStr, flags: u64, into: Slot) -> &mut Call {
        let path = self.text(path);
        let how = self.words(&[flags, 0, RESOLVE_NO_MAGICLINKS]);
        let call = self.call(libc::SYS_openat2, &[cwd(), path, how, V(24)]);
        call.store = place(into);
        call
    }

    fn open_target(&mut self, path: &CStr) {
        self.open(path, OPEN_PATH, TARGET);
    }

    /// `move_mount` of `mount` onto the opened target.
    fn attach(&mut self, mount: Slot) -> &mut Call {
        let empty = self.text(c"");
        self.call(libc::SYS_move_mount, &[S(mount), empty, S(TARGET), empty, V(EMPTY_BOTH)])
    }

    /// `mount(2)` on "." after entering the target: fewer calls than fsopen(2) and its like
    /// (measured: 10 to 30 us more for each mount), and the target is what was opened, whatever its
    /// path leads to meanwhile.
    fn mount(&mut self, fs: &CStr, options: &[FsOption], attributes: u64, target: &CStr) {
        // Masks and read-only paths name /proc and /sys by path: these must really be there.
        let exact = matches!(fs.to_bytes(), b"proc" | b"sysfs");
        let path = self.text(target);
        let resolve = if exact { RESOLVE_NO_SYMLINKS } else { RESOLVE_NO_MAGICLINKS };
        let how = self.words(&[OPEN_PATH | libc::O_DIRECTORY as u64, 0, resolve]);
        self.call(libc::SYS_openat2, &[cwd(), path, how, V(24)]).store = place(TARGET);
        self.call(libc::SYS_fchdir, &[S(TARGET)]);
        let (fs, dot) = (self.text(fs), self.text(c"."));
        let data = match options {
            [] => V(0),
            options => {
                let list: Vec<String> = options.iter().map(ToString::to_string).collect();
                self.bytes(format!("{}\0", list.join(",")).as_bytes())
            }
        };
        self.call(libc::SYS_mount, &[fs, dot, fs, V(mount_flags(attributes)), data]);
        let root = self.text(c"/");
        self.call(libc::SYS_chdir, &[root]);
    }

    fn overlay(&mut self, layers: usize) {
        let names: Vec<String> = (0..layers).rev().map(|index| index.to_string()).collect();
        let lower = names.join(":");
        // The last three as in rootfs/overlay.rs.
        let data = format!(
            "lowerdir={lower},upperdir=w/upper,workdir=w/work,volatile,redirect_dir=nofollow,\
             metacopy=off,index=off\0"
        );
        let (data, fs) = (self.bytes(data.as_bytes()), self.text(c"overlay"));
        let (scratch, target, root) = (self.text(c"/scratch"), self.text(c"m"), self.text(c"/"));
        self.call(libc::SYS_chdir, &[scratch]);
        self.call(libc::SYS_mount, &[fs, target, fs, V(libc::MS_NODEV), data]);
        self.call(libc::SYS_chdir, &[root]);
    }

    fn send_mount(&mut self, path: &CStr) {
        let path = self.text(path);
        self.align(16);
        // struct cmsghdr with one file descriptor, which is where the mount is stored.
        const LENGTH: u32 = 20;
        let control = [LENGTH, 0, libc::SOL_SOCKET as u32, libc::SCM_RIGHTS as u32, 0, 0];
        let Arg::Value(control) = self.words32(&control) else { unreachable!() };
        let fd_at = (control as usize - BASE + 16) as u32;
        self.call(libc::SYS_open_tree, &[cwd(), path, V(TREE_CLONE)]).store = fd_at;
        let Arg::Value(report) = self.words32(&[u32::from(self.op), 0, 0]) else { unreachable!() };
        let Arg::Value(iov) = self.words(&[report, 12]) else { unreachable!() };
        // struct msghdr: no name; one part; the control message; no flags.
        let message = self.words(&[0, 0, iov, 1, control, 24, 0]);
        self.call(libc::SYS_sendmsg, &[S(Slot(0)), message, V(libc::MSG_NOSIGNAL as u64)]);
    }

    /// Takes copies of the device nodes in the keeper's own root, which is the root until the pivot.
    fn nodes(&mut self) {
        for (index, name) in NODES.iter().enumerate() {
            let path = self.bytes(format!("/{name}\0").as_bytes());
            self.call(libc::SYS_open_tree, &[cwd(), path, V(TREE_CLONE)]).store =
                place(node(index));
        }
    }

    fn node(&mut self, name: &str, path: &CStr) {
        // Every Node operation names one of NODES; an unknown one would fail in move_mount.
        let index = NODES.iter().position(|&known| known == name).unwrap_or(NODES.len());
        self.file(path);
        self.open_target(path);
        self.attach(node(index));
    }

    /// A directory gets an empty read-only tmpfs, anything else the null device. The copies are
    /// made from the mounts that this plan made, not from a path: what stands at /dev/null in the
    /// image or a volume does not matter (CVE-2025-31133).
    fn mask(&mut self, path: &CStr) {
        let missing = errnos(&[libc::ENOENT, libc::ENOTDIR]);
        let null = node(0);
        let empty = self.text(c"");
        let (tmpfs, dot, root) = (self.text(c"tmpfs"), self.text(c"."), self.text(c"/"));
        let directory = self.open(path, OPEN_PATH | libc::O_DIRECTORY as u64, TARGET);
        (directory.tolerate, directory.skip) = (missing, 3);
        self.call(libc::SYS_fchdir, &[S(TARGET)]);
        let flags = libc::MS_RDONLY | libc::MS_NODEV | libc::MS_NOSUID | libc::MS_NOEXEC;
        self.call(libc::SYS_mount, &[tmpfs, dot, tmpfs, V(flags), V(0)]);
        self.call(libc::SYS_chdir, &[root]).skip_after = 3;
        let file = self.open(path, OPEN_PATH, TARGET);
        (file.tolerate, file.skip) = (missing, 2);
        let args = [S(null), empty, V(TREE_CLONE | AT_EMPTY_PATH)];
        self.call(libc::SYS_open_tree, &args).store = place(MOUNT);
        self.attach(MOUNT);
    }

    fn read_only(&mut self, path: &CStr) {
        let empty = self.text(c"");
        let open = self.open(path, OPEN_PATH, TARGET);
        (open.tolerate, open.skip) = (errnos(&[libc::ENOENT, libc::ENOTDIR]), 3);
        let args = [S(TARGET), empty, V(TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE)];
        self.call(libc::SYS_open_tree, &args).store = place(MOUNT);
        self.set_read_only(S(MOUNT), empty, V(AT_EMPTY_PATH | AT_RECURSIVE));
        self.attach(MOUNT);
    }

    fn set_read_only(&mut self, dir: Arg, path: Arg, flags: Arg) {
        // struct mount_attr: set, clear, propagation, userns_fd.
        let attr = self.words(&[attribute::RDONLY, 0, 0, 0]);
        self.call(libc::SYS_mount_setattr, &[dir, path, flags, attr, V(32)]);
    }

    fn write(&mut self, path: &CStr, contents: &[u8]) {
        self.open(path, (libc::O_WRONLY | libc::O_CLOEXEC) as u64, CONTEXT);
        let bytes = self.bytes(contents);
        let len = contents.len();
        self.call(libc::SYS_write, &[S(CONTEXT), bytes, V(len as u64)]).min = len as u32;
    }

    fn bounding(&mut self, keep: u64) {
        for capability in (0..=MAX_CAPABILITY).filter(|n| keep >> n & 1 == 0) {
            let args = [V(libc::PR_CAPBSET_DROP as u64), V(capability), V(0), V(0), V(0)];
            let drop = self.call(libc::SYS_prctl, &args);
            // Newer than the oldest kernel: where this one does not know it, nobody can have it.
            if capability >= 38 {
                drop.tolerate = errnos(&[libc::EINVAL]);
            }
        }
    }

    /// Changes the user, keeping the permitted capabilities so that [`Self::capabilities`] may
    /// choose from them.
    fn user(&mut self, uid: u32, gid: u32, groups: &[u32]) {
        self.prctl(libc::PR_SET_KEEPCAPS, 1);
        let list = self.words32(groups);
        self.call(libc::SYS_setgroups, &[V(groups.len() as u64), list]);
        let (uid, gid) = (V(u64::from(uid)), V(u64::from(gid)));
        self.call(libc::SYS_setresgid, &[gid, gid, gid]);
        self.call(libc::SYS_setresuid, &[uid, uid, uid]);
        self.prctl(libc::PR_SET_KEEPCAPS, 0);
    }

    fn capabilities(&mut self, effective: u64, permitted: u64, inheritable: u64, ambient: u64) {
        // struct __user_cap_header, version 3, and its data: low halves, then high halves.
        const VERSION_3: u32 = 0x2008_0522;
        let sets = [effective, permitted, inheritable];
        let header = self.words32(&[VERSION_3, 0]);
        let low = sets.map(|set| set as u32);
        let high = sets.map(|set| (set >> 32) as u32);
        let data = self.words32(&[low, high].concat());
        self.call(libc::SYS_capset, &[header, data]);
        let option = V(libc::PR_CAP_AMBIENT as u64);
        let clear = V(libc::PR_CAP_AMBIENT_CLEAR_ALL as u64);
        self.call(libc::SYS_prctl, &[option, clear, V(0), V(0), V(0)]);
        for capability in (0..64).filter(|n| ambient >> n & 1 != 0) {
            let raise = V(libc::PR_CAP_AMBIENT_RAISE as u64);
            self.call(libc::SYS_prctl, &[option, raise, V(capability), V(0), V(0)]);
        }
    }

    fn seccomp(&mut self, filter: &[u8], flags: u32) {
        self.align(8);
        let instructions = self.bytes(filter);
        let Arg::Value(address) = instructions else { unreachable!() };
        // struct sock_fprog: a 16-bit count, padding, a pointer.
        let program = self.words(&[(filter.len() / 8) as u64, address]);
        let mode = V(u64::from(libc::SECCOMP_SET_MODE_FILTER));
        self.call(libc::SYS_seccomp, &[mode, V(u64::from(flags)), program]);
    }

    /// As [`exec`](Self::exec) looks, without executing.
    fn find(&mut self, paths: &[CString]) {
        // What a call can skip is counted in a byte; so long a search is left to the exec.
        if paths.len() >= usize::from(u8::MAX) {
            return;
        }
        for (index, path) in paths.iter().enumerate() {
            let path = self.text(path);
            let access = self.call(libc::SYS_faccessat, &[cwd(), path, V(libc::X_OK as u64)]);
            access.tolerate = errnos(&[libc::ENOENT, libc::ENOTDIR, libc::EACCES]);
            access.skip_after = (paths.len() - index) as u8;
        }
        self.fail_not_found();
    }

    fn fail_not_found(&mut self) {
        self.call(0, &[V(libc::ENOENT as u64)]).nr = NR_FAIL;
    }

    fn exec(&mut self, paths: &[CString], argv: &[CString], envp: &[CString]) {
        let (argv, envp) = (self.strings(argv), self.strings(envp));
        for path in paths {
            let path = self.text(path);
            self.call(libc::SYS_execve, &[path, argv, envp]).tolerate =
                errnos(&[libc::ENOENT, libc::ENOTDIR, libc::EACCES]);
        }
        self.fail_not_found();
    }
}

/// `MOUNT_ATTR_*` as the `MS_*` of mount(2).
fn mount_flags(attributes: u64) -> u64 {
    let pairs = [
        (attribute::RDONLY, libc::MS_RDONLY),
        (attribute::NOSUID, libc::MS_NOSUID),
        (attribute::NODEV, libc::MS_NODEV),
        (attribute::NOEXEC, libc::MS_NOEXEC),
        (attribute::NOATIME, libc::MS_NOATIME),
        (attribute::STRICTATIME, libc::MS_STRICTATIME),
        (attribute::NODIRATIME, libc::MS_NODIRATIME),
        (attribute::NOSYMFOLLOW, MS_NOSYMFOLLOW),
    ];
    pairs.iter().filter(|(bit, _)| attributes & bit != 0).fold(0, |flags, (_, ms)| flags | ms)
}

/// Linux 5.10; not in libc.
const MS_NOSYMFOLLOW: u64 = 256;
