// Dragging on the board. A card goes only where its own list of stages allows; the list and its button work without this.

const board = document.querySelector('[data-board]');
const said = document.querySelector('[data-board-said]');
let card = null;

const choice = () => card?.querySelector('[name=to]');
const ways = () => [...(choice()?.options ?? [choice()])].map((one) => one?.value);
const allowed = (column) => ways().includes(column.dataset.stage);

board.addEventListener('dragstart', (event) => {
  card = event.target.closest('li[draggable]');
  event.dataTransfer.effectAllowed = 'move';
  for (const column of board.children) column.classList.toggle('open-to', allowed(column));
});
board.addEventListener('dragend', () => {
  for (const column of board.children) column.classList.remove('open-to');
  card = null;
});
board.addEventListener('dragover', (event) => {
  const column = event.target.closest('[data-stage]');
  if (column && allowed(column)) event.preventDefault();
});
board.addEventListener('drop', (event) => {
  const column = event.target.closest('[data-stage]');
  if (!column || !card) return;
  event.preventDefault();
  if (!allowed(column)) {
    said.textContent = board.dataset.noWay;
    return;
  }
  choice().value = column.dataset.stage;
  card.querySelector('form').requestSubmit();
});
