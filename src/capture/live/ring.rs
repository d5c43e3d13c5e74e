//! One packet socket and its mapped ring (packet(7), TPACKET_V3): the only file that talks to the kernel by hand, and the
//! only one with `unsafe`. Nothing is parsed here: a block of the ring is copied out and given back at once.
#![allow(unsafe_code)]

use super::filter::Instruction;
use crate::stats::KernelCounts;
use std::{
    ffi::c_int,
    io,
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

/// Bytes of one block of the ring; no packet is longer. A copy of this size stays in the processor's second cache until it is
/// worked: of 1 MiB the headers had to be fetched again, and mixed traffic took 7 % more time (227 ns a packet, not 212). In
/// the ring it is better, too: what is not full yet, and what is being copied, is less of it.
///
/// Not copying at all was tried: a block was lent to the pipe and given back behind it. It took as long, for then each header
/// is waited for where it lies, while the copy is read ahead.
pub(super) const BLOCK_BYTES: usize = 1 << 18;
/// A block that is not full is handed over after this long.
const RETIRE_MS: u32 = 60;
/// Where a block's status and length lie (see `frames.rs`).
const STATUS_AT: usize = 8;
const LENGTH_AT: usize = 20;

/// What the kernel says of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) index: i32,
    pub(super) up: bool,
    pub(super) mtu: u32,
}

/// Whether a packet socket can be had at all.
pub(super) fn try_socket() -> io::Result<()> {
    socket().map(drop)
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor that comes back is nobody else's.
    unsafe {
        let number = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// A socket with its ring.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    map: NonNull<u8>,
    blocks: usize,
    /// The block that comes next.
    next: usize,
}

// SAFETY: the mapping belongs to this value alone, and is only used through `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// A socket that takes nothing yet, with a ring of about `bytes`.
    pub(super) fn open(filter: &[Instruction], bytes: usize) -> io::Result<Self> {
        let socket = socket()?;
        let blocks = (bytes / BLOCK_BYTES).max(2);
        set(
            &socket,
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V3 as c_int),
        )?;
        attach(&socket, filter)?;
        let frame = 2048_u32;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: frame,
            tp_frame_nr: (BLOCK_BYTES / frame as usize * blocks) as u32,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping at a place that the kernel chooses, of the length that the ring was made with.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * BLOCK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self {
            socket,
            map,
            blocks,
            next: 0,
        })
    }

    /// Takes the packets of an interface, or of all for 0, from now on.
    pub(super) fn bind(&self, index: i32) -> io::Result<()> {
        // SAFETY: all fields are numbers, for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index;
        // SAFETY: the pointer and the length are those of `address`, which outlives the call.
        let result = unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        done(result)
    }

    /// Asks the interface for packets that are not addressed to this machine.
    pub(super) fn promiscuous(&self, index: i32) -> io::Result<()> {
        // SAFETY: all fields are numbers, for which zeros are valid.
        let mut wish: libc::packet_mreq = unsafe { std::mem::zeroed() };
        wish.mr_ifindex = index;
        wish.mr_type = libc::PACKET_MR_PROMISC as u16;
        set(&self.socket, libc::PACKET_ADD_MEMBERSHIP, &wish)
    }

    /// Another filter from now on.
    pub(super) fn filter(&self, filter: &[Instruction]) -> io::Result<()> {
        attach(&self.socket, filter)
    }

    /// Copies the next block that the kernel is done with into `into`, and gives it back. The copy's length; `None`:
    /// there is none yet.
    pub(super) fn take(&mut self, into: &mut Vec<u8>) -> Option<usize> {
        // SAFETY: `next` is below `blocks`, so the block lies in the mapping; its start is aligned to a page, and so the
        // two words are to four bytes. The kernel writes the status, and we do, hence the atomic. Between the status
        // `TP_STATUS_USER` and our giving back, the kernel leaves the block alone, so it may be read as a slice, which
        // ends before that.
        let length = unsafe {
            let block = self.map.as_ptr().add(self.next * BLOCK_BYTES);
            let status = AtomicU32::from_ptr(block.add(STATUS_AT).cast());
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return None;
            }
            let length = block.add(LENGTH_AT).cast::<u32>().read() as usize;
            let length = length.min(BLOCK_BYTES);
            into.clear();
            into.extend_from_slice(std::slice::from_raw_parts(block, length));
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            length
        };
        self.next = (self.next + 1) % self.blocks;
        Some(length)
    }

    /// The kernel's counters since they were last asked for.
    pub(super) fn counts(&self) -> io::Result<KernelCounts> {
        // SAFETY: all fields are numbers, for which zeros are valid.
        let mut stats: libc::tpacket_stats_v3 = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tpacket_stats_v3>() as u32;
        // SAFETY: the pointer and the length are those of `stats`, which outlives the call.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        done(result)?;
        Ok(KernelCounts {
            received: stats.tp_packets.into(),
            dropped: stats.tp_drops.into(),
        })
    }

    /// Takes the error that waits at the socket, so that waiting for packets waits again.
    pub(super) fn clear_error(&self) {
        let (mut error, mut length): (c_int, u32) = (0, size_of::<c_int>() as u32);
        // SAFETY: the pointer and the length are those of `error`, which outlives the call.
        unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut length,
            );
        }
    }

    /// What the kernel says of the interface of this name; `None`: there is none.
    pub(super) fn look(&self, name: &str) -> Option<Look> {
        // SAFETY: all fields are numbers, for which zeros are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let room = request.ifr_name.len() - 1; // the last byte stays zero
        if name.len() > room {
            return None;
        }
        for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *slot = byte as libc::c_char;
        }
        // SAFETY: each request reads the name and writes its own member of the union, which is then read; the pointer is
        // that of `request`, which outlives the calls.
        unsafe {
            let mut ask = |what| {
                let result = libc::ioctl(self.socket.as_raw_fd(), what, &raw mut request);
                (result >= 0).then_some(request.ifr_ifru)
            };
            let index = ask(libc::SIOCGIFINDEX)?.ifru_ifindex;
            let flags = c_int::from(ask(libc::SIOCGIFFLAGS)?.ifru_flags);
            let mtu = ask(libc::SIOCGIFMTU)?.ifru_mtu;
            Some(Look {
                index,
                up: flags & libc::IFF_UP != 0,
                mtu: mtu.max(0) as u32,
            })
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping, and nothing uses it any more.
        unsafe {
            libc::munmap(self.map.as_ptr().cast(), self.blocks * BLOCK_BYTES);
        }
    }
}

/// Waits until a ring has a block, or an error, at most for so long. Gives those with an error.
pub(super) fn wait(rings: &[&Ring], timeout_ms: c_int) -> Vec<usize> {
    let mut polled: Vec<libc::pollfd> = rings
        .iter()
        .map(|ring| libc::pollfd {
            fd: RawFd::from(ring.socket.as_raw_fd()),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: the pointer and the length are those of `polled`, which outlives the call. A signal that interrupts it is as
    // good as a timeout.
    unsafe {
        libc::poll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            timeout_ms,
        );
    }
    let failed = polled
        .iter()
        .enumerate()
        .filter(|(_, polled)| polled.revents & libc::POLLERR != 0);
    failed.map(|(index, _)| index).collect()
}

fn attach(socket: &OwnedFd, filter: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<libc::sock_filter> = filter
        .iter()
        .map(|step| libc::sock_filter {
            code: step.code,
            jt: step.jump_true,
            jf: step.jump_false,
            k: step.k,
        })
        .collect();
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, whose pointer and length are right, during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as u32,
        )
    };
    done(result)
}

fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`, which outlives the call; the kernel reads it as the type
    // that belongs to the option, which the callers above pass.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as u32,
        )
    };
    done(result)
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
