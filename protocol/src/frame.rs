//! Frames: a length of four bytes, a header, a message. Both sides of it: a broker's, and a client's, which the replica
//! fetcher is.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::messages::ApiKey;
use crate::wire::{DecodeError, EncodeError, Message, Reader, Request, Schema, Segment, Str, Writer};

const LENGTH_BYTES: usize = size_of::<i32>();

/// Kafka's request header: versions 1 and 2 differ by the tagged fields at the end of the latter.
const REQUEST_HEADER: Schema = Schema {
    name: "RequestHeader",
    versions: (1, 2),
    flexible_from: 2,
};
const RESPONSE_HEADER: Schema = Schema {
    name: "ResponseHeader",
    versions: (0, 1),
    flexible_from: 1,
};

/// A length that no frame of ours can have. The connection cannot go on: nobody knows where the next frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is larger than the limit for requests on this connection.
    #[error("Frame too large: it announces {size} bytes, and the limit is {limit}")]
    TooLarge {
        /// The size that it announces, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The length is below zero.
    #[error("the length of a frame is negative: {0}")]
    Negative(i32),
}

/// Takes the first frame, without its length, from what was received. `None` while it is not complete.
///
/// # Errors
/// The frame announces more than `size_max` bytes, or a negative length. Told as soon as the length is there.
pub fn split(received: &mut BytesMut, size_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(size) = peek_size(received, size_max)? else {
        return Ok(None);
    };
    if received.len() - LENGTH_BYTES < size {
        return Ok(None);
    }
    received.advance(LENGTH_BYTES);
    Ok(Some(received.split_to(size).freeze()))
}

/// The size that the first frame announces, without the four bytes of the length itself; `None` while these are not
/// there. With it, a reader can ask for memory before it receives the frame.
///
/// # Errors
/// As [`split`].
pub fn peek_size(received: &[u8], size_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = received.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    match usize::try_from(length) {
        Ok(size) if size > size_max => Err(FrameError::TooLarge {
            size,
            limit: size_max,
        }),
        Ok(size) => Ok(Some(size)),
        Err(_) => Err(FrameError::Negative(length)),
    }
}

/// What stands before a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// As it came: it may stand for no API that is known.
    pub api_key: i16,
    /// As it came: the API may have no such version.
    pub api_version: i16,
    /// Chosen by the client; the response repeats it.
    pub correlation_id: i32,
    /// The name that the client gives itself.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// The API that is asked for, if it is known.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::try_from(self.api_key).ok()
    }
}

/// Reads a request's header; the reader that comes with it stands at the message. The header before an unknown API is
/// read as if it had no tagged fields, which nobody can know.
///
/// # Errors
/// The frame ends inside the header, or a length in it does.
pub fn decode_request(frame: Bytes) -> Result<(RequestHeader, Reader), DecodeError> {
    let mut r = Reader::new(frame);
    // The client id has its plain form in flexible headers too, so that a broker can read it before it knows the version.
    r.begin(&REQUEST_HEADER, 1)?;
    let header = RequestHeader {
        api_key: r.i16()?,
        api_version: r.i16()?,
        correlation_id: r.i32()?,
        client_id: r.nullable_str()?,
    };
    let version = header
        .api()
        .map_or(1, |api| api.request_header_version(header.api_version));
    r.begin(&REQUEST_HEADER, version)?;
    r.skip_tags()?;
    Ok((header, r))
}

/// The segments of a whole request, its length included.
///
/// # Errors
/// The request cannot be written in this version.
pub fn request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
    message: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::new();
    w.i32(0);
    w.begin(&REQUEST_HEADER, 1)?;
    w.i16(R::KEY.into());
    w.i16(version);
    w.i32(correlation_id);
    w.nullable_str(client_id)?;
    w.begin(&REQUEST_HEADER, R::KEY.request_header_version(version))?;
    w.no_tags();
    message.encode(&mut w, version)?;
    w.finish_frame_in_memory()
}

/// The segments of a whole response, its length included. `version` is that of the request; where an ApiVersions request
/// has an unknown one, the response is one of version 0 (KIP-511).
///
/// # Errors
/// The response cannot be written in this version.
pub fn response(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    message: &impl Message,
) -> Result<Vec<Segment>, EncodeError> {
    let mut w = Writer::new();
    w.i32(0);
    w.begin(&RESPONSE_HEADER, api.response_header_version(version))?;
    w.i32(correlation_id);
    w.no_tags();
    message.encode(&mut w, version)?;
    w.finish_frame()
}

/// Reads a response's header: the correlation id, and a reader that stands at the message.
///
/// # Errors
/// The frame ends inside the header.
pub fn decode_response(frame: Bytes, api: ApiKey, version: i16) -> Result<(i32, Reader), DecodeError> {
    let mut r = Reader::new(frame);
    r.begin(&RESPONSE_HEADER, api.response_header_version(version))?;
    let correlation_id = r.i32()?;
    r.skip_tags()?;
    Ok((correlation_id, r))
}

/// The bytes of segments in one piece: for who looks at a frame instead of sending it.
///
/// # Errors
/// A part of it lies in a file that cannot be read.
pub fn concat(segments: &[Segment]) -> io::Result<Vec<u8>> {
    let mut whole = Vec::with_capacity(segments.iter().map(Segment::len).sum());
    for segment in segments {
        match segment {
            Segment::Memory(bytes) => whole.extend_from_slice(bytes),
            Segment::File(region) => whole.extend_from_slice(&region.read()?),
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, ListGroupsRequest};

    #[test]
    fn frame_is_split_off_once_it_is_complete() {
        let mut received = BytesMut::new();
        for byte in [0, 0, 0, 2, 7, 8, 0, 0] {
            assert_eq!(split(&mut received, 2), Ok(None));
            received.extend_from_slice(&[byte]);
            if received.len() == 6 {
                assert_eq!(split(&mut received, 2), Ok(Some(Bytes::from_static(&[7, 8]))));
            }
        }
        assert_eq!(&received[..], [0, 0]);
    }

    #[test]
    fn empty_frame_is_a_frame() {
        assert_eq!(
            split(&mut BytesMut::from(&[0, 0, 0, 0][..]), 10),
            Ok(Some(Bytes::new()))
        );
    }

    #[test]
    fn frame_above_the_limit_is_refused_before_it_has_arrived() {
        let error = split(&mut BytesMut::from(&[0x7f, 0xff, 0xff, 0xff][..]), 1000);
        assert_eq!(
            error,
            Err(FrameError::TooLarge {
                size: 0x7fff_ffff,
                limit: 1000
            })
        );
        let text = error.map_err(|e| e.to_string());
        assert_eq!(
            text,
            Err("Frame too large: it announces 2147483647 bytes, and the limit is 1000".to_owned())
        );
    }

    #[test]
    fn negative_length_of_a_frame_is_refused() {
        assert_eq!(
            split(&mut BytesMut::from(&[0xff; 4][..]), 1000),
            Err(FrameError::Negative(-1))
        );
    }

    #[test]
    fn request_is_read_back_with_either_header() {
        for version in [0, 3, 4] {
            let client_id = Some(Str::from("me"));
            let segments =
                request(version, 7, client_id.as_ref(), &ApiVersionsRequest::default()).expect("valid");
            let mut received: BytesMut = segments.iter().flatten().copied().collect();
            let frame = split(&mut received, 100).expect("small").expect("complete");
            let (header, mut r) = decode_request(frame).expect("valid");
            assert_eq!(
                header,
                RequestHeader {
                    api_key: 18,
                    api_version: version,
                    correlation_id: 7,
                    client_id
                }
            );
            assert_eq!(
                ApiVersionsRequest::decode(&mut r, version),
                Ok(ApiVersionsRequest::default())
            );
            assert_eq!(r.finish(), Ok(()));
            assert!(received.is_empty());
        }
    }

    #[test]
    fn header_of_an_api_that_does_not_exist_is_read() {
        let frame = Bytes::from_static(&[0x7f, 0xff, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 1, 2, 3]);
        let (header, r) = decode_request(frame).expect("long enough");
        assert_eq!(
            header,
            RequestHeader {
                api_key: 0x7fff,
                api_version: 9,
                correlation_id: 1,
                client_id: None
            }
        );
        assert_eq!((header.api(), r.left()), (None, 3));
    }

    #[test]
    fn truncated_header_is_an_error_at_every_byte() {
        let segments = request(5, 7, Some(&Str::from("me")), &ListGroupsRequest::default()).expect("valid");
        let whole = segments.concat();
        for end in 4..4 + 2 + 2 + 4 + 2 + 2 + 1 {
            assert!(
                decode_request(Bytes::copy_from_slice(&whole[4..end])).is_err(),
                "{end}"
            );
        }
        assert!(decode_request(Bytes::copy_from_slice(&whole[4..])).is_ok());
    }

    #[test]
    fn response_header_of_api_versions_has_no_tags_in_any_version() {
        for version in 0..=4 {
            let message = ApiVersionsResponse::default();
            let segments = response(ApiKey::ApiVersions, version, 9, &message).expect("valid");
            let whole = concat(&segments).expect("in memory");
            assert_eq!(whole[..4], i32::to_be_bytes(whole.len() as i32 - 4));
            let frame = Bytes::from(whole).slice(4..);
            let (correlation_id, mut r) =
                decode_response(frame, ApiKey::ApiVersions, version).expect("valid");
            assert_eq!((correlation_id, r.position()), (9, 4));
            assert_eq!(ApiVersionsResponse::decode(&mut r, version), Ok(message));
            assert_eq!(r.finish(), Ok(()));
        }
    }
}
