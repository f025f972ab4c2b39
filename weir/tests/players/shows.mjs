// Tests of the start and the end of broadcasts, with several pages in one browser.
//
//   node shows.mjs join   SECONDS '[{ "player": "hls" | "shaka" | "videojs", "url": PLAYLIST_URL, "at": 3 }, …]'
//   node shows.mjs follow SECONDS '[{ "url": WATCH_PAGE_URL }, …]'
//
// `join` opens each page `at` seconds after the first response and lets it play. The exit code is 0 if none failed or stalled.
// `follow` opens watch pages and prints the text of each badge whenever it changes: `0: Live`.

import { openBrowser, servePages } from './browser.mjs';

const STALL_MS = 500;
const START_TIMEOUT_MS = 30_000;

const [what, seconds, list] = process.argv.slice(2);
const jobs = JSON.parse(list);
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// Runs in the page: observes currentTime after the first half second of playback.
function watch({ stallMs }) {
  const state = { begun: null, from: 0, stalls: [] };
  let [last, moved] = [-1, 0];
  const played = ({ played: ranges }) => ranges.length > 0 && ranges.end(ranges.length - 1) - ranges.start(ranges.length - 1) > 0.5;
  setInterval(() => {
    const video = document.querySelector('video');
    const now = performance.now();
    if (state.begun === null) {
      if (!played(video)) return;
      Object.assign(state, { begun: now, from: video.currentTime });
      moved = now;
    }
    if (video.currentTime === last) return;
    if (last >= 0 && now - moved > stallMs) state.stalls.push({ at: last, ms: Math.round(now - moved) });
    [last, moved] = [video.currentTime, now];
  }, 20);
  window.watched = state;
  state.stalledFor = () => (state.begun === null ? Infinity : performance.now() - moved);
}

function report() {
  const { begun, from, stalls, stalledFor } = window.watched;
  const video = document.querySelector('video');
  return { began: begun !== null, stalls, stalledFor: Math.round(stalledFor()), advanced: video.currentTime - from,
    passed: (performance.now() - begun) / 1000, fatal: window.fatal, mediaError: video.error?.message ?? null };
}

async function join(browser, pages) {
  for (const { url } of jobs) {
    // The server answers 200 once there is something to play.
    for (let status = 0; status !== 200; status = (await fetch(url)).status) await sleep(50);
  }
  const begun = Date.now();
  const verdicts = await Promise.all(jobs.map(async ({ player, url, at }, index) => {
    const page = await browser.newPage();
    await sleep(begun + at * 1000 - Date.now());
    await page.goto(`${pages.base}/pages/${player}.html?source=${encodeURIComponent(url)}`, { waitUntil: 'commit' });
    await page.waitForSelector('video', { state: 'attached', timeout: START_TIMEOUT_MS });
    await page.evaluate(watch, { stallMs: STALL_MS });
    await sleep(begun + (at + Number(seconds)) * 1000 - Date.now());
    const result = await page.evaluate(report);
    const wrong = [...result.fatal];
    if (!result.began) wrong.push('playback never started');
    if (result.mediaError) wrong.push(`media error: ${result.mediaError}`);
    if (result.stalls.length || result.stalledFor > STALL_MS) wrong.push('playback stalled');
    console.log(JSON.stringify({ index, player, at, ...result, wrong }));
    return wrong.length === 0;
  }));
  return verdicts.every(Boolean);
}

async function follow(browser) {
  await Promise.all(jobs.map(async ({ url }, index) => {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.log(`${index}: wrong: ${error.message}`));
    await page.exposeFunction('say', (badge) => console.log(`${index}: ${badge}`));
    await page.goto(url);
    await page.evaluate(() => {
      const badge = document.getElementById('badge');
      let before = null;
      setInterval(() => {
        if (badge.textContent === before) return;
        before = badge.textContent;
        window.say(before);
      }, 50);
    });
  }));
  await sleep(Number(seconds) * 1000);
  return true;
}

const pages = await servePages();
const browser = await openBrowser();
let code = 1;
try {
  code = (await (what === 'join' ? join(browser, pages) : follow(browser))) ? 0 : 1;
} catch (error) {
  console.log(String(error.message ?? error));
} finally {
  await browser.close();
  pages.close();
}
process.exit(code);
