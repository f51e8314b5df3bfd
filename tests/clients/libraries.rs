//! Where `tests/clients/install` put Apache Kafka's classes.

use std::path::PathBuf;

/// What stands behind `-cp`: all jars.
///
/// # Errors
/// They are not there, with what to do.
pub fn class_path() -> Result<String, String> {
    let cache = match std::env::var_os("FLOTILLA_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?).join(".cache/flotilla"),
    };
    let libraries = cache.join("kafka-4.3.1/libs");
    if !libraries.join(".complete").exists() {
        let place = libraries.display();
        return Err(format!(
            "Apache Kafka is not in {place}: run tests/clients/install"
        ));
    }
    Ok(format!("{}/*", libraries.display()))
}
