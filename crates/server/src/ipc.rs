//! Arrow IPC messages from callers.
//!
//! The library below trusts what a message says of itself: a length it declares is allocated, a place outside of the body
//! or a type it does not know is a panic. So a message is looked through first, and what is left is caught.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::{CompressionType, Message, MessageHeader, RecordBatch as BatchHeader, convert, reader};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use bytes::Bytes;

use crate::error::{ApiError, Result};

/// Bytes of a message, header and body, at most.
pub(crate) const MOST_MESSAGE_BYTES: usize = 64 << 20;
/// Bytes of a message's header at most.
const MOST_HEADER_BYTES: usize = 1 << 20;
/// Bytes that the compressed parts of a message may become at most.
const MOST_DECODED_BYTES: u64 = 256 << 20;
/// Bytes of all dictionaries of a stream at most.
const MOST_DICTIONARY_BYTES: usize = 128 << 20;
/// Columns of a stream at most: no table has nearly as many.
const MOST_COLUMNS: usize = 256;
/// Rows a message may claim.
const MOST_ROWS: i64 = 16 << 20;
/// What a compressed part begins with: its length once it is decoded, or this where it is not compressed.
const PLAIN: i64 = -1;
const PREFIX: usize = 8;

/// What a message was.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// The schema of what follows.
    Schema(SchemaRef),
    /// Something that later messages build on.
    Nothing,
    /// Rows.
    Batch(RecordBatch),
}

/// Reads the messages of one stream, in their order.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// Reads one message: its header as a flatbuffer, and its body.
    pub(crate) fn decode(&mut self, header: &[u8], body: Bytes) -> Result<Decoded> {
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| self.read(header, body)));
        read.unwrap_or_else(|_| Err(broken("it contradicts itself")))
    }

    fn read(&mut self, header: &[u8], body: Bytes) -> Result<Decoded> {
        if header.len() > MOST_HEADER_BYTES {
            return Err(broken(format!("its header is longer than {MOST_HEADER_BYTES} bytes")));
        }
        let message = arrow_ipc::root_as_message(header).map_err(broken)?;
        match message.header_type() {
            MessageHeader::Schema => self.read_schema(&message),
            MessageHeader::RecordBatch => {
                let schema = self.schema.clone().ok_or_else(|| broken("it comes before the schema"))?;
                let batch = message.header_as_record_batch().ok_or_else(|| broken("it has no batch"))?;
                check_parts(&batch, &body)?;
                let (body, version) = (Buffer::from(body), message.version());
                let batch = reader::read_record_batch(&body, batch, schema, &self.dictionaries, None, &version);
                batch.map(Decoded::Batch).map_err(broken)
            }
            MessageHeader::DictionaryBatch => {
                let schema = self.schema.clone().ok_or_else(|| broken("it comes before the schema"))?;
                let batch = message.header_as_dictionary_batch().ok_or_else(|| broken("it has no dictionary"))?;
                let values = batch.data().ok_or_else(|| broken("it has no dictionary"))?;
                check_parts(&values, &body)?;
                let (body, version) = (Buffer::from(body), message.version());
                reader::read_dictionary(&body, batch, &schema, &mut self.dictionaries, &version).map_err(broken)?;
                let bytes: usize = self.dictionaries.values().map(|values| values.get_buffer_memory_size()).sum();
                if bytes > MOST_DICTIONARY_BYTES {
                    return Err(ApiError::invalid(format!(
                        "The dictionaries of the stream take more than {MOST_DICTIONARY_BYTES} bytes. Begin a new \
                         stream, or send the columns plain."
                    )));
                }
                Ok(Decoded::Nothing)
            }
            MessageHeader::NONE => Ok(Decoded::Nothing),
            _ => Err(broken("it is neither a schema, nor a batch, nor a dictionary")),
        }
    }

    fn read_schema(&mut self, message: &Message<'_>) -> Result<Decoded> {
        if self.schema.is_some() {
            return Err(broken("it is a second schema"));
        }
        let schema = message.header_as_schema().ok_or_else(|| broken("it has no schema"))?;
        if schema.endianness() != arrow_ipc::Endianness::Little {
            return Err(broken("its numbers are big-endian"));
        }
        let columns = schema.fields().map_or(0, |fields| fields.len());
        if columns == 0 || columns > MOST_COLUMNS {
            return Err(broken(format!("it has {columns} columns")));
        }
        let schema = Arc::new(convert::fb_to_schema(schema));
        // Nothing that is taken nests, and reading what does is where the library is weakest.
        if let Some(field) = schema.fields().iter().find(|field| is_nested(field.data_type())) {
            let name: String = field.name().chars().take(100).collect();
            return Err(ApiError::invalid(format!("The column {name:?} is of a nested type, which no table takes.")));
        }
        self.schema = Some(Arc::clone(&schema));
        Ok(Decoded::Schema(schema))
    }
}

fn is_nested(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => values.is_nested() || matches!(**values, DataType::Dictionary(..)),
        kind => kind.is_nested(),
    }
}

/// That all parts of a batch lie within its body and decode to something that fits memory.
fn check_parts(batch: &BatchHeader<'_>, body: &[u8]) -> Result<()> {
    let is_length = |length: i64| (0..=MOST_ROWS).contains(&length);
    if !is_length(batch.length()) {
        return Err(broken(format!("it claims {} rows", batch.length())));
    }
    let nodes = batch.nodes().ok_or_else(|| broken("it has no columns"))?;
    if nodes.iter().any(|node| !is_length(node.length()) || !(0..=node.length()).contains(&node.null_count())) {
        return Err(broken("the length of a column is wrong"));
    }
    let mut variadic = batch.variadicBufferCounts().into_iter().flatten();
    let buffers = batch.buffers().ok_or_else(|| broken("it has no buffers"))?;
    if variadic.any(|count| usize::try_from(count).map_or(true, |count| count > buffers.len())) {
        return Err(broken("the number of its buffers is wrong"));
    }
    let codec = batch.compression().map(|compression| compression.codec());
    let mut decoded = 0u64;
    for buffer in buffers {
        let part = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let part = part.and_then(|(from, length)| body.get(from..from.checked_add(length)?));
        let part = part.ok_or_else(|| broken("a part of it lies outside of its body"))?;
        if let Some(codec) = codec.filter(|_| !part.is_empty()) {
            decoded = decoded.saturating_add(decoded_bytes(part, codec)?);
            if decoded > MOST_DECODED_BYTES {
                return Err(ApiError::invalid(format!(
                    "An Arrow message is longer than {MOST_DECODED_BYTES} bytes once it is decompressed. Send smaller \
                     batches."
                )));
            }
        }
    }
    Ok(())
}

/// How much memory decoding a compressed part takes at most.
fn decoded_bytes(part: &[u8], codec: CompressionType) -> Result<u64> {
    let (declared, data) =
        part.split_first_chunk::<PREFIX>().ok_or_else(|| broken("a compressed part is cut short"))?;
    match i64::from_le_bytes(*declared) {
        PLAIN => Ok(data.len() as u64),
        declared => {
            let declared = u64::try_from(declared).map_err(|_| broken("a compressed part has a negative length"))?;
            // The Zstandard reader stops at the declared length; the LZ4 reader goes on to the end.
            let reached = if codec == CompressionType::LZ4_FRAME && declared > 0 { lz4_bytes(data)? } else { 0 };
            Ok(declared.max(reached))
        }
    }
}

/// What an LZ4 frame can become at most: the number of its blocks, times the length of a full one.
fn lz4_bytes(frame: &[u8]) -> Result<u64> {
    const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
    const UNCOMPRESSED: u32 = 1 << 31;
    let cut = || broken("an LZ4 frame is cut short");
    let (magic, rest) = frame.split_first_chunk::<4>().ok_or_else(cut)?;
    let ([flags, sizes], rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    if *magic != MAGIC || flags >> 6 != 1 {
        return Err(broken("a compressed part is no LZ4 frame"));
    }
    let has = |bit: u8| usize::from(flags >> bit & 1);
    // Content length, dictionary id, and the header's checksum.
    let mut rest = rest.get(8 * has(3) + 4 * has(0) + 1..).ok_or_else(cut)?;
    let block_limit = match sizes >> 4 & 7 {
        4 => 64u64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(broken("an LZ4 frame has blocks of an unknown size")),
    };
    let mut bytes = 0u64;
    loop {
        let (header, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let header = u32::from_le_bytes(*header);
        if header == 0 {
            // The reader stops here, too, whatever follows.
            return Ok(bytes);
        }
        let length = (header & !UNCOMPRESSED) as usize;
        let most = if header & UNCOMPRESSED == 0 { block_limit.min(255 * length as u64 + 16) } else { length as u64 };
        bytes = bytes.saturating_add(most);
        rest = after.get(length + 4 * has(4)..).ok_or_else(cut)?;
    }
}

fn broken(problem: impl ToString) -> ApiError {
    let problem: String = problem.to_string().chars().take(300).collect();
    ApiError::invalid(format!("An Arrow message cannot be read: {problem}"))
}

/// Whether a message's header says that it holds rows.
pub(crate) fn is_batch(header: &[u8]) -> bool {
    arrow_ipc::root_as_message(header).is_ok_and(|message| message.header_type() == MessageHeader::RecordBatch)
}

/// The messages of a stream as it goes over HTTP: framed by their lengths.
#[derive(Debug, Default)]
pub(crate) struct Framed {
    bytes: bytes::BytesMut,
    ended: bool,
}

impl Framed {
    const CONTINUES: [u8; 4] = [0xFF; 4];

    /// Adds what arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next message, header and body, once it is there whole.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        if self.ended {
            return Ok(None);
        }
        let Some(start) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        // Streams of old writers have no marker.
        let prefix = if *start == Self::CONTINUES { 8 } else { 4 };
        let Some(length) = self.bytes.get(prefix - 4..prefix) else { return Ok(None) };
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
        if length == 0 {
            self.ended = true;
            self.bytes.clear();
            return Ok(None);
        }
        if length > MOST_HEADER_BYTES {
            return Err(broken(format!("its header is longer than {MOST_HEADER_BYTES} bytes")));
        }
        let Some(header) = self.bytes.get(prefix..prefix + length) else { return Ok(None) };
        let body = arrow_ipc::root_as_message(header).map_err(broken)?.bodyLength();
        let body = usize::try_from(body).map_err(|_| broken("its body has a negative length"))?;
        if body > MOST_MESSAGE_BYTES {
            return Err(too_long());
        }
        if self.bytes.len() < prefix + length + body {
            return Ok(None);
        }
        let mut message = self.bytes.split_to(prefix + length + body).freeze();
        let body = message.split_off(prefix + length);
        Ok(Some((message.split_off(prefix), body)))
    }

    /// That nothing is left of a message when the stream ends.
    pub(crate) fn finish(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(broken("it is cut short")) }
    }
}

fn too_long() -> ApiError {
    ApiError::invalid(format!("An Arrow message is longer than {MOST_MESSAGE_BYTES} bytes. Send smaller batches."))
}

impl From<ArrowError> for ApiError {
    fn from(error: ArrowError) -> Self {
        broken(error)
    }
}

#[cfg(test)]
mod tests;
