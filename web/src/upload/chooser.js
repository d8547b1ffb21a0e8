// Where files come from: the form's field, or dropped anywhere on the page.
import { $, notice } from './page.js';

// Folders look like files of a sort, but can't be read.
function filesOf({ items, files }) {
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory;
  const folders = [...items].filter(isFolder).map((item) => item.getAsFile()?.name);

  return { files: [...files].filter(({ name }) => !folders.includes(name)), folders };
}

const holdsFiles = (event) => event.dataTransfer?.types.includes('Files');

function mark(on) {
  document.body.classList.toggle('dragging', on);
}

function listenForDrops(take) {
  let depth = 0; // of elements that the pointer has entered

  addEventListener('dragenter', (event) => {
    if (!holdsFiles(event)) return;
    depth += 1;
    mark(true);
  });
  addEventListener('dragleave', (event) => {
    if (!holdsFiles(event)) return;
    depth -= 1;
    mark(depth > 0);
  });
  addEventListener('dragover', (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  });
  addEventListener('drop', (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark(false);
    const { files, folders } = filesOf(event.dataTransfer);
    if (files.length > 0) take(files);
    else if (folders.length > 0) notice('A folder can’t be uploaded. Drop the files that are in it.');
  });
}

// `add` takes files and a title.
export function run(add) {
  const take = (files) => {
    const title = $('title').value.trim();
    $('title').value = '';
    add(files, title);
  };

  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    $('file').click(); // Enter in the title
  });
  $('file').required = false;
  $('file').multiple = true;
  $('file').addEventListener('change', () => {
    take([...$('file').files]);
    $('file').value = ''; // so that the same file can be chosen again
  });
  listenForDrops(take);
}
