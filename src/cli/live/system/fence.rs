//! Gives up every right that opening the sockets needed, before the first packet is parsed.
//!
//! Root becomes another user; all capabilities go; nothing that is executed can get them back; files can be made and
//! removed only in the folders of the output (landlock); and the system answers only the calls that watching takes
//! (seccomp). Each step says what it could not do. All of it holds for threads that are started later, so this comes
//! before them.

use anyhow::{Context, anyhow, bail};
use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, make_bitflags,
};
use nix::unistd::{self, User};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What is wanted of the fence.
pub(super) struct Fence<'a> {
    /// Whom root becomes.
    pub(super) user: &'a str,
    /// Folders in which files are made, renamed and removed.
    pub(super) folders: &'a [PathBuf],
}

/// Puts the fence up. Gives what the kernel does not know how to do.
pub(super) fn put_up(fence: &Fence<'_>) -> anyhow::Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    // Needs a right of its own; without it the set is of no use to anyone anyway.
    let _ = caps::clear(None, CapSet::Bounding);
    if unistd::geteuid().is_root() {
        become_user(fence.user)?;
    }
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set)
            .map_err(|error| anyhow!("capabilities can't be given up: {error}"))?;
    }
    nix::sys::prctl::set_no_new_privs().context("new rights can't be ruled out")?;
    if !fence_files(fence.folders)? {
        missing.push("landlock: files are fenced by permissions alone");
    }
    if fence_calls().is_err() {
        missing.push("seccomp: all system calls stay open");
    }
    Ok(missing)
}

/// Gives a folder to the user that root will become.
pub(super) fn give(folder: &Path, user: &str) -> anyhow::Result<()> {
    let user = User::from_name(user).ok().flatten();
    if let Some(user) = user.filter(|_| unistd::geteuid().is_root()) {
        std::os::unix::fs::chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .with_context(|| format!("{}: can't be given away", folder.display()))?;
    }
    Ok(())
}

fn become_user(name: &str) -> anyhow::Result<()> {
    let advice = "give another one by --user, or keep all rights by --no-drop";
    let user = User::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(|| anyhow!("there is no user `{name}` to become: {advice}"))?;
    if user.uid.is_root() {
        bail!("--user wants a user without rights; --no-drop keeps all rights");
    }
    unistd::setgroups(&[user.gid])
        .and_then(|()| unistd::setresgid(user.gid, user.gid, user.gid))
        .and_then(|()| unistd::setresuid(user.uid, user.uid, user.uid))
        .with_context(|| format!("can't become user `{name}`: {advice}"))
}

/// No file can be opened any more but in these folders, and no TCP port bound or connected to. `false`: the kernel can't.
fn fence_files(folders: &[PathBuf]) -> anyhow::Result<bool> {
    let abi = ABI::V5;
    let rights: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | MakeReg | RemoveFile | Truncate
    });
    let fault = "the file system can't be fenced";
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(Ruleset::create)
        .context(fault)?;
    for folder in folders {
        let name = folder.display();
        let opened = PathFd::new(folder)
            .with_context(|| format!("{name}: this folder can't be opened without rights"))?;
        rules = rules
            .add_rule(PathBeneath::new(opened, rights))
            .context(fault)?;
    }
    let status = rules.restrict_self().context(fault)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// All other system calls fail with EPERM.
fn fence_calls() -> anyhow::Result<()> {
    let rules: BTreeMap<i64, Vec<_>> = calls().map(|call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter_all_threads(&program)?;
    Ok(())
}

/// What watching takes: memory, threads, time, the sockets and files that are open, files in the fenced folders. No
/// socket is made, no program executed, nothing mounted, traced or loaded.
fn calls() -> impl Iterator<Item = i64> {
    const FILES: &[i64] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_close,
        libc::SYS_openat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_faccessat,
        libc::SYS_getdents64,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_unlinkat,
        libc::SYS_readlinkat,
        libc::SYS_getcwd,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_ftruncate,
        libc::SYS_fchmod,
        libc::SYS_fcntl,
        libc::SYS_flock,
        libc::SYS_ioctl,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_pipe2,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
    ];
    const SOCKETS: &[i64] = &[
        libc::SYS_socketpair, // how the screen hears of signals
        libc::SYS_bind,       // an interface that was made anew
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_shutdown,
    ];
    const PROCESS: &[i64] = &[
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_membarrier,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_restart_syscall,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_prctl,
        libc::SYS_prlimit64,
        libc::SYS_uname,
        libc::SYS_sysinfo,
    ];
    #[cfg(target_arch = "x86_64")]
    const OLD: &[i64] = &[
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_poll,
        libc::SYS_epoll_wait,
        libc::SYS_rename,
        libc::SYS_unlink,
        libc::SYS_readlink,
        libc::SYS_time,
        libc::SYS_arch_prctl,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    const OLD: &[i64] = &[];
    [FILES, SOCKETS, PROCESS, OLD]
        .into_iter()
        .flatten()
        .copied()
}
