// Plays a live stream in one player, and checks that it plays without a stall.
//
//   node play.mjs watch   WATCH_PAGE_URL SECONDS
//   node play.mjs shaka   PLAYLIST_URL   SECONDS
//   node play.mjs videojs PLAYLIST_URL   SECONDS
//
// The optional fourth argument is the maximum freeze in milliseconds, for tests in which the encoder changes.
// Prints `playing` when it plays, and a line of JSON in the end. The exit code is 0 if nothing froze and nothing failed.

import { openBrowser, servePages } from './browser.mjs';

const START_TIMEOUT_MS = 30_000;

// A freeze of this length is a stall.
const STALL_MS = 500;

const [player, url, seconds, maxFreeze] = process.argv.slice(2);
const FROZEN_MS = Number(maxFreeze ?? STALL_MS);

// Runs in the page from the first frame on: observes currentTime, as a viewer would.
function watch({ frozenMs }) {
  const video = document.querySelector('video');
  const state = { waiting: 0, freezes: [], begun: performance.now(), from: video.currentTime, longest: 0 };
  let last = video.currentTime;
  let moved = performance.now();
  let reported = false;
  video.addEventListener('waiting', () => { state.waiting += 1; });
  setInterval(() => {
    const now = performance.now();
    if (video.currentTime !== last) {
      last = video.currentTime;
      moved = now;
      reported = false;
      return;
    }
    state.longest = Math.max(state.longest, now - moved);
    if (now - moved > frozenMs && !reported) {
      reported = true;
      state.freezes.push({ at: last, buffered: video.buffered.length ? video.buffered.end(video.buffered.length - 1) : null });
    }
  }, 20);
  window.watched = state;
}

function report() {
  const video = document.querySelector('video');
  const own = window.weir?.stats?.() ?? null;
  return {
    advanced: video.currentTime - window.watched.from,
    elapsed: (performance.now() - window.watched.begun) / 1000,
    waiting: window.watched.waiting,
    height: video.videoHeight,
    longestMs: Math.round(window.watched.longest),
    freezes: window.watched.freezes,
    mediaError: video.error?.message ?? null,
    fatal: window.fatal ?? [],
    own,
  };
}

function findFaults(result) {
  const wrong = [...result.fatal];
  if (result.mediaError) wrong.push(`media error: ${result.mediaError}`);
  if (result.own?.fatal?.length) wrong.push(`fatal: ${JSON.stringify(result.own.fatal)}`);
  if (result.freezes.length) wrong.push(`frozen ${result.freezes.length} times, ${result.longestMs} ms the longest`);
  // Players play a little slower or faster to hold their distance to the live edge.
  if (result.advanced < 0.9 * result.elapsed - (FROZEN_MS - STALL_MS) / 1000) wrong.push(`advanced ${result.advanced} s in ${result.elapsed} s`);
  return wrong;
}

const pages = await servePages();
const browser = await openBrowser();
let code = 1;
try {
  const page = await browser.newPage();
  const messages = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(`page error: ${error.message}`));
  const source = player === 'watch' ? url : `${pages.base}/pages/${player}.html?source=${encodeURIComponent(url)}`;
  await page.goto(source);
  // After half a second of playback, the jump to the live edge is over.
  const playing = () => { const video = document.querySelector('video'); return video?.played.length > 0 && !video.paused
    && video.played.end(video.played.length - 1) - video.played.start(video.played.length - 1) > 0.5; };
  try {
    await page.waitForFunction(playing, null, { timeout: START_TIMEOUT_MS, polling: 50 });
  } catch (error) {
    const fatal = await page.evaluate(() => window.fatal ?? window.weir?.stats?.() ?? null);
    throw new Error(`playback never started: ${JSON.stringify(fatal)}\n${messages.join('\n')}\n${error.message}`);
  }
  await page.evaluate(watch, { frozenMs: FROZEN_MS });
  console.log('playing');
  await page.waitForTimeout(Number(seconds) * 1000);
  const result = await page.evaluate(report);
  const wrong = findFaults(result);
  console.log(JSON.stringify({ player, ...result, wrong }));
  if (wrong.length) console.log(messages.join('\n'));
  code = wrong.length ? 1 : 0;
} catch (error) {
  console.log(String(error.message ?? error));
} finally {
  await browser.close();
  pages.close();
}
process.exit(code);
