//! Requests the preload hints of playlists, as players do. Each is answered with the part, or with 404 as soon as it is
//! withdrawn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::{MediaPlaylist, resolve};
use super::Shared;

/// Maximum time from a playlist with another hint to the 404 for the withdrawn one. Allows for a busy machine, and is
/// shorter than the time to the next part or segment.
const MAX_404_DELAY: Duration = Duration::from_millis(150);

struct Answered {
    uri: String,
    status: u16,
    body: Vec<u8>,
    at: Instant,
}

/// The preload hints of one media playlist.
pub(super) struct Hints {
    ask: Option<Sender<String>>,
    answers: Receiver<Answered>,
    thread: Option<JoinHandle<()>>,
    current: Option<String>,
    /// Time of the first playlist that neither hinted at this part nor listed it.
    withdrawn: BTreeMap<String, Instant>,
    /// Hints that were answered with 404 while the newest playlist still had them.
    refused: BTreeMap<String, Instant>,
    /// The bytes of received parts.
    pub(super) parts: BTreeMap<String, Vec<u8>>,
}

impl Hints {
    pub(super) fn start(shared: &Arc<Shared>, path: &str) -> Self {
        let (ask, asked) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        let (shared, path) = (Arc::clone(shared), path.to_owned());
        let thread = thread::spawn(move || {
            for uri in &asked {
                // The test ends without the server.
                let Some(response) = shared.client.try_get(&resolve(&path, &uri)) else { break };
                if answer
                    .send(Answered { uri, status: response.status, body: response.body, at: Instant::now() })
                    .is_err()
                {
                    break;
                }
            }
        });
        Self {
            ask: Some(ask),
            answers,
            thread: Some(thread),
            current: None,
            withdrawn: BTreeMap::new(),
            refused: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// Processes the next playlist.
    pub(super) fn follow(&mut self, list: &MediaPlaylist, shared: &Shared) {
        let now = Instant::now();
        if self.current != list.hint {
            let listed = |uri: &String| {
                let parts = list.segments.iter().flat_map(|segment| &segment.parts).chain(&list.open_parts);
                parts.into_iter().any(|part| part.uri == *uri)
            };
            if let Some(withdrawn) = self.current.take().filter(|uri| !listed(uri) && !list.ended) {
                self.refused.remove(&withdrawn);
                self.withdrawn.insert(withdrawn, now);
            }
            self.current.clone_from(&list.hint);
            if let (Some(ask), Some(uri)) = (&self.ask, &list.hint) {
                // Fails once the thread has ended with the server.
                let _ = ask.send(uri.clone());
            }
        }
        self.take(list.ended, shared);
    }

    fn take(&mut self, ended: bool, shared: &Shared) {
        while let Ok(Answered { uri, status, body, at }) = self.answers.try_recv() {
            if status == 200 {
                self.parts.insert(uri, body);
                shared.state.lock().expect("no thread panicked").seen.hints += 1;
                continue;
            }
            if ended || shared.stopping() {
                continue;
            }
            shared.state.lock().expect("no thread panicked").seen.wrong_hints += 1;
            if status != 404 {
                shared.fault(format!("the hint {uri} is answered with {status}"));
            }
            match self.withdrawn.remove(&uri) {
                Some(withdrawn) if at > withdrawn + MAX_404_DELAY => {
                    shared.fault(format!(
                        "the hint {uri} is answered with {status} {:?} after it was withdrawn",
                        at - withdrawn
                    ));
                }
                Some(_) => {}
                None => drop(self.refused.insert(uri, at)),
            }
        }
    }

    /// Waits for the last responses.
    pub(super) fn end(mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // The thread returns no result.
            let _ = thread.join();
        }
    }
}
