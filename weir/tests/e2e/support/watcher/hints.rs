//! Asks for what playlists hint at, as players do: it comes, or the answer is 404 as soon as the hint has gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::{MediaPlaylist, resolve};
use super::Shared;

/// The answer to a hint that has gone may come this late behind the playlist that has another one; nothing but a busy machine
/// takes longer, and what waits for the next part or segment does.
const AT_ONCE: Duration = Duration::from_millis(150);

struct Answered {
    uri: String,
    status: u16,
    body: Vec<u8>,
    at: Instant,
}

/// The hints of one media playlist.
pub(super) struct Hints {
    ask: Option<Sender<String>>,
    answers: Receiver<Answered>,
    thread: Option<JoinHandle<()>>,
    current: Option<String>,
    /// When a playlist came that hinted at another part without having this one.
    gone: BTreeMap<String, Instant>,
    /// Answered with 404 while the newest playlist that was read hinted at them.
    refused: BTreeMap<String, Instant>,
    /// The bytes of parts that came.
    pub(super) parts: BTreeMap<String, Vec<u8>>,
}

impl Hints {
    pub(super) fn start(shared: &Arc<Shared>, path: &str) -> Self {
        let (ask, asked) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        let (shared, path) = (Arc::clone(shared), path.to_owned());
        let thread = thread::spawn(move || {
            for uri in &asked {
                // A server that is gone ends the scenario.
                let Some(got) = shared.client.try_get(&resolve(&path, &uri)) else { break };
                if answer.send(Answered { uri, status: got.status, body: got.body, at: Instant::now() }).is_err() {
                    break;
                }
            }
        });
        Self {
            ask: Some(ask),
            answers,
            thread: Some(thread),
            current: None,
            gone: BTreeMap::new(),
            refused: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// Takes the next playlist.
    pub(super) fn follow(&mut self, list: &MediaPlaylist, shared: &Shared) {
        let now = Instant::now();
        if self.current != list.hint {
            let listed = |uri: &String| {
                let parts = list.segments.iter().flat_map(|segment| &segment.parts).chain(&list.open_parts);
                parts.into_iter().any(|part| part.uri == *uri)
            };
            if let Some(gone) = self.current.take().filter(|uri| !listed(uri) && !list.ended) {
                self.refused.remove(&gone);
                self.gone.insert(gone, now);
            }
            self.current.clone_from(&list.hint);
            if let (Some(ask), Some(uri)) = (&self.ask, &list.hint) {
                // The thread ends with the server.
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
            match self.gone.remove(&uri) {
                Some(gone) if at > gone + AT_ONCE => {
                    shared.fault(format!("the hint {uri} is answered with {status} {:?} after it had gone", at - gone));
                }
                Some(_) => {}
                None => drop(self.refused.insert(uri, at)),
            }
        }
    }

    /// Waits for the last answers.
    pub(super) fn end(mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but answers.
            let _ = thread.join();
        }
    }
}
