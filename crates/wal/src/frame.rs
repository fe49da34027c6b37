//! The bytes of the log, format 1. Both logs write the same: a header, then frames.
//!
//! ```text
//! header, 256 bytes                                 frame, 24 bytes + payload, padded with zeros to 8 bytes
//!   0  magic "RUNLKWAL"                               0  payload length, u32
//!   8  format version, u32                            4  CRC-32 of the payload
//!  12  offset of the first frame, u32                 8  sequence number, u64
//!  16  epoch of the writer, u64                      16  kind: 1 data, 2 end of a log closed in good order
//!  24  number in the file's name, u64                17  zero, 3 bytes
//!  32  first_seq: the first frame here has it        20  CRC-32 of the nonce and the 20 bytes before
//!  40  prev_seq: last frame before this file, 0 none 24  payload
//!  48  prev_end: where that frame ends in its file
//!  56  trimmed: tables hold every frame up to it
//!  64  created, microseconds since 1970, i64
//!  72  nonce, 32 bytes, never used twice
//! 104  lake id: length, u8, then up to 147 bytes
//! 252  CRC-32 of the 252 bytes before
//! ```
//!
//! Integers are little-endian. The nonce makes frames of a file's earlier life (segments are recycled) worthless:
//! their check sums do not fit, and their sequence numbers are lower than what is expected there.

use runlake_types::{Epoch, Seq};

use crate::Error;

const MAGIC: [u8; 8] = *b"RUNLKWAL";
/// The format this build writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;
/// Length of the header.
pub(crate) const HEADER_LEN: usize = 256;
/// Length of a frame without its payload.
pub(crate) const FRAME_LEN: usize = 24;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// The longest payload of a frame, 1 GiB: a group far beyond every configured limit.
pub(crate) const MAX_PAYLOAD: usize = 1 << 30;
/// Nonce length in bytes.
pub(crate) const NONCE_LEN: usize = 32;

const CRC_AT: usize = HEADER_LEN - 4;
const LAKE_AT: usize = 105;

/// What a segment or an object says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Offset of the first frame.
    pub(crate) body: u32,
    pub(crate) epoch: Epoch,
    pub(crate) number: u64,
    pub(crate) first_seq: Seq,
    /// The last frame of the log before this file; 0 for none.
    pub(crate) prev_seq: Seq,
    /// Where the frame `prev_seq` ends in the file before.
    pub(crate) prev_end: u64,
    /// Tables hold every frame up to here.
    pub(crate) trimmed: Seq,
    /// Microseconds since 1970.
    pub(crate) created: i64,
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) lake_id: String,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body.to_le_bytes());
        let numbers = [self.epoch.0, self.number, self.first_seq.0, self.prev_seq.0, self.prev_end, self.trimmed.0];
        for (slot, number) in bytes[16..64].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes[64..72].copy_from_slice(&self.created.to_le_bytes());
        bytes[72..104].copy_from_slice(&self.nonce);
        let id = &self.lake_id.as_bytes()[..self.lake_id.len().min(CRC_AT - LAKE_AT)];
        bytes[104] = u8::try_from(id.len()).expect("an id is at most 147 bytes long here");
        bytes[LAKE_AT..LAKE_AT + id.len()].copy_from_slice(id);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `file`, whose name carries `number`.
    pub(crate) fn decode(bytes: &[u8], file: &str, number: u64, lake_id: &str) -> Result<Self, Error> {
        let corrupt = |offset, problem: &str| Err(Error::corrupt(file, offset, problem));
        if bytes.len() < 12 || bytes[..8] != MAGIC {
            return corrupt(0, "this is not a runlake log file");
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(Error::Newer { file: file.to_owned(), found: version, known: VERSION });
        }
        if bytes.len() < HEADER_LEN || crc32fast::hash(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return corrupt(0, "the header's check sum does not fit");
        }
        let id_len = usize::from(bytes[104]).min(CRC_AT - LAKE_AT);
        let header = Self {
            body: u32_at(bytes, 12),
            epoch: Epoch(u64_at(bytes, 16)),
            number: u64_at(bytes, 24),
            first_seq: Seq(u64_at(bytes, 32)),
            prev_seq: Seq(u64_at(bytes, 40)),
            prev_end: u64_at(bytes, 48),
            trimmed: Seq(u64_at(bytes, 56)),
            created: u64_at(bytes, 64).cast_signed(),
            nonce: bytes[72..104].try_into().expect("the slice is 32 bytes long"),
            lake_id: String::from_utf8_lossy(&bytes[LAKE_AT..LAKE_AT + id_len]).into_owned(),
        };
        if header.lake_id != lake_id {
            let (file, found, expected) = (file.to_owned(), header.lake_id, lake_id.to_owned());
            return Err(Error::WrongLake { file, found, expected });
        }
        if header.number != number {
            let found = header.number;
            return Err(Error::corrupt(file, 24, format!("its header says number {found}: was it renamed or copied?")));
        }
        Ok(header)
    }

    pub(crate) fn seal(&self) -> Seal {
        Seal::new(&self.nonce)
    }
}

/// Whether a lake id fits into a header.
pub(crate) fn lake_id_fits(lake_id: &str) -> bool {
    lake_id.len() <= CRC_AT - LAKE_AT
}

/// Bytes of a nonce from the hex text that storage makes.
pub(crate) fn nonce_bytes(text: &str) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    for (slot, byte) in nonce.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
    nonce
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data = 1,
    End = 2,
}

/// The start of a frame, found to be whole and written in this life of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) len: usize,
    pub(crate) crc: u32,
    pub(crate) seq: Seq,
    pub(crate) kind: Kind,
}

impl FrameHeader {
    /// Whole length in the file, with padding.
    pub(crate) fn span(&self) -> u64 {
        frame_span(self.len) as u64
    }
}

/// Length of a frame with its payload and padding.
pub(crate) const fn frame_span(payload: usize) -> usize {
    (FRAME_LEN + payload).next_multiple_of(ALIGN)
}

/// Writes and recognises the frames of one file.
#[derive(Debug, Clone)]
pub(crate) struct Seal(crc32fast::Hasher);

impl Seal {
    fn new(nonce: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(nonce);
        Self(hasher)
    }

    /// Appends a frame to `out`.
    pub(crate) fn encode(&self, kind: Kind, seq: Seq, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
        }
        let end = out.len() + frame_span(payload.len());
        let mut header = [0; FRAME_LEN];
        let len = u32::try_from(payload.len()).expect("the limit is below 4 GiB");
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4..8].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        header[8..16].copy_from_slice(&seq.0.to_le_bytes());
        header[16] = kind as u8;
        let crc = self.crc(&header);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        out.resize(end, 0);
        Ok(())
    }

    /// The frame header at the start of `bytes`; `None` when there is none of this file's life.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<FrameHeader> {
        if bytes.len() < FRAME_LEN || self.crc(&bytes[..FRAME_LEN]) != u32_at(bytes, 20) {
            return None;
        }
        let kind = match bytes[16] {
            1 => Kind::Data,
            2 => Kind::End,
            _ => return None,
        };
        let len = usize::try_from(u32_at(bytes, 0)).ok().filter(|len| *len <= MAX_PAYLOAD)?;
        Some(FrameHeader { len, crc: u32_at(bytes, 4), seq: Seq(u64_at(bytes, 8)), kind })
    }

    fn crc(&self, header: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&header[..20]);
        hasher.finalize()
    }
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes make a u64"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes make a u32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            body: 4096,
            epoch: Epoch(3),
            number: 9,
            first_seq: Seq(101),
            prev_seq: Seq(100),
            prev_end: 5000,
            trimmed: Seq(40),
            created: -5,
            nonce: nonce_bytes("0123456789abcdef0123456789abcdef"),
            lake_id: "a-lake".to_owned(),
        }
    }

    #[test]
    fn a_header_reads_back_and_refuses_what_it_is_not() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes, "f", 9, "a-lake").unwrap(), header());
        assert!(matches!(Header::decode(&bytes, "f", 9, "b"), Err(Error::WrongLake { .. })));
        assert!(matches!(Header::decode(&bytes, "f", 8, "a-lake"), Err(Error::Corrupt { offset: 24, .. })));
        assert!(matches!(Header::decode(&[], "f", 9, "a-lake"), Err(Error::Corrupt { .. })));
        let mut newer = bytes;
        newer[8] = 2;
        assert!(matches!(Header::decode(&newer, "f", 9, "a-lake"), Err(Error::Newer { found: 2, known: 1, .. })));
        for at in 12..HEADER_LEN {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert!(matches!(Header::decode(&bad, "f", 9, "a-lake"), Err(Error::Corrupt { .. })), "{at}");
        }
    }

    #[test]
    fn a_frame_reads_back_under_its_own_nonce_only() {
        let seal = header().seal();
        let mut bytes = Vec::new();
        seal.encode(Kind::Data, Seq(7), b"hello", &mut bytes).unwrap();
        assert_eq!(bytes.len(), frame_span(5));
        let frame = seal.decode(&bytes).unwrap();
        assert_eq!((frame.len, frame.seq, frame.kind), (5, Seq(7), Kind::Data));
        assert_eq!(frame.crc, crc32fast::hash(b"hello"));
        let other = Seal::new(&nonce_bytes("another"));
        assert_eq!(other.decode(&bytes), None);
        for at in 0..FRAME_LEN {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(seal.decode(&bad), None, "{at}");
        }
    }
}
