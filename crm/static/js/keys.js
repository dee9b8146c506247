// Keyboard for lists: j and k move, Enter opens, x ticks, / searches, ? shows the keys.

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

const acts = {
  j: () => go(1),
  k: () => go(-1),
  x: () => here?.querySelector('input[type=checkbox]')?.click(),
  '/': () => (document.querySelector('main [data-search]') ?? document.querySelector('[data-search]'))?.select(),
  '?': () => help?.showModal(),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
const opener = document.querySelector('[data-keys-help]');
if (opener && help) {
  opener.hidden = false;
  opener.addEventListener('click', () => help.showModal());
}
