use super::testing::{
    Data, Metric, Number, NumberDataPoint, Scalar, attribute, gauge, histogram, number, push, sum, text,
};
use super::{Found, Malformed, Metrics};

fn check(push: &[u8]) -> Result<(), Malformed> {
    Metrics::read(push).map(drop)
}

fn found(push: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut all = Vec::new();
    Metrics::read(push)?.each(&mut |found| {
        all.push(match found {
            Found::Other => "other".to_owned(),
            Found::Point(point) => {
                let attributes: Vec<String> = point
                    .attributes
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                format!(
                    "{} {:?} {} {}",
                    point.name,
                    point.kind,
                    point.value,
                    attributes.join(",")
                )
            }
        });
    });
    Ok(all)
}

#[test]
fn values_are_found_with_what_they_mean() {
    let mut shrinks = sum("shrinks", 1, vec![number(Number::AsInt(-2), vec![])]);
    let Some(Data::Sum(sums)) = &mut shrinks.data else {
        unreachable!()
    };
    sums.is_monotonic = false;
    let attributes = vec![
        text("topic", "orders"),
        attribute("partition", Scalar::Int(-7)),
        attribute("idle", Scalar::Bool(true)),
        attribute("ratio", Scalar::Double(0.5)),
        attribute("key", Scalar::Bytes(vec![1, 2])),
    ];
    let bytes = push(vec![
        gauge(
            "a.b",
            vec![
                number(Number::AsDouble(1.5), attributes),
                number(Number::AsInt(3), vec![]),
            ],
        ),
        sum("grown", 1, vec![number(Number::AsInt(4), vec![])]),
        sum("whole", 2, vec![number(Number::AsDouble(5.0), vec![])]),
        shrinks,
        histogram("times", vec![number(Number::AsInt(4), vec![])]),
        gauge("nothing", vec![NumberDataPoint::default()]),
        Metric::default(),
    ]);
    assert_eq!(
        found(&bytes).expect("it can be read"),
        [
            "a.b Gauge 1.5 topic=orders,partition=-7,idle=true,ratio=0.5",
            "a.b Gauge 3 ",
            "grown Growth 4 ",
            "whole Total 5 ",
            "shrinks Change -2 ",
            "other",
            "other",
        ]
    );
    assert_eq!(found(&[]), Ok(vec![]));
}

#[test]
fn point_with_too_many_attributes_is_not_shown() {
    let attributes = |count| (0..count).map(|n| text(&format!("k{n}"), "v")).collect();
    let of = |count| {
        push(vec![gauge(
            "a",
            vec![number(Number::AsInt(1), attributes(count))],
        )])
    };
    assert_eq!(found(&of(17)), Ok(vec!["other".to_owned()]));
    assert_ne!(found(&of(16)), Ok(vec!["other".to_owned()]));
}

#[test]
fn push_that_is_cut_off_or_none_at_all_is_malformed_and_nothing_panics() {
    let whole = push(vec![
        sum(
            "a",
            1,
            vec![number(Number::AsInt(4), vec![text("topic", "orders")])],
        ),
        gauge("b", vec![number(Number::AsDouble(0.5), vec![])]),
    ]);
    for length in 1..whole.len() {
        assert!(check(&whole[..length]).is_err(), "{length} of {}", whole.len());
    }
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[place] ^= 1 << bit;
            // Most say something else, some nothing that can be read.
            let _ = check(&changed);
        }
    }
    for (bytes, why) in [
        (&[0xff_u8; 11][..], "a number has too many bytes"),
        (&[0x0b], "a field is of a type that is not known"),
        (&[0x02, 0], "a field has no number"),
        (&[0x0a, 0x7f], "a field is cut off"),
        (&[0x09, 1], "a number is cut off"),
        (b"no metrics", "a field is of a type that is not known"),
    ] {
        assert_eq!(check(bytes), Err(Malformed(why)), "{bytes:?}");
    }
    let mut not_text = push(vec![gauge("ab", vec![])]);
    let place = not_text.windows(2).position(|of| of == b"ab").expect("the name");
    not_text[place] = 0xff;
    assert_eq!(check(&not_text), Err(Malformed("a text is not UTF-8")));
}
