//! What a push holds: OpenTelemetry's `MetricsData` in protobuf. It is walked where it lies, and nothing is built of it: a few bytes of a hostile
//! push would else become many in memory.

use std::borrow::Cow;

/// How many attributes a point may have; one with more is not shown.
const ATTRIBUTES_MAX: usize = 16;

/// It is not `MetricsData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metrics are not OpenTelemetry's MetricsData: {0}")]
pub struct Malformed(&'static str);

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is so now.
    Gauge,
    /// It is a total that only grows.
    Total,
    /// It is by how much such a total has grown since the last push.
    Growth,
    /// It is by how much something has changed since then that may also shrink.
    Change,
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point<'a> {
    /// The metric's name, as the client says it.
    pub name: &'a str,
    /// What the value means.
    pub kind: Kind,
    /// The value.
    pub value: f64,
    /// What tells it from other points of the metric. Values that are no scalars are left out.
    pub attributes: Vec<(&'a str, Cow<'a, str>)>,
}

/// What is found in a push.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'a> {
    /// A value that can be shown.
    Point(Point<'a>),
    /// Something else: a histogram, a summary, a point without a value or with too many attributes.
    Other,
}

type Sink<'s, 'a> = &'s mut dyn FnMut(Found<'a>);

/// A push that can be read to its end.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'a>(&'a [u8]);

impl<'a> Metrics<'a> {
    /// Looks at all of it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(push: &'a [u8]) -> Result<Self, Malformed> {
        each(push, &mut |_| {})?;
        Ok(Self(push))
    }

    /// Calls `sink` with each value, in order.
    pub fn each(self, sink: Sink<'_, 'a>) {
        let again = each(self.0, sink);
        debug_assert_eq!(again, Ok(()), "it was read to its end before");
    }
}

/// Calls `sink` with each value of a push, up to where it cannot be read.
fn each<'a>(push: &'a [u8], sink: Sink<'_, 'a>) -> Result<(), Malformed> {
    for field in Fields(push) {
        // MetricsData.resource_metrics
        if let (1, Value::Bytes(resource)) = field? {
            for field in Fields(resource) {
                // ResourceMetrics.scope_metrics
                if let (2, Value::Bytes(scope)) = field? {
                    each_of_scope(scope, sink)?;
                }
            }
        }
    }
    Ok(())
}

fn each_of_scope<'a>(scope: &'a [u8], sink: Sink<'_, 'a>) -> Result<(), Malformed> {
    for field in Fields(scope) {
        // ScopeMetrics.metrics
        if let (2, Value::Bytes(metric)) = field? {
            each_of_metric(metric, sink)?;
        }
    }
    Ok(())
}

fn each_of_metric<'a>(metric: &'a [u8], sink: Sink<'_, 'a>) -> Result<(), Malformed> {
    const GAUGE: u32 = 5;
    const SUM: u32 = 7;
    let (mut name, mut data) = ("", None);
    for field in Fields(metric) {
        match field? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (number @ (GAUGE | SUM | 9 | 10 | 11), Value::Bytes(bytes)) => data = Some((number, bytes)),
            _ => {}
        }
    }
    let (kind, points) = match data {
        Some((GAUGE, points)) => (Kind::Gauge, points),
        Some((SUM, points)) => (kind_of_sum(points)?, points),
        Some(_) => {
            sink(Found::Other);
            return Ok(());
        }
        None => return Ok(()),
    };
    for field in Fields(points) {
        if let (1, Value::Bytes(bytes)) = field? {
            let found = point(name, kind, bytes)?;
            sink(found.map_or(Found::Other, Found::Point));
        }
    }
    Ok(())
}

/// A sum that may shrink and is whole each time is what it is now.
fn kind_of_sum(sum: &[u8]) -> Result<Kind, Malformed> {
    const DELTA: u64 = 1;
    let (mut is_delta, mut is_monotonic) = (false, false);
    for field in Fields(sum) {
        match field? {
            (2, Value::Number(temporality)) => is_delta = temporality == DELTA,
            (3, Value::Number(monotonic)) => is_monotonic = monotonic != 0,
            _ => {}
        }
    }
    Ok(match (is_monotonic, is_delta) {
        (true, false) => Kind::Total,
        (true, true) => Kind::Growth,
        (false, false) => Kind::Gauge,
        (false, true) => Kind::Change,
    })
}

/// A NumberDataPoint; none without a value, or with too many attributes.
fn point<'a>(name: &'a str, kind: Kind, bytes: &'a [u8]) -> Result<Option<Point<'a>>, Malformed> {
    let (mut value, mut attributes, mut fits) = (None, Vec::new(), true);
    for field in Fields(bytes) {
        match field? {
            (4, Value::Fixed(bits)) => value = Some(f64::from_bits(bits)),
            (6, Value::Fixed(bits)) => value = Some(bits.cast_signed() as f64),
            (7, Value::Bytes(_)) if attributes.len() >= ATTRIBUTES_MAX => fits = false,
            (7, Value::Bytes(bytes)) => attributes.extend(attribute(bytes)?),
            _ => {}
        }
    }
    Ok(value.filter(|_| fits).map(|value| Point {
        name,
        kind,
        value,
        attributes,
    }))
}

/// A KeyValue; none where the value is no scalar.
fn attribute(bytes: &[u8]) -> Result<Option<(&str, Cow<'_, str>)>, Malformed> {
    let (mut key, mut value) = ("", None);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = scalar(bytes)?,
            _ => {}
        }
    }
    Ok(value.map(|value| (key, value)))
}

/// An AnyValue.
fn scalar(bytes: &[u8]) -> Result<Option<Cow<'_, str>>, Malformed> {
    let mut value = None;
    for field in Fields(bytes) {
        value = match field? {
            (1, Value::Bytes(bytes)) => Some(Cow::Borrowed(text(bytes)?)),
            (2, Value::Number(bool)) => Some((bool != 0).to_string().into()),
            (3, Value::Number(bits)) => Some(bits.cast_signed().to_string().into()),
            (4, Value::Fixed(bits)) => Some(f64::from_bits(bits).to_string().into()),
            _ => None,
        };
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, by their numbers. It ends with the first that cannot be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("a field's number is too large"))?;
        let value = match tag & 7 {
            _ if number == 0 => return Err(Malformed("a field has no number")),
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| Malformed("a field is cut off"))?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(u64::from(u32::from_le_bytes(self.array()?))),
            _ => return Err(Malformed("a field is of a type that is not known")),
        };
        Ok((number, value))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed("a field is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(Malformed("a number is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a number has too many bytes"))
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
