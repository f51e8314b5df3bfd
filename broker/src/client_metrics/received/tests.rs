use super::super::otlp::testing::{Number, gauge, histogram, number, push, sum, text};
use super::*;

const INTERVAL_MS: i64 = 1_000;

fn taken(metrics: &[&str]) -> Taken {
    Taken {
        client_id: Some("shop".into()),
        interval_ms: INTERVAL_MS,
        metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn origin(number: u8, taken: &Taken) -> Origin<'_> {
    Origin {
        instance_id: Uuid([number; 16]),
        taken,
        terminating: false,
    }
}

fn one(name: &str, value: f64) -> Vec<u8> {
    push(vec![gauge(name, vec![number(Number::AsDouble(value), vec![])])])
}

fn take(received: &mut Received, origin: Origin<'_>, push: &[u8], now_ms: i64) {
    received.take(origin, Metrics::read(push).expect("it can be read"), now_ms);
}

/// What is shown, a line for each series.
fn shown(received: &mut Received, now_ms: i64) -> Vec<String> {
    let families = received.families(now_ms);
    let lines = families.iter().flat_map(|family| {
        family.rows.iter().map(|row| {
            let labels: Vec<String> = row
                .labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let total = if family.is_total { "_total" } else { "" };
            let (id, labels) = (row.instance_id.0[0], labels.join(","));
            format!(
                "{}{total} {}/{id} {labels} {}",
                family.name, row.client_id, row.value
            )
        })
    });
    lines.collect()
}

#[test]
fn last_values_are_shown_and_growth_is_added_up() {
    let (mut received, all) = (Received::default(), taken(&["*"]));
    let bytes = push(vec![
        sum(
            "records.total",
            1,
            vec![
                number(
                    Number::AsInt(4),
                    vec![text("topic", "orders"), text("client_id", "somebody else")],
                ),
                number(Number::AsInt(1), vec![text("topic", "bills")]),
            ],
        ),
        sum("whole.total", 2, vec![number(Number::AsInt(7), vec![])]),
        gauge("rate", vec![number(Number::AsDouble(0.5), vec![])]),
    ]);
    for _ in 0..2 {
        take(&mut received, origin(1, &all), &bytes, 0);
    }
    take(&mut received, origin(2, &all), &one("rate", 3.0), 0);
    assert_eq!(
        shown(&mut received, 1),
        [
            "rate shop/1  0.5",
            "rate shop/2  3",
            "records_total shop/1 topic=bills 2",
            "records_total shop/1 topic=orders 8",
            "whole_total shop/1  7",
        ]
    );
    assert_eq!((received.series(1), received.dropped()), (5, 0));
}

#[test]
fn only_what_was_asked_for_is_kept_and_the_rest_is_counted() {
    let (mut received, some) = (Received::default(), taken(&["a.", "b"]));
    let point = || vec![number(Number::AsInt(1), vec![])];
    let bytes = push(vec![
        gauge("a.x", point()),
        gauge("aa", point()),
        gauge("bb", point()),
        histogram("a.times", point()),
    ]);
    take(&mut received, origin(1, &some), &bytes, 0);
    assert_eq!(shown(&mut received, 0), ["a_x shop/1  1", "bb shop/1  1"]);
    assert_eq!(received.dropped(), 2);
    let none = taken(&[]);
    take(&mut received, origin(2, &none), &bytes, 0);
    assert_eq!((received.series(0), received.dropped()), (2, 6));
}

#[test]
fn what_is_not_pushed_for_three_intervals_is_forgotten() {
    let (mut received, all) = (Received::default(), taken(&["*"]));
    take(&mut received, origin(1, &all), &one("a", 1.0), 0);
    take(&mut received, origin(1, &all), &one("b", 2.0), 2_000);
    assert_eq!(shown(&mut received, 2_999), ["a shop/1  1", "b shop/1  2"]);
    assert_eq!(shown(&mut received, 3_000), ["b shop/1  2"]);
    take(&mut received, origin(1, &all), &one("b", 3.0), 4_000);
    assert_eq!(
        received.series(4_000),
        1,
        "what is not shown takes no room after the next push"
    );
    assert_eq!(shown(&mut received, 7_000), [""; 0]);
    assert_eq!((received.series(7_000), received.bytes), (0, 0));
}

#[test]
fn last_push_of_a_client_is_forgotten_after_one_interval() {
    let (mut received, all) = (Received::default(), taken(&["*"]));
    take(&mut received, origin(1, &all), &one("a", 1.0), 0);
    let last = Origin {
        terminating: true,
        ..origin(1, &all)
    };
    take(&mut received, last, &one("b", 2.0), 500);
    assert_eq!(shown(&mut received, 1_499), ["a shop/1  1", "b shop/1  2"]);
    assert_eq!(shown(&mut received, 1_500), [""; 0]);
    assert_eq!(received.bytes, 0);
}

#[test]
fn value_that_is_no_number_takes_the_last_one_away() {
    let (mut received, all) = (Received::default(), taken(&["*"]));
    take(&mut received, origin(1, &all), &one("a", 1.0), 0);
    take(&mut received, origin(1, &all), &one("a", f64::NAN), 0);
    assert_eq!((shown(&mut received, 0).len(), received.bytes), (0, 0));
    let grown = |value| push(vec![sum("t", 1, vec![number(Number::AsDouble(value), vec![])])]);
    for value in [2.0, f64::INFINITY, f64::NAN, -1.0, 3.0] {
        take(&mut received, origin(1, &all), &grown(value), 0);
    }
    assert_eq!(shown(&mut received, 0), ["t_total shop/1  5"]);
}

#[test]
fn gauge_and_total_of_one_name_are_told_apart() {
    let (mut received, all) = (Received::default(), taken(&["*"]));
    let point = |value| vec![number(Number::AsInt(value), vec![])];
    let bytes = push(vec![
        gauge("a", point(1)),
        sum("a.total", 2, point(2)),
        gauge("a.total", point(3)),
    ]);
    take(&mut received, origin(1, &all), &bytes, 0);
    assert_eq!(
        shown(&mut received, 0),
        [
            "a_total shop/1  2",
            "a_gauge shop/1  1",
            "a_total_gauge shop/1  3"
        ]
    );
}

#[test]
fn room_of_a_client_and_of_all_is_bounded() {
    let (mut received, all) = (Received::default(), taken(&["*"]));
    let many = |count: usize, length: usize| {
        let filling = "x".repeat(length);
        let points = (0..count).map(|n| {
            let attributes = (0..10).map(|k| text(&format!("key{k}"), &format!("{n}{filling}")));
            number(Number::AsInt(1), attributes.collect())
        });
        push(vec![gauge("a", points.collect())])
    };
    let more = INSTANCE_SERIES_MAX + 5;
    take(&mut received, origin(1, &all), &many(more, 0), 0);
    assert_eq!((received.series(0), received.dropped()), (INSTANCE_SERIES_MAX, 5));
    // A push may grow what is there, though there is no room for more.
    take(&mut received, origin(1, &all), &many(1, 0), 0);
    assert_eq!(received.dropped(), 5);
    let large = many(INSTANCE_SERIES_MAX, 240);
    for client in 2..20 {
        take(&mut received, origin(client, &all), &large, 0);
        assert!(received.bytes <= BYTES_MAX);
    }
    assert!(received.dropped() > 5, "there was room for all");
    assert!(received.bytes > BYTES_MAX / 2);
    assert_eq!(received.series(3 * INTERVAL_MS), 0);
    assert_eq!(received.bytes, 0);
}
