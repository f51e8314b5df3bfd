/// The number that a quantity of Kubernetes means, such as `100Gi`, `500m` or `1e3`. `None` for what is none.
pub(super) fn read(text: &str) -> Option<f64> {
    let end = text
        .find(|character: char| !character.is_ascii_digit() && !"+-.".contains(character))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1_024f64,
        "Mi" => 1_024f64.powi(2),
        "Gi" => 1_024f64.powi(3),
        "Ti" => 1_024f64.powi(4),
        "Pi" => 1_024f64.powi(5),
        "Ei" => 1_024f64.powi(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if power.abs() > 18 {
                return None;
            }
            10f64.powi(power)
        }
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_kubernetes_does() {
        for (text, number) in [
            ("1", Some(1.0)),
            ("0.5", Some(0.5)),
            ("500m", Some(0.5)),
            ("1e3", Some(1_000.0)),
            ("2E", Some(2e18)),
            ("1Ki", Some(1_024.0)),
            ("10Gi", Some(10_737_418_240.0)),
            ("-1", Some(-1.0)),
            ("10GB", None),
            ("", None),
            ("Gi", None),
            ("1e99", None),
            ("1 Gi", None),
        ] {
            assert_eq!(read(text), number, "{text}");
        }
    }
}
