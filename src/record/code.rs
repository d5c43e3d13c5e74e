//! Wire numbers and times as the record writes them.
//!
//! A wire code is a lower-case hex string of fixed width (`"0x0303"`), so that a reader never has to
//! guess a radix, and unknown numbers survive. Times are RFC 3339 UTC with nine decimals.

use core::cell::Cell;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// A 16-bit wire number (version, cipher suite, extension, group …), written as `"0x0303"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Code16(pub u16);

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Code16 {
    /// The six characters that stand for this number.
    pub fn hex(self) -> [u8; 6] {
        let nibble = |shift: u16| HEX[usize::from((self.0 >> shift) & 0xf)];
        [b'0', b'x', nibble(12), nibble(8), nibble(4), nibble(0)]
    }
}

impl fmt::Display for Code16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

impl fmt::Debug for Code16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Code16 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Hex digits are ASCII, so this never falls back.
        serializer.serialize_str(core::str::from_utf8(&self.hex()).unwrap_or("0x0000"))
    }
}

impl<'de> Deserialize<'de> for Code16 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!("`{text}` is no 16-bit hex code such as 0x0303"))
            })
    }
}

impl schemars::JsonSchema for Code16 {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Code16".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{4}$" })
    }
}

/// Nanoseconds since 1970-01-01 UTC, by the clock of the capturing machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// RFC 3339 in UTC with nine decimals; the range of an i64 of nanoseconds has years of four digits.
    pub fn rfc3339(self) -> [u8; 30] {
        let (days, within) = (
            self.0.div_euclid(86_400_000_000_000),
            self.0.rem_euclid(86_400_000_000_000),
        );
        // All fit: the day has 86,400 seconds, the second 1,000,000,000 nanoseconds.
        let (seconds, nanos) = (
            (within / 1_000_000_000) as u32,
            (within % 1_000_000_000) as u32,
        );
        let fine = nanos % 100_000_000;
        let [y0, y1, y2, y3, m0, m1, d0, d1] = date(days);
        let [h0, h1] = two(seconds / 3600);
        let [n0, n1] = two(seconds / 60 % 60);
        let [s0, s1] = two(seconds % 60);
        let f0 = b'0' + (nanos / 100_000_000) as u8;
        let ([f1, f2], [f3, f4]) = (two(fine / 1_000_000), two(fine / 10_000 % 100));
        let ([f5, f6], [f7, f8]) = (two(fine / 100 % 100), two(fine % 100));
        [
            y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1,
            b'.', f0, f1, f2, f3, f4, f5, f6, f7, f8, b'Z',
        ]
    }

    /// Whole microseconds from `earlier` to this time; negative where the capture's clock went back.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0) / 1_000
    }
}

/// The two digits of a number below 100, of which all that is shown of a time consists.
#[inline]
fn two(value: u32) -> [u8; 2] {
    const DIGITS: [[u8; 2]; 100] = {
        let mut digits = [[b'0'; 2]; 100];
        let mut value = 0;
        while value < 100 {
            digits[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
            value += 1;
        }
        digits
    };
    DIGITS.get(value as usize).copied().unwrap_or([b'?'; 2])
}

thread_local! {
    /// The day that was asked for last, and its date: nearly all times of a capture are of one day.
    static LAST_DATE: Cell<(i64, [u8; 8])> = const { Cell::new((0, *b"19700101")) };
}

/// Year, month and day of a number of days since 1970-01-01, as digits.
fn date(days: i64) -> [u8; 8] {
    let (known, date) = LAST_DATE.get();
    if known == days {
        return date;
    }
    let (year, month, day) = civil(days);
    let year = year as u32;
    let ([y0, y1], [y2, y3]) = (two(year / 100), two(year % 100));
    let ([m0, m1], [d0, d1]) = (two(month as u32), two(day as u32));
    let date = [y0, y1, y2, y3, m0, m1, d0, d1];
    LAST_DATE.set((days, date));
    date
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic Gregorian calendar: years are
/// counted from March, so that the leap day comes last, in eras of 400 years. A record has two of these, and
/// a general time library takes as long for them as the rest of the record does.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All of it is ASCII.
        f.write_str(core::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        i64::try_from(time.as_nanosecond())
            .map(Self)
            .map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A digest, written as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 hex digits hold the largest digest in use (SHA-256).
        let mut text = [0u8; 64];
        let mut used = 0;
        for (slot, byte) in text.chunks_exact_mut(2).zip(self.0) {
            slot.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
            used += 2;
        }
        f.write_str(
            text.get(..used)
                .and_then(|digits| core::str::from_utf8(digits).ok())
                .unwrap_or(""),
        )
    }
}

impl<const N: usize> fmt::Debug for Digest<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Digest<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Digest<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0u8; N];
        if text.len() != 2 * N || !text.is_ascii() {
            return Err(de::Error::custom(format!(
                "`{text}` is no digest of {N} bytes in hex"
            )));
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16)
                .map_err(de::Error::custom)?;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> schemars::JsonSchema for Digest<N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Digest{N}").into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", 2 * N) })
    }
}

/// What was computed of a value, kept once it was asked for. It is no part of the value: equality, hashing and copies
/// pass over it.
pub struct Once<T>(std::sync::OnceLock<T>);

/// A value's JSON.
pub type Rendered = Once<Box<[u8]>>;

impl<T> Once<T> {
    /// What was kept, if anything.
    #[inline]
    pub fn known(&self) -> Option<&T> {
        self.0.get()
    }

    /// What was kept, or what `compute` makes now.
    #[inline]
    pub fn get(&self, compute: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(compute)
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(std::sync::OnceLock::new())
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> PartialEq for Once<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Once<T> {}

impl<T> core::hash::Hash for Once<T> {
    fn hash<H: core::hash::Hasher>(&self, _: &mut H) {}
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_width() {
        assert_eq!(
            serde_json::to_string(&Code16(0x0303)).unwrap(),
            "\"0x0303\""
        );
        assert_eq!(
            serde_json::from_str::<Code16>("\"0xc014\"").unwrap(),
            Code16(0xc014)
        );
        assert!(serde_json::from_str::<Code16>("\"771\"").is_err());
    }

    #[test]
    fn times_have_nine_decimals() {
        let time = Timestamp(1_700_000_000_000_000_001);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(
            serde_json::from_str::<Timestamp>("\"2023-11-14T22:13:20.000000001Z\"").unwrap(),
            time
        );
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn times_are_those_of_a_time_library() {
        let mut nanoseconds = i64::MIN;
        while nanoseconds < i64::MAX - 100_000_000_000_000_000 {
            let by_jiff = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap();
            assert_eq!(Timestamp(nanoseconds).to_string(), format!("{by_jiff:.9}"));
            nanoseconds += 86_399_123_456_789 * 7;
        }
    }

    #[test]
    fn digests_are_hex() {
        let digest = Digest([0x0a; 16]);
        assert_eq!(digest.to_string(), "0a".repeat(16));
        let back: Digest<16> = serde_json::from_str(&format!("\"{digest}\"")).unwrap();
        assert_eq!(back, digest);
    }
}
