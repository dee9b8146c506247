// Look-alikes while a new person is typed: the form is posted in the background, and the answer replaces the list.

const form = document.querySelector('[data-new]');
const list = document.getElementById('look-alikes');
const watched = ['first_name', 'last_name', 'email', 'phone', 'birth_date'];
let asked = '';
let timer = 0;

async function look() {
  const data = new FormData(form);
  const typed = JSON.stringify(watched.map((name) => data.get(name)));
  if (typed === asked || form.querySelector('input[type=hidden][name=contact]')) return;
  asked = typed;
  const answer = await fetch(form.dataset.new, { method: 'POST', body: data });
  if (!answer.ok || typed !== asked) return;
  const part = await answer.text();
  const chosen = list.querySelector('input:checked')?.value; // what is chosen already stays chosen
  list.innerHTML = part; // our own page part: escaped on the server
  const again = [...list.querySelectorAll('input')].find((input) => input.value === chosen);
  if (chosen && again) again.checked = true;
}

form.addEventListener('input', (event) => {
  if (!watched.includes(event.target.name)) return;
  clearTimeout(timer);
  timer = setTimeout(look, 400);
});
form.addEventListener('change', (event) => watched.includes(event.target.name) && look());
