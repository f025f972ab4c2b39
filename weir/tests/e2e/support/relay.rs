//! A network that holds what it is given, or loses it, without a word to either side: a TCP relay in front of the server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes that are passed on at once.
const CHUNK: usize = 16 << 10;

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Passes,
    /// They wait, and come all at once later on.
    Held,
    /// They are lost for ever, and so is the news that one side is gone.
    Lost,
}

/// A relay to one server. Connections keep what became of them when the relay treats later ones in another way.
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
    /// Starts a relay to `server`, which passes everything on.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (flow, sockets) = (Mutex::new(Flow::Passes), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { flow, changed: Condvar::new(), sockets });
        let carrier = Arc::clone(&shared);
        // Waits for connections for as long as the test program runs; one more thread than there has to be.
        thread::Builder::new().name("relay".into()).spawn(move || {
            for client in listener.incoming() {
                // A server that is gone is an encoder's trouble.
                let _refused = client.and_then(|client| carrier.carry(client, TcpStream::connect(server)?));
            }
        })?;
        Ok(Self { address, shared })
    }

    /// Where the encoder finds the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing arrives any more, until `release`.
    pub(crate) fn hold(&self) {
        self.shared.set(Flow::Held);
    }

    /// What was held arrives at once.
    pub(crate) fn release(&self) {
        self.shared.set(Flow::Passes);
    }

    /// Nothing arrives ever again, and the connections stay: half-open ones, once the encoder is gone.
    pub(crate) fn lose(&self) {
        self.shared.set(Flow::Lost);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.set(Flow::Lost);
        let sockets = std::mem::take(&mut *lock(&self.shared.sockets));
        // Those that are closed already say so.
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
            // It ends with its connection.
            thread::Builder::new().name("relay".into()).spawn(move || shared.copy(from, to))?;
        }
        lock(&self.sockets).extend([client, server]);
        Ok(())
    }

    /// Carries one direction to its end.
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

    fn hears_nothing(socket: &mut TcpStream) {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(socket.read(&mut [0; 4]).is_err());
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }

    #[test]
    fn what_is_held_comes_later() {
        let (relay, mut client, mut server) = pair();
        relay.hold();
        client.write_all(b"late").unwrap();
        hears_nothing(&mut server);
        relay.release();
        let mut heard = [0; 4];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"late");
        drop(client);
        assert_eq!(server.read(&mut heard).unwrap(), 0);
    }

    #[test]
    fn a_half_open_connection_stays() {
        let (relay, mut client, mut server) = pair();
        relay.lose();
        client.write_all(b"lost").unwrap();
        drop(client);
        hears_nothing(&mut server);
        drop(relay);
        assert_eq!(server.read(&mut [0; 4]).unwrap(), 0);
    }
}
