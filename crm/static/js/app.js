// What every page may use. Everything here adds to a page that already works without it.

const on = (name, act) => document.addEventListener(name, act);

// The summary of errors takes focus, so that it is read first; its links lead to the fields.
document.querySelector('[data-error-summary]')?.focus();

// Menus close on Escape, on a click elsewhere, and when focus leaves them.
const openMenus = () => document.querySelectorAll('details.menu[open]');
on('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const menu of openMenus()) {
    menu.open = false;
    if (menu.contains(document.activeElement)) menu.querySelector('summary').focus();
  }
});
const closeOthers = (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
};
on('click', closeOthers);
on('focusin', closeOthers);

// A message can be put away.
on('click', (event) => event.target.closest('[data-dismiss]')?.closest('.notice')?.remove());

// Copy the text of another element: <button data-copy="id">.
on('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const said = button.parentElement.querySelector('.copied');
  try {
    await navigator.clipboard.writeText(source.textContent);
    said.textContent = button.dataset.copied;
  } catch {
    getSelection().selectAllChildren(source); // no clipboard here: leave it marked, ready for the keyboard
  }
});

// One box ticks all of its column: <input data-check-all="name">.
on('change', (event) => {
  const name = event.target.dataset?.checkAll;
  if (!name) return;
  for (const box of document.getElementsByName(name)) {
    box.checked = event.target.checked;
    box.dispatchEvent(new Event('change', { bubbles: true }));
  }
});

// <button data-print hidden>: printing needs a script, so the button shows only with one.
for (const button of document.querySelectorAll('[data-print]')) button.hidden = false;
on('click', (event) => event.target.closest('[data-print]') && print());

const needs = { '[data-keys], #keys-help': './keys.js', '[data-challenge]': './proof.js', '[data-refresh]': './refresh.js', '[data-board]': './board.js', '[data-passkey]': './passkey.js', '[data-new]': './new.js' };
for (const [selector, module] of Object.entries(needs)) {
  if (document.querySelector(selector)) import(module);
}
