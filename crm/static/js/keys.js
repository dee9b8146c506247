// Keyboard for lists: j and k move, h and l change the column of a board, o or Enter opens, x ticks, / searches, ? shows
// the keys. Other keys are declared by the page: <... data-key="a" data-key-label="Assign"> is opened or focused.

const lists = document.querySelectorAll('[data-keys]');
const items = () => [...lists].flatMap((list) => [...list.children]).filter((item) => item.querySelector('a[href]'));
const help = document.getElementById('keys-help');
let here = null;

function typing(target) {
  return target.isContentEditable || target.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, dialog');
}

function go(step) {
  const all = items();
  if (!all.length) return;
  const now = all.findIndex((item) => item === here || item.contains(document.activeElement));
  here?.classList.remove('here');
  here = all[Math.min(Math.max(now + step, 0), all.length - 1)];
  here.classList.add('here');
  here.querySelector('a[href]').focus({ preventScroll: true });
  here.scrollIntoView({ block: 'nearest' });
}

function column(step) {
  const columns = [...lists];
  const now = columns.findIndex((list) => list.contains(document.activeElement));
  const next = columns[Math.min(Math.max(now + step, 0), columns.length - 1)];
  if (!next) return;
  here?.classList.remove('here');
  here = next.querySelector('li, tr');
  here.classList.add('here');
  here.querySelector('a[href]').focus();
}

// A key of the page: its target is opened when it folds, else focused; a button or link is pressed.
function press(target) {
  for (let fold = target.closest('details:not([open])'); fold; fold = fold.parentElement.closest('details:not([open])')) fold.open = true;
  const menu = target.closest('summary')?.parentElement;
  if (menu) {
    menu.open = true;
    (menu.querySelector('select, input:not([type=hidden]), textarea, button, .menu-body a') ?? target).focus();
  } else if (target.matches('button, a')) target.click();
  else target.focus();
}

const own = [...document.querySelectorAll('[data-key]')];
const acts = {
  j: () => go(1),
  k: () => go(-1),
  h: () => column(-1),
  l: () => column(1),
  o: () => here?.querySelector('a[href]')?.click(),
  x: () => here?.querySelector('input[type=checkbox]')?.click(),
  '/': () => (document.querySelector('main [data-search]') ?? document.querySelector('[data-search]'))?.select(),
  '?': () => help?.showModal(),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
  const target = own.find((one) => one.dataset.key === event.key);
  const act = target ? () => press(target) : acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
for (const { dataset } of own) {
  const key = document.createElement('dt');
  key.append(Object.assign(document.createElement('kbd'), { textContent: dataset.key }));
  const words = document.createElement('dd');
  words.textContent = dataset.keyLabel;
  help?.querySelector('.keys').append(key, words);
}
const opener = document.querySelector('[data-keys-help]');
if (opener && help) {
  opener.hidden = false;
  opener.addEventListener('click', () => help.showModal());
}

// How many rows are ticked.
const picked = document.querySelector('[data-picked]');
const ticked = () => document.querySelectorAll('[data-picks] tbody input:checked').length;
document.querySelector('[data-picks]')?.addEventListener('change', () => {
  picked.textContent = ticked() || '';
});
