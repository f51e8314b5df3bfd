//! Numbers for people: three digits that count, commas between thousands.

/// As short as it can be and still tell figures apart.
pub fn text(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 || size == 0.0 => 2,
        _ => 3,
    };
    let digits = format!("{number:.decimals$}");
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[test]
fn numbers_have_three_digits_that_count() {
    let texts = [0.0, 0.0123, 0.25, 1.5, 32.04, 410.4, 1_234_567.8, -1_234.0].map(text);
    assert_eq!(
        texts,
        [
            "0.00",
            "0.012",
            "0.250",
            "1.50",
            "32.0",
            "410",
            "1,234,568",
            "-1,234"
        ]
    );
}
