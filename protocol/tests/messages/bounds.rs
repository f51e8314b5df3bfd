//! Bytes that are no message: each is refused, none makes us panic or allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use flotilla_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use flotilla_protocol::wire::ELEMENTS_MAX;
use flotilla_protocol::{DecodeError, Message, Reader};

use crate::cases::all;
use crate::sample::{Random, sample};

/// How far into a sample the tests go: every byte of most.
const POSITIONS_MAX: usize = 160;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Counts what the thread allocates: the only way to see that a length from the wire did not.
struct Counting;

// SAFETY: hands everything on to the system's allocator, and counts with a cell that itself allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `action` allocates, freed ones included.
fn allocated<T>(action: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.get();
    let result = action();
    (result, ALLOCATED.get() - before)
}

#[test]
fn message_cut_off_at_any_byte_is_refused() {
    for case in all() {
        for version in case.landmarks() {
            let whole = sample(&case, version, &mut Random::new(3));
            for end in 0..whole.len().min(POSITIONS_MAX) {
                let result = (case.read)(whole.slice(..end), version);
                assert!(
                    result.is_err(),
                    "{} {version}: {end} bytes of {whole:?}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn huge_and_negative_lengths_anywhere_neither_panic_nor_allocate() {
    const TWO_THOUSAND_MILLION: [u8; 4] = 2_000_000_000_i32.to_be_bytes();
    const COMPACT: [u8; 5] = [0x80, 0xa8, 0xd6, 0xb9, 0x07];
    let hostile: [&[u8]; 6] = [
        &TWO_THOUSAND_MILLION,
        &COMPACT,
        &[0x7f, 0xff],
        &[0xff; 4],
        &[0xff, 0xfe],
        &[0x80, 0, 0, 0],
    ];
    for case in all() {
        for version in case.landmarks() {
            let whole = sample(&case, version, &mut Random::new(5));
            for at in 0..whole.len().min(POSITIONS_MAX) {
                for number in hostile {
                    let mut bytes = whole.to_vec();
                    let end = bytes.len().min(at + number.len());
                    bytes.splice(at..end, number.iter().copied());
                    let bytes = Bytes::from(bytes);
                    let size = bytes.len();
                    let (_, allocated) = allocated(|| (case.read)(bytes, version));
                    assert!(
                        allocated <= 1000 + 500 * size,
                        "{} {version}: {allocated} bytes for a frame of {size}, {number:?} at {at} of {whole:?}",
                        case.name
                    );
                }
            }
        }
    }
}

#[test]
fn array_of_two_thousand_million_is_refused_with_what_is_wrong_and_where() {
    let bytes = Bytes::from_static(&[0x77, 0x35, 0x94, 0x00, 0, 0]);
    let error = MetadataRequest::decode(&mut Reader::new(bytes), 1);
    assert_eq!(
        error.map_err(|e| e.to_string()),
        Err(
            "MetadataRequest: the length at byte 0 announces 2000000000, but only 2 bytes are left"
                .to_owned()
        )
    );
    let bytes = Bytes::from_static(&[0x80, 0xa8, 0xd6, 0xb9, 0x07, 0]);
    let error = MetadataRequest::decode(&mut Reader::new(bytes), 9);
    assert_eq!(
        error,
        Err(DecodeError::Length {
            message: "MetadataRequest",
            at: 0,
            length: 1_999_999_999,
            left: 1
        })
    );
}

#[test]
fn negative_length_is_refused_where_null_is_not_allowed() {
    let read = |bytes: &'static [u8]| {
        let mut r = Reader::new(Bytes::from_static(bytes));
        ProduceRequest::decode(&mut r, 3).map_err(|e| e.to_string())
    };
    let start = |at, length| Err(format!("ProduceRequest: the length at byte {at} is {length}"));
    assert_eq!(read(&[0xff, 0xfe]), start(0, -2));
    assert_eq!(
        read(&[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff]),
        start(8, -1)
    );
}

/// An element of one byte on the wire can have a hundred times that in memory: a frame of 100 MiB must not have as many
/// elements as bytes.
#[test]
fn elements_of_a_frame_are_limited_in_number() {
    let topics = 3 * ELEMENTS_MAX / 2;
    let mut bytes = vec![0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
    bytes.extend_from_slice(&i32::try_from(topics).expect("small").to_be_bytes());
    bytes.resize(bytes.len() + topics * 6 + 4, 0);
    let error = FetchRequest::decode(&mut Reader::new(bytes.into()), 7);
    assert_eq!(
        error,
        Err(DecodeError::Elements {
            message: "FetchRequest"
        })
    );
}

#[test]
fn version_without_a_schema_is_refused() {
    for case in all() {
        for version in [*case.versions.start() - 1, i16::MIN, i16::MAX, -1] {
            let error = (case.read)(Bytes::from_static(&[0; 100]), version);
            assert_eq!(
                error,
                Err(DecodeError::Version {
                    message: case.name,
                    version
                })
            );
        }
    }
}
