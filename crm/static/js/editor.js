// The editor: saves by itself, shows the email beside the words, underlines what the check finds. The page works without it.

import { show } from './content.js';

const WAIT = 700; // ms of quiet before a save
const form = document.querySelector('[data-draft]');
const text = form.elements.namedItem('body');
const under = form.querySelector('.under');
const status = document.getElementById('saved');
const clash = document.getElementById('clash');
const findings = form.querySelector('[data-findings]');
const tools = form.querySelector('.tools');

// --- saving: one at a time, the newest words last ---

let waiting;
let saving = null;
let again = false;
let dirty = false;

function changed() {
  dirty = true;
  status.textContent = 'Not saved yet';
  clearTimeout(waiting);
  waiting = setTimeout(save, WAIT);
}

async function save() {
  clearTimeout(waiting);
  if (saving) {
    again = true;
    return saving;
  }
  saving = send().finally(() => {
    saving = null;
    if (again) {
      again = false;
      save();
    }
  });
  return saving;
}

async function send() {
  dirty = false;
  status.textContent = 'Saving…';
  let answer;
  try {
    answer = await fetch(form.action, { method: 'POST', body: new FormData(form), headers: { Accept: 'application/json' } });
  } catch {
    dirty = true;
    status.textContent = 'Not saved: no connection. It is tried again with your next change.';
    return;
  }
  const said = (answer.headers.get('Content-Type') || '').includes('json') ? await answer.json() : {};
  if (answer.status === 409) return differ(said);
  if (!answer.ok) {
    dirty = true;
    status.textContent = said.error || 'Not saved. Load the page again, your words are kept in the field.';
    return;
  }
  const before = form.elements.namedItem('base');
  const other = Number(before.value) !== said.base;
  before.value = said.base;
  status.textContent = `Saved ${new Date().toLocaleTimeString([], { hour: 'numeric', minute: '2-digit' })}`;
  findings.innerHTML = said.findings;
  enable();
  underline(said.marks.filter((mark) => mark.where === 'body'));
  if (other) show();
}

function differ({ base, by, theirs }) {
  dirty = true;
  status.textContent = 'Not saved';
  clash.querySelector('[data-clash-by]').textContent = by;
  clash.querySelector('[data-clash-theirs]').textContent = theirs;
  clash.hidden = false;
  clash.dataset.base = base;
  clash.scrollIntoView({ block: 'nearest' });
}
clash.querySelector('[data-keep-mine]').addEventListener('click', () => {
  form.elements.namedItem('base').value = clash.dataset.base;
  clash.hidden = true;
  save();
});

form.addEventListener('input', () => {
  underline([]);
  changed();
});
form.addEventListener('submit', () => {
  dirty = false;
  clearTimeout(waiting);
});
addEventListener('beforeunload', (event) => {
  if (dirty) event.preventDefault();
});
document.addEventListener('keydown', (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === 's') {
    event.preventDefault();
    save();
  }
});

// --- what the check found, in place ---

function underline(marks) {
  const words = text.value;
  const parts = [];
  let at = 0;
  for (const { start, end, stops } of [...marks].sort((a, b) => a.start - b.start)) {
    if (start < at || end > words.length) continue;
    const mark = document.createElement('mark');
    mark.textContent = words.slice(start, end);
    mark.classList.toggle('stops', stops);
    parts.push(words.slice(at, start), mark);
    at = end;
  }
  under.replaceChildren(...parts, `${words.slice(at)}\n`);
  under.scrollTop = text.scrollTop;
}
text.addEventListener('scroll', () => {
  under.scrollTop = text.scrollTop;
});

// through the browser's own editing, so that its undo knows of it
function write(field, start, end, words) {
  field.focus();
  field.setSelectionRange(start, end);
  if (!document.execCommand('insertText', false, words)) field.setRangeText(words, start, end, 'end');
  field.dispatchEvent(new Event('input', { bubbles: true }));
}

function reveal(field, start, end) {
  field.focus();
  field.setSelectionRange(start, end);
  const line = field.value.slice(0, start).split('\n').length;
  field.scrollTop = Math.max(0, (field.scrollHeight * line) / (field.value.split('\n').length + 1) - field.clientHeight / 2);
}

function enable() {
  findings.querySelectorAll('[data-go]').forEach((button) => {
    button.hidden = false;
  });
}

findings.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const { go, start, end, from, to, text: words, block } = button.dataset;
  if (go) reveal(form.elements.namedItem(go), Number(start), Number(end));
  else if (block) {
    event.preventDefault();
    write(text, text.value.length, text.value.length, `\n[[block: ${block}]]\n`);
    save();
  } else if (from !== undefined) {
    event.preventDefault();
    write(text, Number(from), Number(to), words);
    save();
  }
});

// --- tools ---

tools.hidden = false;
const keys = [...tools.querySelectorAll('button, select')];
// The pointer chooses and inserts at once. The arrow keys pass over options one by one, so they only choose: Enter inserts.
let byPointer = false;
tools.addEventListener('pointerdown', () => {
  byPointer = true;
});
tools.addEventListener('keydown', (event) => {
  byPointer = false;
  if (event.key === 'Enter' && event.target.matches('select')) {
    event.preventDefault();
    insert(event.target);
    return;
  }
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const next = keys[(keys.indexOf(document.activeElement) + step + keys.length) % keys.length];
  keys.forEach((key) => key.setAttribute('tabindex', key === next ? '0' : '-1'));
  next.focus();
});

function insert(choice) {
  const { value, dataset } = choice;
  if (!value) return;
  choice.value = '';
  const at = text.selectionEnd;
  const words = dataset.insert === 'block' || value.startsWith('[[') ? `\n\n${value}\n\n` : value;
  write(text, at, at, words);
  // what is to be written over stands selected
  const found = /\[(words)\]|button: ([^|]+?) \|/.exec(words);
  if (!found) return;
  const said = found[1] ?? found[2];
  const start = at + words.indexOf(said, found.index);
  text.setSelectionRange(start, start + said.length);
}

function wrap(sign) {
  const { selectionStart: start, selectionEnd: end, value } = text;
  write(text, start, end, `${sign}${value.slice(start, end)}${sign}`);
  text.setSelectionRange(start + sign.length, end + sign.length);
}

tools.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.wrap) wrap(button.dataset.wrap);
  if (button?.dataset.line) {
    const start = text.value.lastIndexOf('\n', text.selectionStart - 1) + 1;
    write(text, start, start, button.dataset.line);
  }
});
tools.addEventListener('change', (event) => {
  if (byPointer) insert(event.target);
});
tools.querySelector('[data-insert-chosen]').addEventListener('click', () => {
  insert([...tools.querySelectorAll('select')].find((choice) => choice.value) ?? {});
});
text.addEventListener('keydown', (event) => {
  const sign = { b: '**', i: '*' }[event.key];
  if (!sign || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  wrap(sign);
});

// --- subject and preview line ---

for (const field of form.querySelectorAll('[data-count]')) {
  const note = document.createElement('p');
  note.className = 'count-note';
  field.after(note);
  const tell = () => {
    const most = Number(field.dataset.count);
    note.textContent = `${field.value.length} of ${most} characters`;
    note.classList.toggle('over', field.value.length > most);
    const lock = form.querySelector(`[data-lock="${field.name}"]`);
    if (lock) lock.textContent = field.value;
  };
  field.addEventListener('input', tell);
  tell();
}

enable();
underline([]);
save(); // nothing changes, but the check's places come back
