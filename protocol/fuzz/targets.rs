//! What is fuzzed: bytes as they come from anybody. Panicking is the failure; the fuzzer watches the memory.

use bytes::{Bytes, BytesMut};
use flotilla_protocol::records::{self, Origin};
use flotilla_protocol::{ApiKey, Message, Reader, Writer, for_each_api, frame, messages};

const FRAME_BYTES_MAX: usize = 1 << 20;
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// A connection's bytes: frames one after the other, each with a request's header.
pub fn frame(data: &[u8]) {
    let mut received = BytesMut::from(data);
    while let Ok(Some(frame)) = frame::split(&mut received, FRAME_BYTES_MAX) {
        assert!(frame.len() <= FRAME_BYTES_MAX);
        let _ = frame::decode_request(frame);
    }
}

/// One frame: a request's header and the request, whichever it is.
pub fn request(data: &[u8]) {
    let Ok((header, mut r)) = frame::decode_request(Bytes::copy_from_slice(data)) else {
        return;
    };
    macro_rules! dispatch {
        ($($api:ident $request:ident $response:ident,)*) => {
            match header.api() {
                $(Some(ApiKey::$api) => survives::<messages::$request>(&mut r, header.api_version),)*
                None => {}
            }
        };
    }
    for_each_api!(dispatch);
}

/// What was read can be written, and what was written reads back whole.
fn survives<M: Message>(r: &mut Reader, version: i16) {
    let Ok(message) = M::decode(r, version) else {
        return;
    };
    let mut w = Writer::new();
    message
        .encode(&mut w, version)
        .expect("what was read can be written");
    let mut again = Reader::new(w.into_bytes());
    assert!(M::decode(&mut again, version).is_ok());
    assert_eq!(again.finish(), Ok(()));
}

/// What a producer sends for one partition, and what a log finds on a disk.
pub fn record_batch(data: &[u8]) {
    let _ = records::check(data, Origin::Producer);
    for batch in records::parse_batches(data) {
        let Ok((_, header, batch)) = batch else { return };
        let _ = records::check(batch, Origin::Log);
        let Some(payload) = batch.get(records::HEADER_BYTES..) else {
            return;
        };
        let Ok(payload) = records::decompress(&header, payload, DECOMPRESSED_BYTES_MAX) else {
            return;
        };
        assert!(payload.len() <= DECOMPRESSED_BYTES_MAX);
        for record in records::Records::new(&header, &payload) {
            let Ok(record) = record else { break };
            for header in record.headers() {
                let _ = header;
            }
        }
        let _ = records::ControlType::of_batch(&header, batch);
    }
}
