//! How the values of the records are laid out.

use bytes::{BufMut, BytesMut};

use super::assignment::{Assignment, Held};
use super::member::MemberState;
use super::record::{Current, Endpoint, GroupEpoch, NOT_VALIDATED, Told};
use super::topology::{CopartitionGroup, InternalTopic, Subtopology, Topology};
use crate::group::Text;
use crate::group::assigned::{Tasks, TasksByEpoch};
use crate::group::record::flexible::{TAG_FIRST, put_count, put_optional, put_text};
use crate::group::record::{Malformed, Reader, put_uvarint};

const TAG_ASSIGNMENT_CONFIGS: u32 = 1;

fn put_pairs<'a>(out: &mut BytesMut, pairs: impl ExactSizeIterator<Item = (&'a Text, &'a Text)>) {
    put_count(out, pairs.len());
    for (key, value) in pairs {
        put_text(out, key);
        put_text(out, value);
        put_uvarint(out, 0);
    }
}

fn read_pairs(input: &mut Reader<'_>) -> Result<Vec<(Text, Text)>, Malformed> {
    input.many(|input| {
        let pair = (input.compact_string()?, input.compact_string()?);
        input.tagged(|_, _| Ok(()))?;
        Ok(pair)
    })
}

pub(super) fn put_group(out: &mut BytesMut, value: &GroupEpoch) {
    out.put_i32(value.epoch);
    out.put_i64(value.metadata_hash);
    let mut configs = BytesMut::new();
    put_pairs(&mut configs, value.assignment_configs.iter());
    if value.validated_topology_epoch == NOT_VALIDATED {
        put_uvarint(out, 1);
    } else {
        put_uvarint(out, 2);
        put_uvarint(out, TAG_FIRST);
        put_uvarint(out, 4);
        out.put_i32(value.validated_topology_epoch);
    }
    put_uvarint(out, TAG_ASSIGNMENT_CONFIGS);
    put_uvarint(out, configs.len() as u32);
    out.put_slice(&configs);
}

pub(super) fn read_group(input: &mut Reader<'_>) -> Result<GroupEpoch, Malformed> {
    let mut value = GroupEpoch {
        epoch: input.i32()?,
        metadata_hash: input.i64()?,
        ..GroupEpoch::default()
    };
    input.tagged(|tag, field| {
        let mut field = Reader(field);
        match tag {
            TAG_FIRST => value.validated_topology_epoch = field.i32()?,
            // The list may be null.
            TAG_ASSIGNMENT_CONFIGS if field.0 != [0] => {
                value.assignment_configs = read_pairs(&mut field)?.into_iter().collect();
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(value)
}

pub(super) fn put_told(out: &mut BytesMut, value: &Told) {
    put_optional(out, value.instance_id.as_ref());
    put_optional(out, value.rack_id.as_ref());
    put_text(out, &value.client_id);
    put_text(out, &value.client_host);
    out.put_i32(value.rebalance_timeout_ms);
    out.put_i32(value.topology_epoch);
    put_text(out, &value.process_id);
    // A structure that may be null begins with whether it is.
    match &value.endpoint {
        None => out.put_i8(-1),
        Some(endpoint) => {
            out.put_i8(1);
            put_text(out, &endpoint.host);
            out.put_u16(endpoint.port);
            put_uvarint(out, 0);
        }
    }
    put_pairs(out, value.client_tags.iter());
    put_uvarint(out, 0);
}

pub(super) fn read_told(input: &mut Reader<'_>) -> Result<Told, Malformed> {
    let value = Told {
        instance_id: input.any_string(true)?,
        rack_id: input.any_string(true)?,
        client_id: input.compact_string()?,
        client_host: input.compact_string()?,
        rebalance_timeout_ms: input.i32()?,
        topology_epoch: input.i32()?,
        process_id: input.compact_string()?,
        endpoint: match input.i8()? {
            ..0 => None,
            _ => Some(read_endpoint(input)?),
        },
        client_tags: read_pairs(input)?.into_iter().collect(),
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn read_endpoint(input: &mut Reader<'_>) -> Result<Endpoint, Malformed> {
    let endpoint = Endpoint {
        host: input.compact_string()?,
        port: input.i16()?.cast_unsigned(),
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(endpoint)
}

fn put_tasks(out: &mut BytesMut, tasks: &Tasks) {
    put_count(out, tasks.topics().len());
    for (subtopology, partitions) in tasks.topics() {
        put_text(out, &subtopology);
        put_count(out, partitions.len());
        for partition in partitions {
            out.put_i32(*partition);
        }
        put_uvarint(out, 0);
    }
}

/// Each task, and its epoch where the record says one.
type ReadTask = (Text, i32, Option<i32>);

fn read_tasks(input: &mut Reader<'_>) -> Result<Vec<ReadTask>, Malformed> {
    let all = input.many(|input| {
        let subtopology = input.compact_string()?;
        let partitions = input.many(Reader::i32)?;
        let mut epochs = Vec::new();
        input.tagged(|tag, field| {
            // The list may be null.
            if tag == TAG_FIRST && field != [0] {
                epochs = Reader(field).many(Reader::i32)?.into_iter().map(Some).collect();
            }
            Ok(())
        })?;
        epochs.resize(partitions.len(), None);
        let tasks = partitions.into_iter().zip(epochs);
        Ok(tasks
            .map(|(partition, epoch)| (subtopology.clone(), partition, epoch))
            .collect::<Vec<_>>())
    })?;
    Ok(all.into_iter().flatten().collect())
}

fn read_plain_tasks(input: &mut Reader<'_>) -> Result<Tasks, Malformed> {
    let tasks = read_tasks(input)?.into_iter();
    Ok(tasks
        .map(|(subtopology, partition, _)| (subtopology, partition))
        .collect())
}

pub(super) fn put_target(out: &mut BytesMut, value: &Assignment) {
    for tasks in [&value.active, &value.standby, &value.warmup] {
        put_tasks(out, tasks);
    }
    put_uvarint(out, 0);
}

pub(super) fn read_target(input: &mut Reader<'_>) -> Result<Assignment, Malformed> {
    let value = Assignment {
        active: read_plain_tasks(input)?,
        standby: read_plain_tasks(input)?,
        warmup: read_plain_tasks(input)?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn put_tasks_by_epoch(out: &mut BytesMut, tasks: &TasksByEpoch) {
    put_count(out, tasks.topics().len());
    for (subtopology, partitions) in tasks.topics() {
        put_text(out, &subtopology);
        put_count(out, partitions.len());
        for partition in partitions.keys() {
            out.put_i32(*partition);
        }
        let mut epochs = BytesMut::new();
        put_count(&mut epochs, partitions.len());
        for epoch in partitions.values() {
            epochs.put_i32(*epoch);
        }
        put_uvarint(out, 1);
        put_uvarint(out, TAG_FIRST);
        put_uvarint(out, epochs.len() as u32);
        out.put_slice(&epochs);
    }
}

fn put_held(out: &mut BytesMut, value: &Held) {
    put_tasks_by_epoch(out, &value.active);
    put_tasks(out, &value.standby);
    put_tasks(out, &value.warmup);
}

/// Where a record says no epochs, the member's stands for all.
fn read_held(input: &mut Reader<'_>, member_epoch: i32) -> Result<Held, Malformed> {
    let active = read_tasks(input)?.into_iter();
    Ok(Held {
        active: active
            .map(|(subtopology, partition, epoch)| (subtopology, partition, epoch.unwrap_or(member_epoch)))
            .collect(),
        standby: read_plain_tasks(input)?,
        warmup: read_plain_tasks(input)?,
    })
}

pub(super) fn put_current(out: &mut BytesMut, value: &Current) {
    out.put_i32(value.epoch);
    out.put_i32(value.previous_epoch);
    out.put_i8(match value.state {
        MemberState::Stable => 1,
        MemberState::UnrevokedTasks => 2,
        MemberState::UnreleasedTasks => 3,
        MemberState::Unknown => 127,
    });
    put_held(out, &value.assigned);
    put_held(out, &value.revoking);
    put_uvarint(out, 0);
}

pub(super) fn read_current(input: &mut Reader<'_>) -> Result<Current, Malformed> {
    let epoch = input.i32()?;
    let value = Current {
        epoch,
        previous_epoch: input.i32()?,
        state: match input.i8()? {
            1 => MemberState::Stable,
            2 => MemberState::UnrevokedTasks,
            3 => MemberState::UnreleasedTasks,
            _ => MemberState::Unknown,
        },
        assigned: read_held(input, epoch)?,
        revoking: read_held(input, epoch)?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn put_texts(out: &mut BytesMut, texts: &[Text]) {
    put_count(out, texts.len());
    for text in texts {
        put_text(out, text);
    }
}

fn put_internal_topics(out: &mut BytesMut, topics: &[InternalTopic]) {
    put_count(out, topics.len());
    for topic in topics {
        put_text(out, &topic.name);
        out.put_i32(topic.partitions);
        out.put_i16(topic.replication_factor);
        put_pairs(out, topic.configs.iter().map(|(key, value)| (key, value)));
        put_uvarint(out, 0);
    }
}

fn read_internal_topic(input: &mut Reader<'_>) -> Result<InternalTopic, Malformed> {
    let topic = InternalTopic {
        name: input.compact_string()?,
        partitions: input.i32()?,
        replication_factor: input.i16()?,
        configs: read_pairs(input)?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(topic)
}

pub(super) fn put_topology(out: &mut BytesMut, value: &Topology) {
    out.put_i32(value.epoch);
    put_count(out, value.subtopologies.len());
    for (id, part) in &value.subtopologies {
        put_text(out, id);
        put_texts(out, &part.source_topics);
        put_texts(out, &part.source_topic_regex);
        put_internal_topics(out, &part.changelogs);
        put_texts(out, &part.repartition_sinks);
        put_internal_topics(out, &part.repartition_sources);
        put_count(out, part.copartition_groups.len());
        for group in &part.copartition_groups {
            for places in [
                &group.source_topics,
                &group.source_topic_regex,
                &group.repartition_sources,
            ] {
                put_count(out, places.len());
                for place in places {
                    out.put_i16(*place);
                }
            }
            put_uvarint(out, 0);
        }
        put_uvarint(out, 0);
    }
    put_uvarint(out, 0);
}

pub(super) fn read_topology(input: &mut Reader<'_>) -> Result<Topology, Malformed> {
    let epoch = input.i32()?;
    let subtopologies = input.many(read_subtopology)?.into_iter().collect();
    input.tagged(|_, _| Ok(()))?;
    Ok(Topology { epoch, subtopologies })
}

fn read_subtopology(input: &mut Reader<'_>) -> Result<(Text, Subtopology), Malformed> {
    let id = input.compact_string()?;
    let part = Subtopology {
        source_topics: input.many(Reader::compact_string)?,
        source_topic_regex: input.many(Reader::compact_string)?,
        changelogs: input.many(read_internal_topic)?,
        repartition_sinks: input.many(Reader::compact_string)?,
        repartition_sources: input.many(read_internal_topic)?,
        copartition_groups: input.many(|input| {
            let group = CopartitionGroup {
                source_topics: input.many(Reader::i16)?,
                source_topic_regex: input.many(Reader::i16)?,
                repartition_sources: input.many(Reader::i16)?,
            };
            input.tagged(|_, _| Ok(()))?;
            Ok(group)
        })?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok((id, part))
}
