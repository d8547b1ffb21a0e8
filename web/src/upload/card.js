// One video of the library.
import { copy, put } from './page.js';
import { left, length, size, time } from './format.js';

const POSTER_MS = [2000, 5000, 15000, 60000];

const words = {
  uploading: () => 'Uploading',
  waiting: () => 'In the queue',
  active: ({ progress }) =>
    ['Preparing', progress?.percent >= 0 && `${Math.floor(progress.percent)}\u00a0%`,
      progress?.eta_seconds > 0 && left(progress.eta_seconds)].filter(Boolean).join(' · '),
  delayed: () => 'Could not be prepared yet. It will be tried again.',
  completed: () => '',
  failed: ({ error }) => `Could not be prepared: ${error ?? 'the reason is not known'}`,
  cancelled: () => 'Preparing it was cancelled',
};

export const unfinished = ({ state }) => ['uploading', 'waiting', 'active', 'delayed'].includes(state);

export const nameOf = (video) => video.title || video.filename || 'Video';

export class Card {
  #part;
  #tries = 0;

  // retry, remove: what its buttons do. opened: called before its player page opens, with the link.
  constructor({ retry, remove, opened }) {
    this.element = copy('video');
    this.#part = (selector) => this.element.querySelector(selector);
    this.#part('.retry').addEventListener('click', retry);
    this.#part('.delete').addEventListener('click', remove);
    this.#part('a').addEventListener('click', ({ currentTarget }) => opened(currentTarget));
    this.#part('img').addEventListener('load', ({ currentTarget }) => currentTarget.classList.add('there'));
    this.#part('img').addEventListener('error', () => this.#posterMissing());
  }

  focus() {
    const link = this.#part('a');
    (link.href ? link : this.#part('.delete')).focus();
  }

  // It may come a moment after the video.
  #posterMissing() {
    const image = this.#part('img');
    const { src } = image;

    image.classList.remove('there');
    if (this.#tries < POSTER_MS.length) setTimeout(() => (image.src = src), POSTER_MS[this.#tries]);
    this.#tries += 1;
  }

  #showPicture({ links, duration }) {
    const image = this.#part('img');

    if (links.poster && image.getAttribute('src') !== links.poster) image.src = links.poster;
    this.#part('.length').hidden = !(duration > 0);
    if (duration > 0) put(this.#part('.length'), length(duration));
  }

  #showLink(video) {
    const link = this.#part('a');

    put(link, nameOf(video));
    if (!video.links.watch) link.removeAttribute('href');
    else if (link.href !== video.links.watch) link.href = video.links.watch;
  }

  show(video) {
    const progress = this.#part('progress');
    const done = video.state === 'active' ? video.progress?.percent : undefined;

    this.video = video;
    this.element.dataset.state = video.state;
    this.element.classList.toggle('playable', Boolean(video.links.watch));
    for (const unseen of this.element.querySelectorAll('.unseen')) put(unseen, ` ${nameOf(video)}`);
    this.#showLink(video);
    this.#showPicture(video);
    put(this.#part('.state'), (words[video.state] ?? (() => video.state))(video));
    progress.hidden = !(done >= 0);
    if (done >= 0) progress.value = done;
    progress.setAttribute('aria-label', `Preparing ${nameOf(video)}`);
    const facts = [time(new Date(video.created_at)), video.size > 0 && size(video.size)];
    put(this.#part('.facts'), facts.filter(Boolean).join(' · '));
    this.#part('.retry').hidden = !['failed', 'cancelled'].includes(video.state);
  }
}
