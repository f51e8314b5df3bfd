//! Where `tests/clients/install` put Apache Kafka's classes.

#[path = "installed.rs"]
pub mod installed;

/// What stands behind `-cp`: all jars.
///
/// # Errors
/// They are not there, with what to do.
pub fn class_path() -> Result<String, String> {
    let complete = installed::place("kafka-4.3.1/libs/.complete", "tests/clients/install")?;
    Ok(complete.with_file_name("*").display().to_string())
}
