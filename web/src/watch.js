// The player page: waits until the video can be played, says how far it is, and then plays it.
import Hls from 'hls.js';

const POLL_MS = 1000;
const POLL_MAX_MS = 15000;

const id = location.pathname.split('/').filter(Boolean).pop();
const base = `/v/${id}`;
const $ = (name) => document.getElementById(name);
const video = $('video');

/* --- waiting --- */

const waiting = {
  uploading: 'The video is being uploaded.',
  waiting: 'The video is in the queue and will be prepared soon.',
  active: 'The video is being prepared.',
  delayed: 'Preparing the video did not work yet; it will be tried again.',
};

function say(text, percent) {
  const status = $('status');
  if (status.textContent !== text) status.textContent = text; // or a screen reader repeats it every second
  $('notice').hidden = text === '';
  const progress = $('progress');
  progress.hidden = percent === undefined;
  if (percent !== undefined) progress.value = percent;
}

function describe(info) {
  const title = info.title || info.filename || 'Video';
  document.title = `${title} – Weir`;
  $('title').textContent = title;
  $('description').textContent = info.description ?? '';
  $('description').hidden = !info.description;
  if (info.width && info.height) $('stage').style.setProperty('--shape', `${info.width} / ${info.height}`);
}

// One look: what to do next, or nothing when there is no more to wait for.
function next(info) {
  describe(info);
  if (info.playable) return play();
  if (info.state === 'failed') return say(`This video could not be prepared: ${info.error ?? 'the reason is not known'}.`);
  if (info.state === 'cancelled') return say('Preparing this video was cancelled.');
  say(waiting[info.state] ?? 'The video is not ready yet.', info.progress?.percent ?? undefined);
  return setTimeout(look, POLL_MS);
}

let failures = 0;

async function look() {
  try {
    const answer = await fetch(`${base}/status.json`, { cache: 'no-store' });
    if (answer.status === 404) return say('There is no such video. It may have been deleted.');
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const info = await answer.json();
    failures = 0;
    return next(info);
  } catch {
    failures += 1;
    say('The server does not answer at the moment. Trying again…');
    return setTimeout(look, Math.min(POLL_MAX_MS, POLL_MS * 2 ** failures));
  }
}

/* --- playing --- */

async function begin() {
  try {
    await video.play();
  } catch (refused) {
    if (refused.name !== 'NotAllowedError') return;
    video.muted = true; // browsers let a page start by itself only without sound
    try {
      await video.play();
      $('unmute').hidden = false;
    } catch {
      video.muted = false; // the viewer presses play
    }
  }
}

function play() {
  say('');
  video.poster = `${base}/poster.jpg`;
  video.hidden = false;
  if (Hls.isSupported()) playWithHls();
  else if (video.canPlayType('application/vnd.apple.mpegurl')) {
    video.src = `${base}/master.m3u8`;
    begin();
  } else say('This browser cannot play HLS video.');
}

function playWithHls() {
  const hls = new Hls({ workerPath: '/web/hls.worker.js', capLevelToPlayerSize: false });
  let recoveries = 0;

  window.weir = { hls, video }; // for tests and for curious people at the console
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    offerQualities(hls);
    begin();
  });
  hls.on(Hls.Events.ERROR, (_event, data) => {
    if (!data.fatal) return;
    recoveries += 1;
    if (recoveries <= 5 && data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else if (recoveries <= 5 && data.response?.code !== 404) setTimeout(() => hls.startLoad(), 1000 * recoveries);
    else {
      hls.destroy();
      video.hidden = true;
      say('Playback stopped: the video cannot be read any more. It may have been deleted.');
    }
  });
  hls.loadSource(`${base}/master.m3u8`);
  hls.attachMedia(video);
}

function offerQualities(hls) {
  const menu = $('quality');
  const levels = hls.levels
    .map((level, index) => ({ index, height: Math.min(level.width, level.height), rate: level.bitrate }))
    .sort((a, b) => b.rate - a.rate);
  const auto = new Option('Automatic', '-1');

  menu.replaceChildren(auto, ...levels.map(({ index, height }) => new Option(`${height}p`, String(index))));
  menu.addEventListener('change', () => {
    hls.nextLevel = Number(menu.value);
  });
  hls.on(Hls.Events.LEVEL_SWITCHED, (_event, { level }) => {
    const now = levels.find(({ index }) => index === level);
    auto.textContent = now ? `Automatic (${now.height}p)` : 'Automatic';
  });
  $('quality-label').hidden = levels.length < 2;
}

/* --- keys --- */

const keys = {
  ' ': () => (video.paused ? video.play() : video.pause()),
  k: () => (video.paused ? video.play() : video.pause()),
  ArrowLeft: () => (video.currentTime -= 5),
  ArrowRight: () => (video.currentTime += 5),
  j: () => (video.currentTime -= 10),
  l: () => (video.currentTime += 10),
  m: () => (video.muted = !video.muted),
  f: () => (document.fullscreenElement ? document.exitFullscreen() : $('stage').requestFullscreen()),
  q: () => $('quality').focus(),
};

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('select, input, button');
  if (typing || event.target === video || event.ctrlKey || event.metaKey || event.altKey || video.hidden) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

$('unmute').addEventListener('click', () => {
  video.muted = false;
  $('unmute').hidden = true;
  video.focus();
});
video.addEventListener('volumechange', () => {
  if (!video.muted) $('unmute').hidden = true;
});

look();
