// The upload page: files go up by tus, the list below says what becomes of them.
import * as chooser from './upload/chooser.js';
import * as library from './upload/library.js';
import * as uploads from './upload/uploads.js';

const TITLE_MS = 1000;

document.documentElement.classList.add('script');
chooser.run(uploads.add);
uploads.run({ stored: library.arrived, listed: library.draw });
library.run(uploads);

setInterval(() => {
  const percent = uploads.percent();
  document.title = percent === undefined ? 'Weir' : `${percent} % – Weir`;
}, TITLE_MS);
