//! A server as a child process.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Encoder, until};

/// State of a listening socket in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";

/// Port on which a server accepts connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    Tcp(u16),
    Udp(u16),
}

impl Port {
    /// Returns whether a server has bound the port. It is not connected to, because some servers accept one connection
    /// only.
    fn is_open(self) -> bool {
        let (table, port) = match self {
            Self::Tcp(port) => ("/proc/net/tcp", port),
            Self::Udp(port) => ("/proc/net/udp", port),
        };
        let address = format!(":{port:04X}");
        let table = fs::read_to_string(table).expect("the sockets of this machine");
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|fields| {
            let is_bound = fields.get(1).is_some_and(|local| local.ends_with(&address));
            is_bound && (matches!(self, Self::Udp(_)) || fields.get(3) == Some(&TCP_LISTEN))
        })
    }
}

/// A running server.
pub(crate) struct Service {
    program: String,
    arguments: Vec<String>,
    /// File for the standard output, if that is media.
    media: Option<PathBuf>,
    port: Port,
    process: Encoder,
}

impl Service {
    /// Starts a server, and waits until it accepts connections.
    pub(super) fn start(program: &str, arguments: Vec<String>, port: Port) -> Self {
        Self::start_into(program, arguments, port, None)
    }

    /// Starts a server whose standard output is media for a file.
    pub(super) fn start_into(program: &str, arguments: Vec<String>, port: Port, media: Option<PathBuf>) -> Self {
        let process = spawn(program, &arguments, media.as_deref());
        let mut service = Self { program: program.to_owned(), arguments, media, port, process };
        service.wait_until_open();
        service
    }

    /// Kills the server without a shutdown, as a power cut would. Its peers see a reset or a closed connection.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again, with the same address. Ends it first if it runs.
    pub(crate) fn restart(&mut self) {
        if self.process.exit_status().is_none() {
            self.process.kill();
        }
        self.process = spawn(&self.program, &self.arguments, self.media.as_deref());
        self.wait_until_open();
    }

    /// Stops the server with its connections open, so that it reads nothing.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets the server continue.
    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }

    /// Returns the log of the server since its last start.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    /// Sets the file for the media of the next [`Service::restart`].
    pub(super) fn set_media(&mut self, file: PathBuf) {
        self.media = Some(file);
    }

    /// Replaces the last argument for the next [`Service::restart`].
    pub(super) fn set_last_argument(&mut self, argument: String) {
        if let Some(last) = self.arguments.last_mut() {
            *last = argument;
        }
    }

    fn wait_until_open(&mut self) {
        until(&format!("{} to listen", self.program), || {
            if let Some(status) = self.process.exit_status() {
                panic!("{} ended with {status}:\n{}", self.program, self.process.output());
            }
            self.port.is_open().then_some(())
        });
    }
}

fn spawn(program: &str, arguments: &[String], media: Option<&Path>) -> Encoder {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match media {
        Some(file) => Encoder::run_into(program, &arguments, file),
        None => Encoder::run(program, &arguments),
    }
}

/// Returns the files of a folder and its folders with this extension, by name.
pub(super) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
