//! Zig-zag varints, as records use them.

/// The longest that 64 bits can get.
const BYTES_MAX: usize = 10;

pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push((bits as u8 & 0x7f) | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Takes a varint off the front. `None` if the bytes end within it or if it does not fit into 64 bits.
pub(super) fn read(input: &mut &[u8]) -> Option<i64> {
    let mut bits: u64 = 0;
    for (place, byte) in input.iter().take(BYTES_MAX).enumerate() {
        if place == BYTES_MAX - 1 && *byte > 1 {
            return None;
        }
        bits |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *input = &input[place + 1..];
            return Some((bits >> 1) as i64 ^ -((bits & 1) as i64));
        }
    }
    None
}

/// As [`read`], for fields of 32 bits.
pub(super) fn read_i32(input: &mut &[u8]) -> Option<i32> {
    i32::try_from(read(input)?).ok()
}

/// A length and that many bytes. The outer `None`: broken; the inner: null (-1).
#[allow(clippy::option_option)]
pub(super) fn read_nullable<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_i32(input)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
    *input = rest;
    Some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_bytes_that_kafka_writes() {
        for (value, bytes) in [
            (0, vec![0]),
            (-1, vec![1]),
            (63, vec![0x7e]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (
                i64::MAX,
                vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            ),
            (i64::MIN, vec![0xff; 9].into_iter().chain([1]).collect()),
        ] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, bytes);
            let mut input = out.as_slice();
            assert_eq!(read(&mut input), Some(value));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn overlong_and_truncated_varints_are_refused() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0xff; 9],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert_eq!(read(&mut &bytes[..]), None);
        }
        let mut wide = Vec::new();
        write(&mut wide, i64::from(i32::MAX) + 1);
        assert_eq!(read_i32(&mut wide.as_slice()), None);
    }
}
