//! Sends the Ethernet packets of captures out of an interface (Linux), as fast as it takes them or at a rate, for the
//! benchmarks and tests of `tlscope live`. Meant for a veth pair in a network namespace of one's own.
//!
//! `cargo run --release --example replay -- INTERFACE FILE... [--loops N] [--rate PACKETS_A_SECOND]
//! [--fresh] [--first N]`
//!
//! With `--fresh` each loop has other addresses, so that none repeats the connections of another; `--first 1` counts the loops
//! from 1, so that they do not repeat those of another run of one loop.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match linux::replay(std::env::args().skip(1)) {
        Ok(words) => {
            println!("{words}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("replay: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("replay: only on Linux");
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) mod linux {
    use std::{
        ffi::CString,
        io,
        mem::size_of,
        os::fd::{AsRawFd, FromRawFd, OwnedFd},
        thread,
        time::{Duration, Instant},
    };
    use tlscope::{
        capture::{LinkType, block::Block, feed::Fill, open::open_alone},
        limits::Limits,
    };

    /// Packets handed over in one call: no more are taken at once.
    const BATCH: usize = 1024;

    /// Does what the command line says, and tells how much it was. (The tests call this: in a namespace of one thread's own,
    /// and without an example that somebody would have to build first.)
    pub(crate) fn replay(mut arguments: impl Iterator<Item = String>) -> Result<String, String> {
        let (mut names, mut loops, mut rate, mut fresh) = (Vec::new(), 1_u64, None, false);
        let mut first = 0;
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let text = arguments
                    .next()
                    .ok_or(format!("{argument} wants a number"))?;
                text.parse::<u64>()
                    .map_err(|_| format!("`{text}` is no number"))
            };
            match argument.as_str() {
                "--loops" => loops = number()?,
                "--rate" => rate = Some(number()?),
                "--fresh" => fresh = true,
                "--first" => first = number()?,
                _ => names.push(argument),
            }
        }
        let (interface, files) = names
            .split_first()
            .filter(|(_, files)| !files.is_empty())
            .ok_or("replay INTERFACE FILE... [--loops N] [--rate PACKETS_A_SECOND]")?;
        let mut frames = read(files)?;
        let mut letters = Letters::to(&mut frames);
        let socket = socket(interface).map_err(|error| format!("{interface}: {error}"))?;
        let begun = Instant::now();
        let all: usize = frames.iter().map(Vec::len).sum();
        let (mut sent, bytes) = (0_u64, loops * all as u64);
        let mut last = 0;
        for round in first..first + loops {
            if fresh {
                // From the last round's number to this one's.
                let change = (round ^ last) as u16;
                frames.iter_mut().for_each(|frame| readdress(frame, change));
                last = round;
            }
            let at_once = rate.map_or(BATCH, |rate| BATCH.min(1 + rate as usize / 500));
            for batch in letters.messages.chunks_mut(at_once) {
                send(&socket, batch).map_err(|error| format!("{interface}: {error}"))?;
                sent += batch.len() as u64;
                if let Some(rate) = rate {
                    let due = Duration::from_secs_f64(sent as f64 / rate as f64);
                    thread::sleep(due.saturating_sub(begun.elapsed()));
                }
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        Ok(format!(
            "{sent} packets {bytes} bytes {seconds:.3} s {:.0} packets/s",
            sent as f64 / seconds
        ))
    }

    fn read(files: &[String]) -> Result<Vec<Vec<u8>>, String> {
        let limits = Limits::default();
        let mut frames = Vec::new();
        for file in files {
            let opened = open_alone(file.as_ref(), &limits);
            let (mut source, _) = opened.map_err(|error| error.to_string())?;
            let mut block = Block::default();
            loop {
                let more = source.fill(&mut block).map_err(|error| error.to_string())?;
                let ethernet = block
                    .packets
                    .iter()
                    .filter(|packet| packet.link == LinkType::ETHERNET);
                frames.extend(ethernet.map(|packet| block.data(packet).to_vec()));
                if more == Fill::End {
                    break;
                }
            }
        }
        Ok(frames)
    }

    /// Changes both addresses alike.
    fn readdress(frame: &mut [u8], change: u16) {
        let places: [usize; 2] = match frame.get(12..14) {
            Some([0x08, 0x00]) => [27, 31],
            Some([0x86, 0xDD]) => [26, 42],
            _ => return,
        };
        for at in places {
            if let Some(part) = frame.get_mut(at..at + 2) {
                part.iter_mut()
                    .zip(change.to_be_bytes())
                    .for_each(|(byte, change)| *byte ^= change);
            }
        }
    }

    /// A socket that sends whole frames out of the interface.
    fn socket(interface: &str) -> io::Result<OwnedFd> {
        let name = CString::new(interface)?;
        // SAFETY: the name ends with a zero; the descriptor that comes back is nobody else's; `address` is all numbers,
        // for which zeros are valid, and outlives the call that gets its pointer and length.
        unsafe {
            let index = libc::if_nametoindex(name.as_ptr());
            if index == 0 {
                return Err(io::Error::last_os_error());
            }
            let number = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let socket = OwnedFd::from_raw_fd(number);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = index as i32;
            let length = size_of::<libc::sockaddr_ll>() as u32;
            if libc::bind(number, (&raw const address).cast(), length) < 0 {
                return Err(io::Error::last_os_error());
            }
            // Past the queue of the interface. Where that can't be had, it goes without.
            let bypass: libc::c_int = 1;
            libc::setsockopt(
                number,
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const bypass).cast(),
                size_of::<libc::c_int>() as u32,
            );
            Ok(socket)
        }
    }

    /// What the kernel is to be told of each frame: made once, for each call to go through.
    struct Letters {
        messages: Vec<libc::mmsghdr>,
        /// Where the messages point to.
        _parts: Vec<libc::iovec>,
    }

    impl Letters {
        /// The frames must stay where they are as long as this lives; their bytes may change.
        fn to(frames: &mut [Vec<u8>]) -> Self {
            let mut parts: Vec<libc::iovec> = frames
                .iter_mut()
                .map(|frame| libc::iovec {
                    iov_base: frame.as_mut_ptr().cast(),
                    iov_len: frame.len(),
                })
                .collect();
            let messages = parts
                .iter_mut()
                .map(|part| {
                    // SAFETY: all fields are numbers or pointers, for which zeros are valid.
                    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                    message.msg_hdr.msg_iov = part;
                    message.msg_hdr.msg_iovlen = 1;
                    message
                })
                .collect();
            Self {
                messages,
                _parts: parts,
            }
        }
    }

    /// Sends all of a batch; a full queue is waited for.
    fn send(socket: &OwnedFd, messages: &mut [libc::mmsghdr]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = messages.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // SAFETY: the messages and what they point to outlive the call, which only reads the frames.
            let sent = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0)
            };
            if sent < 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) => {
                        thread::sleep(Duration::from_micros(50));
                        continue;
                    }
                    _ => return Err(error),
                }
            }
            done += sent as usize;
        }
        Ok(())
    }
}
