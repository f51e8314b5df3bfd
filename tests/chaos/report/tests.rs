//! The report says what happened.

use crate::fault::{Happened, Kind};
use crate::report::{Report, markdown, picture, rhythm};

fn report() -> Report {
    let fault = |kind, from_ms, to_ms| Happened {
        kind,
        what: String::new(),
        from_ms,
        to_ms,
    };
    Report {
        brokers: 3,
        seed: 7,
        seconds: 10,
        acknowledged: 12,
        longest_silence_ms: 1_500,
        faults: vec![
            fault(Kind::Kill, 1_000, 3_000),
            fault(Kind::FullDisk, 2_000, 2_500),
            fault(Kind::Kill, 6_000, 6_100),
        ],
        per_second: vec![4, 0, 8],
        ..Report::default()
    }
}

#[test]
fn longest_silence_is_found_in_the_middle_and_at_the_end() {
    let (per_second, length, from) = rhythm(&mut [100, 900, 3_400, 3_500], 4_000);
    assert_eq!((per_second, length, from), (vec![2, 0, 0, 2, 0], 2_500, 900));
    let (_, length, from) = rhythm(&mut [100, 200], 4_000);
    assert_eq!((length, from), (3_800, 200));
}

#[test]
fn run_without_a_write_was_silent_throughout() {
    assert_eq!(rhythm(&mut [], 2_000), (vec![0; 3], 2_000, 0));
}

#[test]
fn markdown_tells_faults_by_kind_and_what_is_wrong() {
    let text = markdown(&[report()]);
    assert!(text.contains("3 brokers, 10 s: nothing lost"), "{text}");
    assert!(text.contains("| records acknowledged | 12 |"), "{text}");
    assert!(text.contains("Faults by kind: full-disk 1, kill 2."), "{text}");
    assert!(
        text.contains("| longest time without a successful write | 1.5 s"),
        "{text}"
    );
    let wrong = Report {
        wrong: vec!["a record is lost".to_owned()],
        ..report()
    };
    let text = markdown(&[wrong]);
    assert!(
        text.contains("**1 things are wrong**") && text.contains("- a record is lost"),
        "{text}"
    );
}

#[test]
fn picture_has_a_row_for_each_kind_and_a_bar_for_each_fault() {
    let svg = picture(&report());
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains(">kill (2)</text>") && svg.contains(">full-disk (1)</text>"));
    assert_eq!(svg.matches("fill=\"#b5473c\"").count(), 3);
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn report_reads_back_as_it_was_written() {
    let text = serde_json::to_string(&report()).unwrap();
    let read: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}
