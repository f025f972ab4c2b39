// Plays a live stream in one player and says whether it ran through.
//
//   node play.mjs watch   WATCH_PAGE_URL SECONDS
//   node play.mjs shaka   PLAYLIST_URL   SECONDS
//   node play.mjs videojs PLAYLIST_URL   SECONDS
//
// A fourth argument says how many milliseconds a picture may stand, where the encoder changes under way.
// Says `playing` when it does.
// Prints one line of JSON; exit code 0 when nothing froze and nothing failed.

import { openBrowser, servePages } from './browser.mjs';

const START_TIMEOUT_MS = 30_000;

// A picture that stands this long is a stall.
const STALL_MS = 500;

const [player, url, seconds, standing] = process.argv.slice(2);
const FROZEN_MS = Number(standing ?? STALL_MS);

// Runs in the page, from the first frame on: watches currentTime as a viewer would.
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

function verdict(result) {
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
  const said = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(`page error: ${error.message}`));
  const source = player === 'watch' ? url : `${pages.base}/pages/${player}.html?source=${encodeURIComponent(url)}`;
  await page.goto(source);
  // Half a second of play: the jump to the live edge lies behind it.
  const playing = () => { const video = document.querySelector('video'); return video?.played.length > 0 && !video.paused
    && video.played.end(video.played.length - 1) - video.played.start(video.played.length - 1) > 0.5; };
  try {
    await page.waitForFunction(playing, null, { timeout: START_TIMEOUT_MS, polling: 50 });
  } catch (error) {
    const fatal = await page.evaluate(() => window.fatal ?? window.weir?.stats?.() ?? null);
    throw new Error(`it never began to play: ${JSON.stringify(fatal)}\n${said.join('\n')}\n${error.message}`);
  }
  await page.evaluate(watch, { frozenMs: FROZEN_MS });
  console.log('playing');
  await page.waitForTimeout(Number(seconds) * 1000);
  const result = await page.evaluate(report);
  const wrong = verdict(result);
  console.log(JSON.stringify({ player, ...result, wrong }));
  if (wrong.length) console.log(said.join('\n'));
  code = wrong.length ? 1 : 0;
} catch (error) {
  console.log(String(error.message ?? error));
} finally {
  await browser.close();
  pages.close();
}
process.exit(code);
