//! Which codec a topic's batches are stored in, from the files of the brokers.

use flotilla_protocol::records::parse_batches;

use crate::fleet::Fleet;
use crate::on_disk;

/// Every batch of the topic, on every broker, is in that codec.
pub fn assert_stored(fleet: &Fleet, topic: &str, codec: &str) {
    let mut batches = 0;
    for directory in on_disk::replicas(&fleet.data(), topic).into_values() {
        let segments = on_disk::names(&directory)
            .into_iter()
            .filter(|name| name.ends_with(".log"));
        for segment in segments.map(|name| directory.join(name)) {
            let bytes = std::fs::read(&segment).expect("read a segment");
            for batch in parse_batches(&bytes) {
                let (_, header, _) = batch.unwrap_or_else(|error| panic!("{}: {error}", segment.display()));
                let found = header.compression().expect("a known codec").to_string();
                assert_eq!(found, codec, "in {}", segment.display());
                batches += 1;
            }
        }
    }
    assert!(batches > 0, "no batch of {topic} is stored");
}
