//! Preferred leaders: changing them moves no data, only the order of a partition's replicas.

use std::collections::{BTreeMap, VecDeque};

/// Swaps preferred leaders until no broker leads two more than one that could take over, directly or by passing
/// leadership on from partition to partition. `counts` are the leaders by seat, and are kept up to date; only seats that
/// `may_lead` take over.
pub(super) fn even_out(partitions: &mut [Vec<usize>], counts: &mut [u32], may_lead: &[bool]) {
    // By leader, the partitions that it leads.
    let mut led: Vec<Vec<usize>> = vec![Vec::new(); counts.len()];
    for (partition, replicas) in partitions.iter().enumerate() {
        if let Some(leader) = replicas.first() {
            led[*leader].push(partition);
        }
    }
    loop {
        let mut heavy: Vec<usize> = (0..counts.len()).filter(|seat| !led[*seat].is_empty()).collect();
        heavy.sort_by_key(|seat| (std::cmp::Reverse(counts[*seat]), *seat));
        let Some(path) = heavy
            .iter()
            .find_map(|seat| lighter(*seat, partitions, &led, counts, may_lead))
        else {
            return;
        };
        for (from, partition, to) in path {
            let place = partitions[partition]
                .iter()
                .position(|seat| *seat == to)
                .expect("the path goes through replicas");
            partitions[partition].swap(0, place);
            led[from].retain(|p| *p != partition);
            led[to].push(partition);
            counts[from] -= 1;
            counts[to] += 1;
        }
    }
}

/// The shortest way on which leadership can be passed from `heavy` to a seat that leads at least two fewer, as
/// (from, partition, to). Seats that may not lead pass everything on that they can.
fn lighter(
    heavy: usize,
    partitions: &[Vec<usize>],
    led: &[Vec<usize>],
    counts: &[u32],
    may_lead: &[bool],
) -> Option<Vec<(usize, usize, usize)>> {
    let mut came: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut queue = VecDeque::from([heavy]);
    while let Some(seat) = queue.pop_front() {
        for partition in &led[seat] {
            for next in &partitions[*partition][1..] {
                if *next == heavy || came.contains_key(next) || !may_lead[*next] {
                    continue;
                }
                came.insert(*next, (seat, *partition));
                if counts[*next] + 2 <= counts[heavy] || !may_lead[heavy] {
                    let mut path = Vec::new();
                    let mut at = *next;
                    while let Some((from, partition)) = came.get(&at) {
                        path.push((*from, *partition, at));
                        at = *from;
                        if at == heavy {
                            break;
                        }
                    }
                    return Some(path);
                }
                queue.push_back(*next);
            }
        }
    }
    None
}

/// Orders the followers so that the partitions of one leader do not all go to the same broker when it is lost: the next in
/// line is elected.
pub(super) fn spread_followers(partitions: &mut [Vec<usize>]) {
    let mut seconds: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for replicas in partitions {
        let Some(leader) = replicas.first().copied() else {
            continue;
        };
        let count = |seat: usize| seconds.get(&(leader, seat)).copied().unwrap_or(0);
        if let Some(second) = (1..replicas.len()).min_by_key(|place| (count(replicas[*place]), *place)) {
            replicas[1..=second].rotate_right(1);
            *seconds.entry((leader, replicas[1])).or_default() += 1;
        }
    }
}
