//! A greedy encoder of XPRESS (plain LZ77), for traces that tests write.

/// Packs `plain`; unused flags of the last word are ones.
pub(crate) fn pack(plain: &[u8]) -> Vec<u8> {
    let mut output = Output {
        bytes: Vec::new(),
        flags: 0,
        used: 0,
        flags_at: 0,
        half_at: None,
    };
    output.begin_flags();
    let mut last: std::collections::HashMap<[u8; 3], usize> = std::collections::HashMap::new();
    let mut at = 0;
    while at < plain.len() {
        let key = plain
            .get(at..at + 3)
            .map(|key| <[u8; 3]>::try_from(key).unwrap());
        let found = key
            .and_then(|key| last.insert(key, at))
            .filter(|start| at - start <= 8192);
        match found {
            Some(start) => {
                let length = plain[at..]
                    .iter()
                    .zip(&plain[start..])
                    .take_while(|(a, b)| a == b)
                    .count();
                output.pair(at - start, length);
                at += length;
            }
            None => {
                output.flag(false);
                output.bytes.push(plain[at]);
                at += 1;
            }
        }
    }
    output.finish()
}

struct Output {
    bytes: Vec<u8>,
    flags: u32,
    used: u32,
    flags_at: usize,
    half_at: Option<usize>,
}

impl Output {
    fn begin_flags(&mut self) {
        self.flags_at = self.bytes.len();
        self.bytes.extend([0; 4]);
        (self.flags, self.used) = (0, 0);
    }

    fn end_flags(&mut self) {
        self.bytes[self.flags_at..self.flags_at + 4].copy_from_slice(&self.flags.to_le_bytes());
    }

    fn flag(&mut self, set: bool) {
        if self.used == 32 {
            self.end_flags();
            self.begin_flags();
        }
        self.used += 1;
        self.flags |= u32::from(set) << (32 - self.used);
    }

    fn pair(&mut self, distance: usize, length: usize) {
        self.flag(true);
        let rest = length - 3;
        let head = ((distance - 1) as u16) << 3 | rest.min(7) as u16;
        self.bytes.extend(head.to_le_bytes());
        if rest < 7 {
            return;
        }
        let nibble = (rest - 7).min(15) as u8;
        match self.half_at.take() {
            Some(at) => self.bytes[at] |= nibble << 4,
            None => {
                self.half_at = Some(self.bytes.len());
                self.bytes.push(nibble);
            }
        }
        if nibble < 15 {
            return;
        }
        if rest - 22 < 255 {
            self.bytes.push((rest - 22) as u8);
        } else {
            self.bytes.push(255);
            if rest < 1 << 16 {
                self.bytes.extend((rest as u16).to_le_bytes());
            } else {
                self.bytes.extend([0; 2]);
                self.bytes.extend((rest as u32).to_le_bytes());
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.used < 32 {
            self.flags |= u32::MAX.checked_shr(self.used).unwrap_or(0);
        }
        self.end_flags();
        self.bytes
    }
}
