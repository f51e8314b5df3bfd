//! Where the install scripts put things: the cache below the home directory, or `FLOTILLA_CACHE`.

use std::path::PathBuf;

/// A place in the cache that a script makes.
///
/// # Errors
/// It is not there, with what to do.
pub fn place(place: &str, script: &str) -> Result<PathBuf, String> {
    let cache = match std::env::var_os("FLOTILLA_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?).join(".cache/flotilla"),
    };
    let path = cache.join(place);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not there: run {script}", path.display()))
    }
}
