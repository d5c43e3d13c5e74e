//! Puts a slow reader on a thread of its own: one that expands, or one whose other end may be silent for hours.

use std::io::{self, Read};
use std::time::Duration;

/// Chunks that the thread may be ahead, and the bytes of one.
const CHUNKS: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;
/// How long a silent input is waited for before the caller may look after other things.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

type Chunk = io::Result<Vec<u8>>;

/// Reads `inner` on another thread, which ends with its input, or when nobody reads from it any more. Where `live`,
/// silence is told as [`io::ErrorKind::WouldBlock`] after a while; otherwise it is waited for, so that blocks end
/// where they always do.
pub(super) fn read_ahead(mut inner: Box<dyn Read + Send>, live: bool) -> Box<dyn Read + Send> {
    let (sender, receiver) = crossbeam_channel::bounded::<Chunk>(CHUNKS);
    let (spare_sender, spare) = crossbeam_channel::bounded::<Vec<u8>>(CHUNKS + 1);
    std::thread::spawn(move || {
        loop {
            let mut chunk = spare.try_recv().unwrap_or_default();
            chunk.resize(CHUNK_BYTES, 0);
            let read = loop {
                match inner.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            let ended = !matches!(read, Ok(1..));
            let message = read.map(|count| {
                chunk.truncate(count);
                chunk
            });
            if sender.send(message).is_err() || ended {
                return;
            }
        }
    });
    Box::new(Ahead {
        receiver,
        spare: spare_sender,
        chunk: io::Cursor::default(),
        live,
    })
}

/// The near end of [`read_ahead`].
struct Ahead {
    receiver: crossbeam_channel::Receiver<Chunk>,
    /// Chunks to be used again.
    spare: crossbeam_channel::Sender<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
    live: bool,
}

impl Ahead {
    /// The next chunk; `None` when the other end is gone.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
        if !self.live {
            return self.receiver.recv().ok().transpose();
        }
        match self.receiver.recv_timeout(PATIENCE) {
            Ok(chunk) => chunk.map(Some),
            Err(Timeout) => Err(io::ErrorKind::WouldBlock.into()),
            Err(Disconnected) => Ok(None),
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.chunk.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let Some(chunk) = self.receive()? else {
            return Ok(0); // the input has ended
        };
        let used = core::mem::replace(&mut self.chunk, io::Cursor::new(chunk));
        let _ = self.spare.try_send(used.into_inner()); // there may be enough of them
        self.chunk.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_what_there_is() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
        for live in [false, true] {
            let mut read = Vec::new();
            let inner = Box::new(io::Cursor::new(bytes.clone()));
            read_ahead(inner, live).read_to_end(&mut read).unwrap();
            assert!(read == bytes);
        }
    }

    #[test]
    fn silence_is_told_of_live_inputs_only() {
        let (silent, speaker) = io::pipe().unwrap();
        let mut ahead = read_ahead(Box::new(silent), true);
        let told = ahead.read(&mut [0; 8]).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::WouldBlock);
        drop(speaker);
        assert_eq!(ahead.read(&mut [0; 8]).unwrap(), 0);
    }
}
