//! A TCP relay in front of the server that delays or drops data without closing connections, as a network may.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes that are forwarded at once.
const CHUNK: usize = 16 << 10;

/// The treatment of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Data is forwarded.
    Forwarded,
    /// Data waits in the relay.
    Held,
    /// Data is lost, and so is the information that one side has closed the connection.
    Lost,
}

/// A relay to one server.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    flow: Mutex<Flow>,
    changed: Condvar,
    /// Both ends of every connection, to be closed with the relay.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Starts a relay to `server` that forwards everything.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (flow, sockets) = (Mutex::new(Flow::Forwarded), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { flow, changed: Condvar::new(), sockets });
        let carrier = Arc::clone(&shared);
        // Waits for connections until the test program ends.
        thread::Builder::new().name("relay".into()).spawn(move || {
            for client in listener.incoming() {
                // If the server is gone, the encoder sees a closed connection.
                let _refused = client.and_then(|client| carrier.carry(client, TcpStream::connect(server)?));
            }
        })?;
        Ok(Self { address, shared })
    }

    /// Returns the address for the encoder to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delays all data until [`Relay::release`].
    pub(crate) fn hold(&self) {
        self.shared.set(Flow::Held);
    }

    /// Forwards the delayed data at once.
    pub(crate) fn release(&self) {
        self.shared.set(Flow::Forwarded);
    }

    /// Drops all data from now on. Connections stay half-open after the encoder has closed them.
    pub(crate) fn lose(&self) {
        self.shared.set(Flow::Lost);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.set(Flow::Lost);
        let sockets = std::mem::take(&mut *lock(&self.shared.sockets));
        // Fails for sockets that are closed already.
        sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    }
}

impl Shared {
    fn set(&self, flow: Flow) {
        *lock(&self.flow) = flow;
        self.changed.notify_all();
    }

    fn carry(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to, shared) = (from.try_clone()?, to.try_clone()?, Arc::clone(self));
            // The thread ends with its connection.
            thread::Builder::new().name("relay".into()).spawn(move || shared.copy(from, to))?;
        }
        lock(&self.sockets).extend([client, server]);
        Ok(())
    }

    /// Copies one direction until its end.
    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let flow = self.changed.wait_while(lock(&self.flow), |flow| *flow == Flow::Held);
            let flow = *flow.unwrap_or_else(PoisonError::into_inner);
            match (flow, buffer.get(..read)) {
                (Flow::Lost, _) if read == 0 => return,
                (Flow::Lost, _) => {}
                (_, Some(bytes)) if read > 0 && to.write_all(bytes).is_ok() => {}
                _ => {
                    let _closed = to.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pair() -> (Relay, TcpStream, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(server.local_addr().unwrap()).unwrap();
        let client = TcpStream::connect(relay.address()).unwrap();
        (relay, client, server.accept().unwrap().0)
    }

    fn assert_receives_nothing(socket: &mut TcpStream) {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(socket.read(&mut [0; 4]).is_err());
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }

    #[test]
    fn held_data_is_forwarded_later() {
        let (relay, mut client, mut server) = pair();
        relay.hold();
        client.write_all(b"late").unwrap();
        assert_receives_nothing(&mut server);
        relay.release();
        let mut received = [0; 4];
        server.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"late");
        drop(client);
        assert_eq!(server.read(&mut received).unwrap(), 0);
    }

    #[test]
    fn a_half_open_connection_stays() {
        let (relay, mut client, mut server) = pair();
        relay.lose();
        client.write_all(b"lost").unwrap();
        drop(client);
        assert_receives_nothing(&mut server);
        drop(relay);
        assert_eq!(server.read(&mut [0; 4]).unwrap(), 0);
    }
}
