//! What the application has to do, and what must come of it: counted words, and orders joined with the names of customers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::committed::Reader;
use crate::kafka;
use crate::words::{self, COUNTS, LINES, PARTITIONS, Words};

const ORDERS: &str = "orders";
const NAMES: &str = "customers";
const JOINED: &str = "named-orders";
pub const TOPICS: [(&str, u32); 5] = [
    (LINES, PARTITIONS),
    (COUNTS, PARTITIONS),
    (ORDERS, PARTITIONS),
    (NAMES, PARTITIONS),
    (JOINED, PARTITIONS),
];
const CUSTOMERS: u32 = 40;

/// Writes lines of words, and orders of customers that are known.
pub struct Work(Words);

impl Work {
    /// Names the customers first: an order of an unknown one is joined with nothing.
    pub fn begin(bootstrap: &str) -> Self {
        let customers: Vec<_> = (0..CUSTOMERS)
            .map(|n| (customer(n), format!("name-{n}")))
            .collect();
        let customers: Vec<_> = customers
            .iter()
            .map(|(key, name)| (Some(key.as_str()), name.clone()))
            .collect();
        kafka::produce(bootstrap, NAMES, &customers, "none");
        Self(Words::to(bootstrap))
    }

    /// Writes a line and an order.
    pub fn give(&self, number: u32) {
        self.0.give(number);
        self.0
            .send(ORDERS, Some(&customer(number)), &format!("order-{number}"));
    }

    /// All of so many lines and orders must be acknowledged.
    pub fn finish(self, written: u32) {
        self.0.finish(2 * written);
    }
}

fn customer(number: u32) -> String {
    format!("customer-{}", number % CUSTOMERS)
}

/// Waits until as much was committed as there must be; gives how many counts and joined orders that is.
pub fn wait_until_done(bootstrap: &str, written: u32, within: Duration) -> (usize, usize) {
    let counts = words::wait_until_done(bootstrap, written, within);
    Reader::of(bootstrap, JOINED).wait_for(written as usize, within);
    (counts, written as usize)
}

/// Of so many lines and orders, every count came once and in order, and every order was joined once and in order.
pub fn check(bootstrap: &str, written: u32) {
    words::check(bootstrap, written);
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..written {
        let joined = format!("order-{number} of name-{}", number % CUSTOMERS);
        expected.entry(customer(number)).or_default().push(joined);
    }
    words::assert_same(words::by_key(Reader::all(bootstrap, JOINED)), expected);
}
