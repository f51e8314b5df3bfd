//! Sockets that listen: their addresses, and what is set for them before the first connection.

use super::Error;
use flotilla_control::settings::{BrokerSettings, IfSet};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted where `socket.listen.backlog.size` is not set.
pub const BACKLOG: u32 = 1024;

/// Takes an address, without listening yet: a connection to it is refused.
///
/// # Errors
/// [`Error::Bind`].
pub fn bind(listener: &str, address: SocketAddr) -> Result<TcpSocket, Error> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // A broker that was killed a moment ago must not keep its own port from itself.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    open().map_err(|source| Error::Bind {
        listener: listener.to_owned(),
        address,
        source,
    })
}

/// Begins to listen. `backlog` connections may wait to be accepted, as far as the system lets them.
///
/// # Errors
/// [`Error::Bind`], where another process was faster.
pub fn listen(socket: TcpSocket, listener: &str, backlog: u32) -> Result<TcpListener, Error> {
    let address = socket
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let failed = |source| Error::Bind {
        listener: listener.to_owned(),
        address,
        source,
    };
    socket.listen(backlog).map_err(failed)
}

/// A number that is set, and is more than 0: in settings of sockets, -1 leaves it to the system.
pub(crate) fn above_zero(set: IfSet<i32>) -> Option<u32> {
    set.0
        .and_then(|set| u32::try_from(set).ok())
        .filter(|set| *set > 0)
}

/// Has the connections of a socket that does not listen yet get buffers of the sizes that are set (`socket.receive.buffer.bytes`,
/// `socket.send.buffer.bytes`); the system sizes the others as it goes.
///
/// # Errors
/// Those of the system. It gives less than what is asked for where its own limits are lower, which is none.
pub(super) fn size_buffers(socket: &TcpSocket, settings: &BrokerSettings) -> io::Result<()> {
    if let Some(bytes) = above_zero(settings.socket_receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = above_zero(settings.socket_send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn settings(of: &[(&str, &str)]) -> BrokerSettings {
        BrokerSettings::resolve(&|name| {
            let found = of.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    fn socket() -> TcpSocket {
        bind("any", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
    }

    /// The kernel doubles what it is asked for, to have room for its own notes.
    #[tokio::test]
    async fn buffers_of_connections_are_as_large_as_is_set_and_else_the_systems() {
        let of_system = (
            socket().recv_buffer_size().unwrap(),
            socket().send_buffer_size().unwrap(),
        );
        for (set, expected) in [
            (vec![], of_system),
            (
                vec![
                    ("socket.receive.buffer.bytes", "-1"),
                    ("socket.send.buffer.bytes", "-1"),
                ],
                of_system,
            ),
            (
                vec![
                    ("socket.receive.buffer.bytes", "20000"),
                    ("socket.send.buffer.bytes", "30000"),
                ],
                (40_000, 60_000),
            ),
        ] {
            let socket = socket();
            size_buffers(&socket, &settings(&set)).unwrap();
            let seen = (
                socket.recv_buffer_size().unwrap(),
                socket.send_buffer_size().unwrap(),
            );
            assert_eq!(seen, expected, "{set:?}");
            let listener = listen(socket, "any", BACKLOG).unwrap();
            let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(client, listener.accept());
            let (_client, (accepted, _)) = (client.unwrap(), accepted.unwrap());
            if !set.is_empty() && expected != of_system {
                let receive = rustix::net::sockopt::socket_recv_buffer_size(&accepted).unwrap();
                let send = rustix::net::sockopt::socket_send_buffer_size(&accepted).unwrap();
                assert_eq!(
                    (receive as u32, send as u32),
                    expected,
                    "its connections inherit them"
                );
            }
        }
    }

    #[tokio::test]
    async fn no_more_connections_wait_than_the_backlog_says() {
        let waiting = async |backlog| {
            let listener = listen(socket(), "any", backlog).unwrap();
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            for _ in 0..20 {
                let connect = tokio::net::TcpStream::connect(address);
                // The kernel lets a connection wait unanswered that has no room: it tries again after a second.
                match tokio::time::timeout(std::time::Duration::from_millis(500), connect).await {
                    Ok(client) => clients.push(client.unwrap()),
                    Err(_) => break,
                }
            }
            clients.len()
        };
        // The kernel's own rule: one more than the backlog.
        assert_eq!(waiting(4).await, 5);
        assert_eq!(waiting(BACKLOG).await, 20);
    }
}
