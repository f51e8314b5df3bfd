//! An Ethernet device whose cable ends in this process.

use std::fs::{File, OpenOptions};

use anyhow::Context as _;

/// What `TUNSETIFF` takes: `struct ifreq` of Linux, with the name of the device and its flags.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// `TUNSETIFF` of `linux/if_tun.h`: `_IOW('T', 202, int)`.
const TUNSETIFF: rustix::ioctl::Opcode = 0x4004_54ca;

/// Ethernet frames, and nothing in front of them.
const TAP_WITHOUT_HEADER: u16 = 0x0002 | 0x1000;

/// Makes a device in this process's network namespace. It can be moved to another, and goes when the file is closed.
pub fn make(name: &str) -> anyhow::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun, which the network of the test is made of")?;
    let mut request = Request {
        name: [0; 16],
        flags: TAP_WITHOUT_HEADER,
        rest: [0; 22],
    };
    let name = name.as_bytes();
    anyhow::ensure!(
        name.len() < request.name.len(),
        "a device's name has 15 bytes at most"
    );
    request.name[..name.len()].copy_from_slice(name);
    attach(&file, request).context("cannot make a network device: this needs root")?;
    Ok(file)
}

#[allow(
    unsafe_code,
    reason = "no safe call makes such a device; the request has the layout that the kernel reads, and outlives the call"
)]
fn attach(file: &File, request: Request) -> rustix::io::Result<()> {
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq` of 40 bytes, which `Request` is, and keeps no pointer to it.
    unsafe {
        let setter = rustix::ioctl::Setter::<TUNSETIFF, Request>::new(request);
        rustix::ioctl::ioctl(file, setter)
    }
}
